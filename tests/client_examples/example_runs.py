"""Runs an example as its user would, as a program of its own, against a server that speaks tones."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import wave
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from tests.server.speaking import Running

EXAMPLES = Path(__file__).parents[2] / "client_examples"
PATIENCE_S = 30


@contextlib.asynccontextmanager
async def started(
    example: str, *arguments: object, environ: dict[str, str] | None = None
) -> AsyncIterator[Process]:
    """The running example; ended with the block, if it has not ended by itself."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLES / example),
        *map(str, arguments),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env={**os.environ, "NO_PROXY": "*", "PYTHONUNBUFFERED": "1", **(environ or {})},
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def run(example: str, *arguments: object, stdin: str = "") -> tuple[int, str, str]:
    """Run the example to its end: exit status, standard output, standard error."""
    async with started(example, *arguments) as process, asyncio.timeout(PATIENCE_S):
        output, errors = await process.communicate(stdin.encode())
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def line_with(process: Process, text: str) -> str:
    """The next line of the example's output that contains `text`."""
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        while line := (await process.stdout.readline()).decode():
            if text in line:
                return line
    raise AssertionError(f"the example ended without saying {text!r}")


def url(running: Running) -> list[str]:
    """The flag that leads the example to the server under test."""
    return ["--url", running.address]


def read_sound(path: Path) -> npt.NDArray[np.float64]:
    """The sound of a file at 24 kHz, decoded by ffmpeg. [num_samples]"""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=24_000)
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float64)


def wav_duration_s(path: Path) -> float:
    """What the header of a WAV says of its length."""
    with wave.open(str(path), "rb") as file:
        return file.getnframes() / file.getframerate()


def assert_spoken(sound: npt.NDArray[np.float64], text: str, *, pauses_s: float = 0.0) -> None:
    """It is as long as the tones of this text (20 ms a character) and, within pauses, not silent."""
    shortest_s = 0.02 * len(text) - 0.1
    duration_s = len(sound) / 24_000
    assert shortest_s <= duration_s <= shortest_s + 0.2 + pauses_s
    blocks = sound[: len(sound) // 2400 * 2400].reshape(-1, 2400)
    assert (np.abs(blocks).max(axis=1) > 0.1).mean() > 0.7
