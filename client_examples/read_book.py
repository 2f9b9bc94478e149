# /// script
# requires-python = ">=3.11"
# dependencies = ["websockets"]
# ///
"""Reads a whole book aloud into an Ogg Opus file: a text of any length, sent as fast as it is spoken and no faster.

python read_book.py book.txt book.ogg
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import unicodedata
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException


def read_text(path: Path) -> str:
    """Return the book as the server counts its characters: composed, and without those that cannot be spoken."""
    text = unicodedata.normalize("NFC", path.read_text(encoding="utf-8-sig"))
    return "".join(character for character in text if character.isprintable() or character in "\n\t")


class Reading:
    """Keeps account of how far the text was sent, and how far it has been spoken."""

    def __init__(self, text: str, limits: dict[str, int]) -> None:
        self.text = text
        self.num_sent = 0
        self.num_spoken = 0
        self.progressed = asyncio.Event()
        self._max_waiting = limits["max_buffered_chars"]
        self._piece = min(limits["max_text_chars"], self._max_waiting // 4)

    async def write(self, server: ClientConnection) -> None:
        """Send the text in pieces, each only when the server has room for it; they may be cut anywhere."""
        while self.num_sent < len(self.text):
            piece = self.text[self.num_sent : self.num_sent + self._piece]
            while self.num_sent + len(piece) - self.num_spoken > self._max_waiting:
                self.progressed.clear()
                await self.progressed.wait()
            await server.send(json.dumps({"type": "text", "id": "book", "text": piece}))
            self.num_sent += len(piece)
        await server.send(json.dumps({"type": "end", "id": "book"}))

    async def listen(self, server: ClientConnection, path: Path) -> dict[str, Any]:
        """Write the sound as it comes and print the progress; return the server's `done`."""
        with path.open("wb") as file:
            async for received in server:
                if isinstance(received, bytes):
                    file.write(received)
                    continue
                message = json.loads(received)
                if message["type"] == "sentence_start":
                    self.num_spoken = message["char_end"]
                    self.progressed.set()
                    print(f"{100 * self.num_spoken / len(self.text):3.0f} %  {message['text']}", flush=True)
                elif message["type"] == "warning":
                    print(f"note: {message['message']}", flush=True)
                elif message["type"] == "error":
                    raise RuntimeError(message["message"])
                elif message["type"] == "done":
                    return message
        raise RuntimeError("the server closed the connection")


async def read_aloud(url: str, text: str, path: Path, start: dict[str, Any]) -> dict[str, Any]:
    # A file needs no pacing (lead_ms=null) and no packet headers (framing=bare).
    async with connect(url + "?framing=bare&encoding=ogg_opus&lead_ms=null") as server:
        session = json.loads(await server.recv())
        reading = Reading(text, session["limits"])
        await server.send(json.dumps({"type": "start", "id": "book", **start}))
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(reading.write(server))
            done = await reading.listen(server, path)
            writing.cancel()  # it still waits if the sound reached the server's limit before the end of the text
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("book", type=Path, help="text file, UTF-8")
    parser.add_argument("file", type=Path, help="Ogg file to write")
    parser.add_argument("--voice", help="a name of /v1/voices; none: the server's default")
    parser.add_argument("--continuity", default="preset", help="preset, chain or preset+chain")
    parser.add_argument("--url", default="ws://localhost:8765/v1/stream")
    arguments = parser.parse_args()
    start = {"voice": arguments.voice, "continuity": arguments.continuity}
    try:
        text = read_text(arguments.book)
        done = asyncio.run(read_aloud(arguments.url, text, arguments.file, start))
    except (OSError, UnicodeDecodeError, RuntimeError, WebSocketException, ExceptionGroup) as error:
        cause = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
        sys.exit(f"read_book: {cause}")
    if done["reason"] == "failed":
        sys.exit(f"read_book: {done['error']['message']}")
    print(
        f"{arguments.file}: {done['audio_ms'] / 1000:.0f} s in {done['sentences']} sentences, "
        f"{done['reason']}, seed {done['seed']}"
    )


if __name__ == "__main__":
    main()
