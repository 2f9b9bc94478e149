"""A file is written whole, or what was there before stays."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamer.whole_files import write_whole


@contextlib.contextmanager
def _small_files() -> Iterator[None]:
    """Allow no file more than 4096 bytes, as on a full disk; the file that takes pytest's own report is one, too."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("before", [None, b"", b"what was there"])
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, before: bytes | None) -> None:
    """The error names the file, and nothing half is left beside it."""
    path = tmp_path / "sound.wav"
    if before is not None:
        path.write_bytes(before)
    with _small_files(), pytest.raises(OSError, match=r"sound\.wav"):
        write_whole(path, b"x" * 10_000)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == (
        [] if before is None else [("sound.wav", before)]
    )


def test_a_file_is_replaced_with_its_rights(tmp_path: Path) -> None:
    """Through a link the file behind it is written, and who may read it stays as it was."""
    path, link = tmp_path / "real.wav", tmp_path / "link.wav"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    write_whole(link, b"new")
    assert path.read_bytes() == b"new" and link.is_symlink() and path.stat().st_mode & 0o777 == 0o640
    write_whole(tmp_path / "fresh.wav", b"new")
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "fresh.wav").stat().st_mode & 0o777 == 0o666 & ~mask


def test_what_is_no_file_is_written_to(tmp_path: Path) -> None:
    """A pipe stays a pipe."""
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reading = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reading.start()
    write_whole(pipe, b"sound")
    reading.join(10)
    assert read == [b"sound"] and pipe.is_fifo()


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The error is the system's."""
    with pytest.raises(OSError, match="missing"):
        write_whole(tmp_path / "missing" / "sound.wav", b"x")
