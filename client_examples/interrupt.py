# /// script
# requires-python = ">=3.11"
# dependencies = ["websockets"]
# ///
"""Interrupts a long utterance and prints how much of it was heard, which an assistant must know after a barge-in.

python interrupt.py --after 2.5
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

BYTES_PER_MS = 24 * 2  # 24 kHz, 16 bits
TEXT = (
    "Let me tell you the whole story from the beginning. It was a grey morning when the ship left the "
    "harbour. Nobody on board knew how long the journey would be. The captain said nothing at all. "
    "After three days the wind fell asleep, and so did half of the crew."
)


async def interrupt(url: str, text: str, after_s: float) -> None:
    async with connect(url + "?framing=bare&encoding=pcm_s16le") as server:
        await server.send(json.dumps({"type": "speak", "id": "story", "text": text}))
        received_ms = 0.0

        def played_ms(begin_s: float) -> int:
            # A real player asks its sound card; here playback is assumed to have no gap from the first packet on.
            return round(min(1000 * (time.monotonic() - begin_s), received_ms))

        async def stop_later(begin_s: float) -> None:
            await asyncio.sleep(after_s)
            print(f"interrupting: {played_ms(begin_s)} ms played, {received_ms:.0f} ms received", flush=True)
            cancel = {"type": "cancel", "id": "story", "played_ms": played_ms(begin_s)}
            await server.send(json.dumps(cancel))

        async with asyncio.TaskGroup() as tasks:
            stopping: asyncio.Task[None] | None = None
            async for received in server:
                if isinstance(received, bytes):
                    received_ms += len(received) / BYTES_PER_MS
                    stopping = stopping or tasks.create_task(stop_later(time.monotonic()))
                    continue
                message = json.loads(received)
                if message["type"] == "error":
                    raise RuntimeError(message["message"])
                if message["type"] == "done":
                    break
            if stopping is not None:
                stopping.cancel()
        if message["reason"] == "cancelled":
            print(f"heard: {message['heard']['text']}")
        else:
            print(f"{message['reason']} before the interruption, after {message['audio_ms']} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", default=TEXT)
    parser.add_argument("--after", type=float, default=3.0, help="seconds of sound before the interruption")
    parser.add_argument("--url", default="ws://localhost:8765/v1/stream")
    arguments = parser.parse_args()
    try:
        asyncio.run(interrupt(arguments.url, arguments.text, arguments.after))
    except (OSError, RuntimeError, WebSocketException, ExceptionGroup) as error:
        cause = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
        sys.exit(f"interrupt: {cause}")


if __name__ == "__main__":
    main()
