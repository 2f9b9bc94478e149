"""Contracts of `client_examples/pipecat_bot.py`, with pipecat's own package."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tests.client_examples.example_runs import line_with, read_sound, started
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import running

pytestmark = pytest.mark.clients


async def test_an_answer_is_spoken_whole(tmp_path: Path) -> None:
    """Every word of the answer reaches the model in order, and the file has as much sound as the words take."""
    path = tmp_path / "bot.wav"
    async with running() as server:
        address = f"http://127.0.0.1:{server.server.port}/v1"
        async with started("pipecat_bot.py", path, "--url", address, environment="pipecat") as process:
            async with asyncio.timeout(30):
                await process.communicate(b"hello\n")
            assert process.returncode == 0
        said = " ".join(request.text for request in server.synthesizer.requests)
    assert said == "You said: hello. That is what I heard, and I say it again: hello."
    sound = read_sound(path)
    blocks = np.abs(sound[: len(sound) // 480 * 480].reshape(-1, 480)).max(axis=1)
    assert 0.02 * (blocks > 0.1).sum() == pytest.approx(0.02 * len(said), abs=0.06)


async def test_typing_interrupts(tmp_path: Path) -> None:
    """A long answer stops at the next line, which is answered whole, and nothing is left to be made."""
    path = tmp_path / "bot.wav"
    async with running(synthesizer=FakeSynthesizer(speed=2.0)) as server:
        address = f"http://127.0.0.1:{server.server.port}/v1"
        async with started("pipecat_bot.py", path, "--url", address, environment="pipecat") as process:
            assert process.stdin is not None
            process.stdin.write(b"word " * 60 + b"\n")
            await line_with(process, "> word")
            async with asyncio.timeout(10):
                while not server.synthesizer.num_open:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.5)
            process.stdin.write(b"enough\n")
            await line_with(process, "> enough")
            process.stdin.close()
            async with asyncio.timeout(20):
                assert await process.wait() == 0
        said = [request.text for request in server.synthesizer.requests]
        assert server.synthesizer.num_cancelled and not server.synthesizer.num_open
    assert " ".join(said).endswith("You said: enough. That is what I heard, and I say it again: enough.")
    assert len(read_sound(path)) / 24_000 < 4.5
