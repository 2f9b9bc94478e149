"""Models that are installed under a name, which `--model` takes besides a directory. A name never becomes a path."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from streamer.config import EngineConfig
from streamer.errors import CheckpointError, StoreError
from streamer.options import suggestion
from streamer.process_environment import default_models_directory

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")
"""`owner/name` as on a hub, or a name alone."""


def models_directory(config: EngineConfig) -> Path:
    """Return the directory of installed models, which need not exist yet.

    Raises `StoreError` for a user without a home.
    """
    if directory := config.models_directory or default_models_directory():
        return directory
    raise StoreError("there is no home directory to keep models in: name a place with --models-directory")


def installed_models(directory: Path | None) -> dict[str, Path]:
    """Return the model directories one or two levels below `directory`, by their names there."""
    if directory is None:
        return {}
    found = {}
    for path in sorted([*directory.glob("*"), *directory.glob("*/*")]):
        name = path.relative_to(directory).as_posix()
        is_model = (path / "config.json").is_file() or any(path.glob("*.pt"))
        if is_model and NAME.fullmatch(name):
            found[name] = path
    return found


def find_model(model: Path, directory: Path | None) -> Path:
    """Return the directory `model`, or that of the model which is installed below `directory` under this name.

    Raises `CheckpointError` if there is neither.
    """
    if model.is_dir():
        return model
    installed = installed_models(directory)
    try:
        return installed[model.as_posix()]
    except KeyError:
        raise CheckpointError(
            f"{str(model)[:200]!r} is neither a directory nor an installed model"
            f"{suggestion(model.as_posix(), installed)}: see `streamer models list` and `streamer models pull`"
        ) from None
