"""Writes a file whole or not at all: a full disk leaves what was there before."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write beside the file and rename; what is no regular file, such as a pipe, is written as it is.

    Raises `OSError`, with the name of the file.
    """
    path = path.resolve()
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(path.stat().st_mode):
            path.write_bytes(content)
            return
    half = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.incomplete")
    try:
        with half.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            half.chmod(stat.S_IMODE(path.stat().st_mode))
        half.replace(path)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None
    except BaseException:
        half.unlink(missing_ok=True)
        raise
