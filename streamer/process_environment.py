"""The variables of the process's environment: this module alone reads `os.environ`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def variables() -> Mapping[str, str]:
    """Return the variables with which the process was started."""
    return os.environ


def default_models_directory(environ: Mapping[str, str] | None = None) -> Path | None:
    """Return the directory of this user's models, like `default_voices_directory`; `models_directory` overrides it."""
    return _user_directory("models", environ)


def default_voices_directory(environ: Mapping[str, str] | None = None) -> Path | None:
    """Return the directory of this user's voices, None for a user without a home; `voices_directory` overrides it.

    It follows the XDG base directory specification and need not exist. `environ`: None for the environment of the
    process.
    """
    return _user_directory("voices", environ)


def _user_directory(name: str, environ: Mapping[str, str] | None) -> Path | None:
    data = Path((variables() if environ is None else environ).get("XDG_DATA_HOME", ""))
    try:
        data = data if data.is_absolute() else Path("~/.local/share").expanduser()
    except RuntimeError:
        return None
    return data / "streamer" / name
