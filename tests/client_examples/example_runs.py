"""Runs an example as its user would: copied into an empty folder, with the packages that it names and no others."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import wave
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterable
from importlib import metadata
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from packaging.requirements import Requirement

from tests.clients.venvs import NODE, folder_of, python_of
from tests.server.speaking import Running

EXAMPLES = Path(__file__).parents[2] / "client_examples"
PATIENCE_S = 30
_FOLDERS = tempfile.TemporaryDirectory(prefix="streamer-examples-")
"""Where the folders of packages lie until the tests end."""
_HEAD = re.compile(r"^# /// script\n((?:#.*\n)+?)# ///$", re.MULTILINE)
"""The head of a program that names its packages, as in "Inline script metadata" (PyPA's specifications)."""


def packages_of(program: Path) -> list[str]:
    """Return the names of the packages that a program's head names."""
    head = _HEAD.search(program.read_text(encoding="utf-8"))
    assert head is not None, f"{program} does not name its packages"
    text = "".join(line[2:] for line in head[1].splitlines(keepends=True))
    return [Requirement(item).name for item in tomllib.loads(text)["dependencies"]]


@functools.cache
def folder_with(packages: tuple[str, ...]) -> Path:
    """Return a folder with links to these packages and to what they need, as far as they are installed here."""
    folder = Path(tempfile.mkdtemp(dir=_FOLDERS.name))
    for name in _with_needs(packages, set()):
        distribution = metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or () if file.parts[0] != ".."}:
            (folder / top).symlink_to(str(distribution.locate_file(top)))
    return folder


def _with_needs(packages: Iterable[str], found: set[str]) -> set[str]:
    for name in set(packages) - found:
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # what is optional in an example may be missing
        found.add(name)
        wanted = (Requirement(text) for text in needs)
        _with_needs(
            (item.name for item in wanted if not item.marker or item.marker.evaluate({"extra": ""})), found
        )
    return found


@contextlib.asynccontextmanager
async def started(
    example: str,
    *arguments: object,
    environ: dict[str, str] | None = None,
    environment: str | None = None,
) -> AsyncIterator[Process]:
    """Start an example; it is ended with the block unless it has ended by itself.

    `environment`: one of `tests.clients.venvs`, without which the test is skipped; None: the packages that the example
    names, as far as they are installed here.
    """
    path, variables = EXAMPLES / example, {"NO_PROXY": "*", "PYTHONUNBUFFERED": "1", **(environ or {})}
    with tempfile.TemporaryDirectory() as folder:
        copy = _copied(path, Path(folder))
        if environment == NODE:
            (copy.parent / "node_modules").symlink_to(folder_of(NODE) / "node_modules")
        process = await asyncio.create_subprocess_exec(
            *_interpreter(path, environment, variables),
            str(copy),
            *map(str, arguments),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            cwd=copy.parent,
            env={**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, **variables},
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()


def _interpreter(path: Path, environment: str | None, variables: dict[str, str]) -> list[str]:
    """Return the command that runs an example, and set the variables that it needs."""
    if path.suffix == ".sh":
        return ["bash"]
    if path.suffix == ".mjs":
        version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
        return ["node", "--experimental-websocket"] if version.startswith("v20.") else ["node"]
    if environment is not None:
        return [str(python_of(environment))]
    places = [variables.get("PYTHONPATH", ""), str(folder_with(tuple(packages_of(path))))]
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, places))
    return [sys.executable, "-S"]


def _copied(path: Path, folder: Path) -> Path:
    """Copy an example, or the whole folder that it lies in, and return the copy of the example."""
    if path.parent == EXAMPLES:
        return Path(shutil.copy(path, folder))
    return Path(shutil.copytree(path.parent, folder / path.parent.name)) / path.name


async def run(
    example: str,
    *arguments: object,
    stdin: str = "",
    environ: dict[str, str] | None = None,
    environment: str | None = None,
) -> tuple[int, str, str]:
    """Run the example to its end; return its exit status, standard output and standard error."""
    async with (
        started(example, *arguments, environ=environ, environment=environment) as process,
        asyncio.timeout(PATIENCE_S),
    ):
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
