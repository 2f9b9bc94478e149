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
    """Start an example; it is ended with the block unless it has ended by itself."""
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
    """Run the example to its end; return its exit status, standard output and standard error."""
    async with started(example, *arguments) as process, asyncio.timeout(PATIENCE_S):
        output, errors = await process.communicate(stdin.encode())
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def line_with(process: Process, text: str) -> str:
    """Return the next line of the example's output that contains `text`."""
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        while line := (await process.stdout.readline()).decode():
            if text in line:
                return line
    raise AssertionError(f"the example ended without saying {text!r}")


def url(running: Running) -> list[str]:
    """Return the flag that points the example at the server under test."""
    return ["--url", running.address]


def read_sound(path: Path) -> npt.NDArray[np.float64]:
    """Return the sound of a file at 24 kHz, decoded by ffmpeg, [num_samples]."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=24_000)
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float64)


def wav_duration_s(path: Path) -> float:
    """Return the length that the header of a WAV gives."""
    with wave.open(str(path), "rb") as file:
        return file.getnframes() / file.getframerate()


def assert_spoken(sound: npt.NDArray[np.float64], text: str, *, pauses_s: float = 0.0) -> None:
    """Check that the sound is as long as the tones of this text (20 ms per character) and not silent between pauses."""
    shortest_s = 0.02 * len(text) - 0.1
    duration_s = len(sound) / 24_000
    assert shortest_s <= duration_s <= shortest_s + 0.2 + pauses_s
    blocks = sound[: len(sound) // 2400 * 2400].reshape(-1, 2400)
    assert (np.abs(blocks).max(axis=1) > 0.1).mean() > 0.7
