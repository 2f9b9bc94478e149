# /// script
# requires-python = ">=3.11"
# dependencies = ["websockets", "miniaudio"]
# ///
"""Plays a text on the sound card while it is still being made; Ctrl-C interrupts, and prints what was heard.

python sound_card.py "Hello there. I can be interrupted."
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
from collections.abc import Generator
from typing import Any

import miniaudio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

SAMPLE_RATE_HZ = 24_000
BYTES_PER_SAMPLE = 2
CARD_BUFFER_MS = 100
TEXT = "What you hear was written a moment ago. Press Control and C, and I shall know which words you heard."


class SoundCard:
    """Plays the samples that it is given, in order, and silence as long as there are none."""

    def __init__(self) -> None:
        self.played_ms = 0.0
        self._waiting = bytearray()
        self._lock = threading.Lock()
        self._device = miniaudio.PlaybackDevice(
            output_format=miniaudio.SampleFormat.SIGNED16,
            nchannels=1,
            sample_rate=SAMPLE_RATE_HZ,
            buffersize_msec=CARD_BUFFER_MS,
        )
        samples = self._samples()
        next(samples)
        self._device.start(samples)

    def play(self, sound: bytes) -> None:
        with self._lock:
            self._waiting += sound

    async def drain(self) -> None:
        """Wait until everything has been heard."""
        waiting_s = len(self._waiting) / BYTES_PER_SAMPLE / SAMPLE_RATE_HZ
        await asyncio.sleep(waiting_s + CARD_BUFFER_MS / 1000)

    def close(self) -> None:
        self._device.close()

    def _samples(self) -> Generator[bytes, int, None]:
        """Hand over as many samples as the card asks for; this runs on a thread of the card's."""
        num_wanted = yield b""
        while True:
            with self._lock:
                sound = bytes(self._waiting[: num_wanted * BYTES_PER_SAMPLE])
                del self._waiting[: len(sound)]
            self.played_ms += 1000 * len(sound) / BYTES_PER_SAMPLE / SAMPLE_RATE_HZ
            num_wanted = yield sound.ljust(num_wanted * BYTES_PER_SAMPLE, b"\0")


async def receive(server: ClientConnection, card: SoundCard) -> dict[str, Any]:
    """Give the sound to the card as it comes; return the server's `done`."""
    async for received in server:
        if isinstance(received, bytes):
            card.play(received)
            continue
        message = json.loads(received)
        if message["type"] == "sentence_start":
            print(message["text"], flush=True)
        problem = message if message["type"] == "error" else message.get("error")
        if problem is not None:
            raise RuntimeError(problem["message"])
        if message["type"] == "done":
            return message
    raise RuntimeError("the server closed the connection")


async def speak(url: str, text: str) -> None:
    # lead_ms: an interruption discards what was sent and not yet heard, so that little is sent ahead.
    async with connect(url + "?framing=bare&encoding=pcm_s16le&lead_ms=500") as server:
        card = SoundCard()
        try:
            await server.send(json.dumps({"type": "speak", "id": "text", "text": text}))
            await receive(server, card)
            await card.drain()
        except asyncio.CancelledError:  # Ctrl-C
            heard_ms = round(max(0, card.played_ms - CARD_BUFFER_MS))
            card.close()
            await server.send(json.dumps({"type": "cancel", "id": "text", "played_ms": heard_ms}))
            print(f"heard: {await heard(server)}")
        finally:
            card.close()


async def heard(server: ClientConnection) -> str:
    """Return the text that was heard, which the server knows also if it had sent everything before."""
    async for received in server:
        message = json.loads(received) if isinstance(received, str) else {}
        if "heard" in message:
            return str(message["heard"]["text"])
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("text", nargs="?", default=TEXT)
    parser.add_argument("--url", default="ws://localhost:8765/v1/stream")
    arguments = parser.parse_args()
    try:
        asyncio.run(speak(arguments.url, arguments.text))
    except (OSError, RuntimeError, WebSocketException, miniaudio.MiniaudioError) as error:
        sys.exit(f"sound_card: {error}")


if __name__ == "__main__":
    main()
