"""The operator's voices on disk: plain names, checked tokens, files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from pathlib import Path
from typing import Final

from streamer.config import EngineConfig
from streamer.errors import StoreError
from streamer.models.config import ModelConfig
from streamer.process_environment import default_voices_directory
from streamer.voices.library import NO_HISTORY
from streamer.voices.voice import FILE_SUFFIXES, Voice

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64})?")


def directory_of(config: EngineConfig) -> Path:
    """Return the directory of installed voices, which need not exist yet. Raises `StoreError` if there is none."""
    if directory := config.voices_directory or default_voices_directory():
        return directory
    raise StoreError("there is no home directory to keep voices in: name a place with --voices-directory")


def check_name(name: str) -> str:
    """`name` for a voice that is to be installed. Raises `StoreError` if it is not plain, or taken by the library."""
    if name == NO_HISTORY:
        raise StoreError(f"{name!r} means a speaker made up by the model: choose another name")
    return _plain(name)


def is_installed(name: str, directory: Path) -> bool:
    return any(path.exists() for path in _files(name, directory))


def check_free(name: str, directory: Path) -> None:
    """Raise `StoreError` if a voice of this name is installed."""
    if is_installed(name, directory):
        raise StoreError(f"voice {name!r} is already in {directory}: choose another name, or give --force")


def install(voice: Voice, name: str, directory: Path, config: ModelConfig) -> Path:
    """Write the voice into `directory`, which is made if it is missing; one of that name is replaced.

    Raises `StoreError` if the voice does not fit the model, or the name is not plain.
    """
    if problem := voice.problem(config):
        raise StoreError(f"voice {name!r} does not fit the model {config.name!r}: {problem}")
    path = directory / f"{check_name(name)}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    # Under a name that no scan takes for a voice, until it is whole.
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".incomplete", delete=False) as file:
        half = Path(file.name)
        try:
            voice.write(file)
            file.flush()
            os.fsync(file.fileno())
            half.chmod(0o644)  # a server may run as another user
            half.replace(path)
        except BaseException:
            half.unlink()
            raise
    return path


def remove(name: str, directory: Path) -> None:
    """Delete the voice's files. Raises `StoreError` if there are none."""
    found = [path for path in _files(_plain(name), directory) if path.exists()]
    if not found:
        raise StoreError(f"no voice {name!r} is in {directory}")
    for path in found:
        path.unlink()
    if "/" in name:
        with contextlib.suppress(OSError):  # others are left in it
            found[0].parent.rmdir()


def _plain(name: str) -> str:
    """`name`, which becomes a path."""
    if NAME.fullmatch(name):
        return name
    raise StoreError(
        f"{name[:100]!r} is no name for a voice: it has letters, digits, _ and -, at most 64, and at most one / between"
    )


def _files(name: str, directory: Path) -> list[Path]:
    """What a voice may be kept in, whichever way it came."""
    return [directory / f"{name}{suffix}" for suffix in FILE_SUFFIXES]
