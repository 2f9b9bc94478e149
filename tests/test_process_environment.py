"""What the environment tells beside the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.process_environment import default_models_directory, default_voices_directory


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
