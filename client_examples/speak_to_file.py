# /// script
# requires-python = ">=3.11"
# dependencies = ["websockets"]
# ///
"""Speaks a text into a file, Ogg Opus or WAV by the file's name.

python speak_to_file.py "Hello there." hello.ogg
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import wave
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

SAMPLE_RATE_HZ = 24_000
ENCODINGS = {".ogg": "ogg_opus", ".wav": "pcm_s16le"}


async def speak(url: str, key: str | None, text: str, voice: str | None, encoding: str) -> tuple[bytes, Any]:
    """Return the sound of `text`, and the server's `done`."""
    # framing=bare: no header before each packet, so that the payloads, put together, are the file.
    # lead_ms=null: a file is not played while it is made, so there is no reason to send at the pace of playback.
    query = f"?framing=bare&lead_ms=null&encoding={encoding}"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with connect(url + query, additional_headers=headers) as server:
        message = {"type": "speak", "id": "file", "text": text, "voice": voice}
        await server.send(json.dumps(message))
        sound = bytearray()
        async for received in server:
            if isinstance(received, bytes):
                sound += received
                continue
            answer = json.loads(received)
            if answer["type"] == "error":
                raise RuntimeError(answer["message"])
            if answer["type"] == "done":
                if answer["reason"] == "failed":
                    raise RuntimeError(answer["error"]["message"])
                return bytes(sound), answer
    raise RuntimeError("the server closed the connection")


def write(path: Path, sound: bytes) -> None:
    if path.suffix == ".ogg":
        path.write_bytes(sound)
        return
    # A streamed WAV cannot know its length; once all samples are here, a complete header is just as easy.
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(sound)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text")
    parser.add_argument("file", type=Path, help="what to write: .ogg or .wav")
    parser.add_argument("--url", default="ws://localhost:8765/v1/stream")
    parser.add_argument("--voice", help="a name of /v1/voices; none: the server's default")
    parser.add_argument("--key", help="API key, if the server requires one")
    arguments = parser.parse_args()
    if arguments.file.suffix not in ENCODINGS:
        parser.error(f"the file's name must end in {' or '.join(ENCODINGS)}")
    encoding = ENCODINGS[arguments.file.suffix]
    try:
        sound, done = asyncio.run(
            speak(arguments.url, arguments.key, arguments.text, arguments.voice, encoding)
        )
    except (OSError, RuntimeError, WebSocketException) as error:
        sys.exit(f"speak_to_file: {error}")
    write(arguments.file, sound)
    print(f"{arguments.file}: {done['audio_ms']} ms, {done['sentences']} sentence(s), seed {done['seed']}")


if __name__ == "__main__":
    main()
