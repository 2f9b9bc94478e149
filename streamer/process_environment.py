"""The variables of the process's environment: this module alone reads `os.environ`, and changes it."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Final

TRITON_CACHE: Final = "TRITON_CACHE_DIR"
"""The variable that tells Triton where to keep compiled kernels."""


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


def provide_triton_cache(environ: MutableMapping[str, str] | None = None) -> None:
    """Have Triton keep its kernels in a temporary folder, until the process ends, where its own cannot be written.

    It would fail there, as in a container whose root is read-only. `environ`: None for the environment of the process.
    """
    environ = os.environ if environ is None else environ
    home = environ.get("TRITON_HOME") or os.path.expanduser("~")  # noqa: PTH111  (which a user may lack)
    folder = Path(environ.get(TRITON_CACHE) or f"{home}/.triton/cache")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError:
        environ[TRITON_CACHE] = temporary = tempfile.mkdtemp(prefix="triton-")
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)


def _user_directory(name: str, environ: Mapping[str, str] | None) -> Path | None:
    data = Path((variables() if environ is None else environ).get("XDG_DATA_HOME", ""))
    try:
        data = data if data.is_absolute() else Path("~/.local/share").expanduser()
    except RuntimeError:
        return None
    return data / "streamer" / name
