# /// script
# requires-python = ">=3.11"
# dependencies = ["websockets"]
# ///
"""Speaks a script with a voice for each speaker, as one utterance, and shows who says what and when.

python dialogue.py scene.ogg --speaker Alice=jane --speaker Bob=joe
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

SCRIPT = """\
Alice: Did you hear that? It came from the garden.
Bob: It is only the wind. Go back to sleep.
Alice: The wind does not knock three times.
"""


async def perform(url: str, script: str, speakers: dict[str, str], path: Path) -> None:
    # A file needs no pacing (lead_ms=null) and no packet headers (framing=bare).
    async with connect(url + "?framing=bare&encoding=ogg_opus&lead_ms=null") as server:
        message = {"type": "speak", "id": "scene", "text": script, "speakers": speakers}
        await server.send(json.dumps(message))
        sound = bytearray()
        async for received in server:
            if isinstance(received, bytes):
                sound += received
                continue
            message = json.loads(received)
            if message["type"] == "sentence_start":
                print(
                    f"{message['start_ms'] / 1000:6.2f} s  {message['voice']}: {message['text']}", flush=True
                )
            elif message["type"] == "warning":
                print(f"note: {message['message']}", flush=True)
            elif message["type"] == "error":
                raise RuntimeError(message["message"])
            elif message["type"] == "done":
                if message["reason"] == "failed":
                    raise RuntimeError(message["error"]["message"])
                path.write_bytes(sound)
                return
    raise RuntimeError("the server closed the connection")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", type=Path, help="Ogg file to write")
    parser.add_argument("script", nargs="?", type=Path, help="text file; none: a built-in scene")
    parser.add_argument(
        "--speaker", action="append", default=[], metavar="LABEL=VOICE", help="may be repeated"
    )
    parser.add_argument("--url", default="ws://localhost:8765/v1/stream")
    arguments = parser.parse_args()
    if wrong := [speaker for speaker in arguments.speaker if "=" not in speaker]:
        parser.error(f"--speaker {wrong[0]}: write it as LABEL=VOICE")
    speakers = dict(speaker.split("=", 1) for speaker in arguments.speaker)
    try:
        script = arguments.script.read_text(encoding="utf-8") if arguments.script else SCRIPT
        asyncio.run(perform(arguments.url, script, speakers, arguments.file))
    except (OSError, UnicodeDecodeError, RuntimeError, WebSocketException) as error:
        sys.exit(f"dialogue: {error}")


if __name__ == "__main__":
    main()
