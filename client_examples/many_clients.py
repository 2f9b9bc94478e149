# /// script
# requires-python = ">=3.11"
# dependencies = ["websockets"]
# ///
"""Speaks to many clients at the same time, and shows when each hears its first sound and whether playback stalls.

python many_clients.py --clients 20
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from dataclasses import dataclass

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

BYTES_PER_S = 24_000 * 2  # 16 bits at 24 kHz
TEXT = "You are one of many, and still you hear this without a pause. Nobody has to wait for anybody else."


@dataclass
class Playback:
    """What a client without a buffer would hear; all times are in seconds."""

    first_sound_s: float = 0.0
    sound_s: float = 0.0
    stalled_s: float = 0.0

    def receive(self, sound: bytes, passed_s: float) -> None:
        """Count the sound that arrives `passed_s` after the text was sent."""
        if not self.sound_s:
            self.first_sound_s = passed_s
        silent_since_s = self.first_sound_s + self.sound_s + self.stalled_s
        self.stalled_s += max(0.0, passed_s - silent_since_s)
        self.sound_s += len(sound) / BYTES_PER_S


async def listen(url: str, text: str) -> Playback:
    """Speak the text over a connection of its own."""
    async with connect(url + "?framing=bare&encoding=pcm_s16le") as server:
        playback, sent_s = Playback(), time.monotonic()
        await server.send(json.dumps({"type": "speak", "id": "one", "text": text}))
        async for received in server:
            if isinstance(received, bytes):
                playback.receive(received, time.monotonic() - sent_s)
                continue
            message = json.loads(received)
            problem = message if message["type"] == "error" else message.get("error")
            if problem is not None:
                raise RuntimeError(problem["message"])
            if message["type"] == "done":
                return playback
    raise RuntimeError("the server closed the connection")


async def listen_all(url: str, text: str, num_clients: int) -> int:
    """Print what each client heard; return how many of them heard nothing."""
    clients = (listen(url, text) for _ in range(num_clients))
    results = await asyncio.gather(*clients, return_exceptions=True)
    heard = [result for result in results if isinstance(result, Playback)]
    for number, result in enumerate(results, 1):
        if isinstance(result, Playback):
            first_ms, stalled_ms = 1000 * result.first_sound_s, 1000 * result.stalled_s
            print(
                f"{number:4}: first sound after {first_ms:.0f} ms, playback stalled for {stalled_ms:.0f} ms"
            )
        elif isinstance(result, (OSError, RuntimeError, WebSocketException)):
            print(f"{number:4}: {result}")
        else:
            raise result
    if heard:
        firsts_ms = [1000 * playback.first_sound_s for playback in heard]
        print(
            f"{len(heard)} of {num_clients} were spoken to; first sound after {statistics.median(firsts_ms):.0f} ms "
            f"(median), {max(firsts_ms):.0f} ms (slowest)"
        )
    return num_clients - len(heard)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--text", default=TEXT)
    parser.add_argument("--url", default="ws://localhost:8765/v1/stream")
    arguments = parser.parse_args()
    if num_silent := asyncio.run(listen_all(arguments.url, arguments.text, arguments.clients)):
        sys.exit(f"many_clients: {num_silent} of {arguments.clients} heard nothing or not all of it")


if __name__ == "__main__":
    main()
