# /// script
# requires-python = ">=3.11"
# dependencies = ["websockets"]
# ///
"""Speaks a text while it is being written, word by word, as a language model writes it.

python live_text.py live.wav                        speaks a built-in text
some-language-model | python live_text.py live.wav -    speaks what arrives on standard input, as it arrives
"""

from __future__ import annotations

import argparse
import asyncio
import codecs
import json
import os
import sys
import time
import wave
from collections.abc import AsyncIterator
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

SAMPLE_RATE_HZ = 24_000
TEXT = (
    "Here is what makes streaming worth the trouble. You hear this sentence while the next one is being "
    "written, and nobody waits for the end."
)


async def words_of(text: str, words_per_s: float) -> AsyncIterator[str]:
    """Yield the words of `text` at the pace of a model, each with the space behind it."""
    for word in text.split():
        yield word + " "
        await asyncio.sleep(1 / words_per_s)


async def standard_input() -> AsyncIterator[str]:
    """Yield standard input as soon as it arrives: the server cuts sentences, so the pieces need not be words."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    while piece := await asyncio.to_thread(os.read, sys.stdin.fileno(), 1000):
        yield decoder.decode(piece)  # the end of a piece may cut a letter in two


async def write(server: ClientConnection, pieces: AsyncIterator[str]) -> float:
    """Send the pieces as they come; return the time of the first one."""
    first_text_s: float | None = None
    async for piece in pieces:
        first_text_s = first_text_s or time.monotonic()
        await server.send(json.dumps({"type": "text", "id": "live", "text": piece}))
    ended_s = time.monotonic()
    await server.send(json.dumps({"type": "end", "id": "live"}))
    print(f"all text written after {ended_s - (first_text_s or ended_s):.2f} s", flush=True)
    return first_text_s or ended_s


async def listen(server: ClientConnection, path: Path) -> float | None:
    """Write the sound as it comes; return the time of the first, None without any."""
    first_sound_s: float | None = None
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        async for received in server:
            if isinstance(received, bytes):
                first_sound_s = first_sound_s or time.monotonic()
                file.writeframes(received)
                continue
            message = json.loads(received)
            if message["type"] == "sentence_start":
                print(f"speaking: {message['text']}", flush=True)
            elif message["type"] in ("error", "done"):
                if message["type"] == "error" or message["reason"] == "failed":
                    raise RuntimeError(message.get("message") or message["error"]["message"])
                return first_sound_s
    raise RuntimeError("the server closed the connection")


async def speak(url: str, pieces: AsyncIterator[str], path: Path) -> None:
    # A file needs no pacing (lead_ms=null) and no packet headers (framing=bare).
    async with connect(url + "?framing=bare&encoding=pcm_s16le&lead_ms=null") as server:
        await server.send(json.dumps({"type": "start", "id": "live"}))
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(write(server, pieces))
            listening = tasks.create_task(listen(server, path))
    first_sound_s = listening.result()
    if first_sound_s is None:
        print("there was nothing to say")
    else:
        print(f"first audio {1000 * (first_sound_s - writing.result()):.0f} ms after the first text")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", type=Path, help="WAV file to write")
    parser.add_argument("text", nargs="?", default=TEXT, help="what to say; - reads standard input")
    parser.add_argument("--words-per-s", type=float, default=10.0, help="how fast the text is written")
    parser.add_argument("--url", default="ws://localhost:8765/v1/stream")
    arguments = parser.parse_args()
    pieces = standard_input() if arguments.text == "-" else words_of(arguments.text, arguments.words_per_s)
    try:
        asyncio.run(speak(arguments.url, pieces, arguments.file))
    except (OSError, RuntimeError, WebSocketException, ExceptionGroup) as error:
        cause = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
        sys.exit(f"live_text: {cause}")


if __name__ == "__main__":
    main()
