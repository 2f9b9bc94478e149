"""A client and a server to measure: the real server as a process of its own, and utterances timed at the socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import connect

HEADER_BYTES = 12
START_LIMIT_S = 300.0
LIFTED_LIMITS = {
    "max_connections_per_address": 10_000,
    "max_utterances_per_key": 10_000,
    "max_starts_per_s": 10_000,
}
"""Settings for a server under load: all its listeners are one address here, and what it can carry is asked."""


@dataclass
class Spoken:
    """What came back for one text."""

    text: str
    done: dict[str, Any]
    first_packet_s: float
    """From sending the text to the first packet."""
    total_s: float
    """From sending the text to `done`; with `lead_ms` null the time that making it took."""
    packets: list[bytes] = field(repr=False, default_factory=list)
    sent_s: float | None = None
    """When the text left, by `time.perf_counter`."""

    @property
    def audio_s(self) -> float:
        return float(self.done["audio_ms"]) / 1000

    @property
    def real_time_factor(self) -> float | None:
        """None where nothing was said."""
        return self.total_s / self.audio_s if self.audio_s else None


async def speak(url: str, text: str, **fields: Any) -> Spoken:
    """Speak `text` over a fresh connection to the native protocol, as fast as it is made."""
    async with connect(url, subprotocols=["streamer.v1"], compression=None) as connection:  # type: ignore[list-item]
        await connection.recv()
        message = {"type": "speak", "id": "1", "text": text, "lead_ms": None, **fields}
        start, first, packets = time.perf_counter(), None, []
        await connection.send(json.dumps(message))
        while True:
            item = await connection.recv()
            if isinstance(item, bytes):
                first = first or time.perf_counter()
                if len(item) > HEADER_BYTES:
                    packets.append(item[HEADER_BYTES:])
                continue
            answer = json.loads(item)
            if answer["type"] == "done":
                end = time.perf_counter()
                if answer["reason"] not in ("completed", "truncated") or first is None:
                    raise RuntimeError(f"{text!r} was not spoken: {answer}")
                return Spoken(text, answer, first - start, end - start, packets, start)
            if answer["type"] == "error":
                raise RuntimeError(answer["message"])


@contextlib.asynccontextmanager
async def running_server(*flags: str) -> AsyncIterator[tuple[str, float]]:
    """`streamer serve` on a free port: its WebSocket address and the seconds it took to be ready."""
    start = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "streamer", "serve", "--port", "0", *flags, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_LIMIT_S):
            while (line := (await process.stdout.readline()).decode()) and not line.startswith("ready"):
                pass
        if not line:
            raise RuntimeError(f"the server ended with status {await process.wait()}")
        address = line.split("http://", 1)[1].split("/", 1)[0]
        yield f"ws://{address}/v1/stream", time.perf_counter() - start
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
