"""What the environment tells beside the settings."""

from __future__ import annotations

import atexit
import shutil
from pathlib import Path

import pytest

from streamer.process_environment import (
    TRITON_CACHE,
    default_models_directory,
    default_voices_directory,
    provide_triton_cache,
)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"XDG_DATA_HOME": "/data"}, Path("/data/streamer/voices")),
        ({"XDG_DATA_HOME": "not/absolute"}, Path("~/.local/share/streamer/voices").expanduser()),
        ({}, Path("~/.local/share/streamer/voices").expanduser()),
    ],
)
def test_installed_voices_are_among_the_users_data(environ: dict[str, str], expected: Path) -> None:
    """They are in the directories of the XDG base directory specification; relative paths do not count."""
    assert default_voices_directory(environ) == expected


def test_installed_models_are_beside_the_voices() -> None:
    """Both kinds of files are in the same place."""
    assert default_models_directory({"XDG_DATA_HOME": "/data"}) == Path("/data/streamer/models")


@pytest.mark.parametrize("variable", [TRITON_CACHE, "TRITON_HOME", "neither"])
@pytest.mark.parametrize("is_writable", [True, False])
def test_tritons_kernels_have_a_folder_that_can_be_written(
    variable: str, is_writable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own, wherever that is told, or a temporary one that goes with the process."""
    undone: list[tuple[object, ...]] = []
    monkeypatch.setattr(atexit, "register", lambda *call, **_: undone.append(call))
    (tmp_path / "file").touch()
    home = tmp_path if is_writable else tmp_path / "file"  # below which nobody can write, root neither
    monkeypatch.setenv("HOME", str(home))
    before = {variable: str(home / "cache")} if variable != "neither" else {}
    environ = dict(before)
    provide_triton_cache(environ)
    if is_writable:
        assert environ == before and not undone
        return
    temporary = Path(environ.pop(TRITON_CACHE))
    assert temporary.is_dir() and (shutil.rmtree, str(temporary)) == undone[0]
    assert environ.items() <= before.items()
    temporary.rmdir()
