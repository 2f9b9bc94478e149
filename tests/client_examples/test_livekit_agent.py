"""Contracts of `client_examples/livekit_agent.py`, with LiveKit's own packages."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.client_examples.example_runs import line_with, run, started, wav_duration_s
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import running

pytestmark = pytest.mark.clients


async def test_an_answer_is_spoken_whole(tmp_path: Path) -> None:
    """Every word of the answer reaches the model in order, and the file has as much sound as the words take."""
    path = tmp_path / "agent.wav"
    async with running() as server:
        address = f"http://127.0.0.1:{server.server.port}/v1"
        status, _, errors = await run(
            "livekit_agent.py", path, "--url", address, stdin="hello\n", environment="livekit"
        )
        said = " ".join(request.text for request in server.synthesizer.requests)
    assert (status, errors) == (0, "")
    assert said == "You said: hello. That is what I heard, and I say it again: hello."
    assert wav_duration_s(path) == pytest.approx(0.02 * len(said), abs=0.3)


async def test_typing_interrupts(tmp_path: Path) -> None:
    """A long answer stops at the next line, the session knows it, and the next one is spoken whole."""
    path = tmp_path / "agent.wav"
    async with running(synthesizer=FakeSynthesizer(speed=2.0)) as server:
        address = f"http://127.0.0.1:{server.server.port}/v1"
        async with started("livekit_agent.py", path, "--url", address, environment="livekit") as process:
            assert process.stdin is not None
            process.stdin.write(b"word " * 60 + b"\n")
            await line_with(process, "> word")
            async with asyncio.timeout(10):
                while not server.synthesizer.num_open:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.5)
            process.stdin.write(b"enough\n")
            await line_with(process, "(interrupted)")
            process.stdin.close()
            async with asyncio.timeout(20):
                assert await process.wait() == 0
        said = [request.text for request in server.synthesizer.requests]
        assert server.synthesizer.num_cancelled and not server.synthesizer.num_open
    assert " ".join(said).endswith("You said: enough. That is what I heard, and I say it again: enough.")
    assert wav_duration_s(path) < 4
