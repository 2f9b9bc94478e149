"""Starts the real server as a process of its own, and speaks to it with the load test's client; for the benchmarks."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from streamer.loadtest import client
from streamer.loadtest.client import Recording, Target

START_TIMEOUT_S = 300.0
LIFTED_LIMITS = {
    "max_connections_per_address": 10_000,
    "max_utterances_per_key": 10_000,
    "max_starts_per_s": 10_000,
}
"""Settings for a server under load: here all clients have one address, and its capacity is to be measured."""


async def speak(url: str, text: str, *, seed: int = 0, encoding: str = "opus", **settings: Any) -> Recording:
    """Speak `text` over a new connection, as fast as it is generated. Raises `RuntimeError` if it was not spoken."""
    recording = Recording(due_s=asyncio.get_running_loop().time())
    target = Target(url, encoding, settings={"lead_ms": None, **settings})
    await client.speak(target, text, seed, recording)
    if recording.outcome != "served" or not recording.frames:
        raise RuntimeError(f"{text!r} was not spoken: {recording.reason or recording.outcome}")
    return recording


@contextlib.asynccontextmanager
async def running_server(*flags: str) -> AsyncIterator[tuple[str, float]]:
    """Run `streamer serve` on a free port; yields its WebSocket address and the seconds it took to be ready."""
    start = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "streamer", "serve", "--port", "0", *flags, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
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
