"""Installed voices: plain names, checked tokens, and files that are there whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from streamer.config import EngineConfig
from streamer.errors import StoreError
from streamer.models.config import SMALL
from streamer.store import voices
from streamer.store.voices import check_free, check_name, directory_of, install, is_installed, remove
from streamer.voices.library import VoiceLibrary
from streamer.voices.voice import Voice
from tests.fakes.voice_files import assert_is, npy, npz, voice_arrays


def a_voice(seed: int = 0) -> Voice:
    arrays = voice_arrays(seed=seed)
    return Voice(arrays["semantic_prompt"], arrays["coarse_prompt"], arrays["fine_prompt"])


@pytest.mark.parametrize("name", ["anna", "v2/de_speaker_3", "A-1_b", "x" * 64])
def test_an_installed_voice_is_found_by_its_name(tmp_path: Path, name: str) -> None:
    """In directories that are made for it, readable for a server of another user, with nothing left beside it."""
    path = install(a_voice(), name, tmp_path / "voices", SMALL)
    assert_is(path, voice_arrays())
    assert VoiceLibrary([tmp_path / "voices"], SMALL).names == (name, "random")
    assert path.stat().st_mode & 0o777 == 0o644
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [path]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../up",
        "/etc/passwd",
        "a/b/c",
        "a/",
        "/a",
        "a.npz",
        "ä",
        "a b",
        "a\n",
        "a\\b",
        "x" * 65,
        ".",
        "..",
    ],
)
def test_a_name_that_is_not_plain_is_refused(tmp_path: Path, name: str) -> None:
    """A bad name is refused, both to install and to remove."""
    for attempt in (
        lambda: check_name(name),
        lambda: install(a_voice(), name, tmp_path / "voices", SMALL),
        lambda: remove(name, tmp_path / "voices"),
    ):
        with pytest.raises(StoreError, match="is no name for a voice"):
            attempt()
    assert not list(tmp_path.iterdir())


def test_the_name_for_no_voice_is_taken(tmp_path: Path) -> None:
    """Nothing is installed as `random`; a file of that name, from wherever it came, can be removed."""
    with pytest.raises(StoreError, match="'random' means a speaker made up"):
        install(a_voice(), "random", tmp_path, SMALL)
    (tmp_path / "random.npz").write_bytes(npz(voice_arrays()))
    remove("random", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_voice_of_another_model_is_not_installed(tmp_path: Path) -> None:
    """What is wrong is told, and nothing is written."""
    voice = a_voice()
    voice.semantic[3] = 10_000
    with pytest.raises(StoreError, match=r"'anna' does not fit .* semantic tokens must be 0\.\.9999"):
        install(voice, "anna", tmp_path / "voices", SMALL)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_up_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The voice of before, whole, and no half of the new one."""
    path = install(a_voice(1), "anna", tmp_path, SMALL)

    def fill_up(_: Voice, file: BinaryIO) -> None:
        file.write(b"PK")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(voices.Voice, "write", fill_up)
    with pytest.raises(OSError, match="No space left"):
        install(a_voice(2), "anna", tmp_path, SMALL)
    assert list(tmp_path.iterdir()) == [path]
    assert_is(path, voice_arrays(seed=1))


def test_a_taken_name_is_told(tmp_path: Path) -> None:
    """Whether it is one file or Hugging Face's three."""
    check_free("anna", tmp_path)
    for key, array in voice_arrays().items():
        (tmp_path / f"anna_{key}.npy").write_bytes(npy(array))
    (tmp_path / "bert.npz").write_bytes(npz(voice_arrays()))
    for name in ("anna", "bert"):
        assert is_installed(name, tmp_path)
        with pytest.raises(StoreError, match="--force"):
            check_free(name, tmp_path)


def test_a_removed_voice_is_gone_with_all_its_files(tmp_path: Path) -> None:
    """Its folder too, once it was the last in it; what is not there is told."""
    for name in ("v2/anna", "v2/bert"):
        install(a_voice(), name, tmp_path, SMALL)
    for key, array in voice_arrays().items():
        np.save(tmp_path / "v2" / f"anna_{key}.npy", array)
    remove("v2/anna", tmp_path)
    assert VoiceLibrary([tmp_path], SMALL).names == ("v2/bert", "random")
    assert [path.name for path in (tmp_path / "v2").iterdir()] == ["bert.npz"]
    with pytest.raises(StoreError, match="no voice 'v2/anna' is in"):
        remove("v2/anna", tmp_path)
    remove("v2/bert", tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_setting_wins_over_the_usual_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Voices go into `voices_directory`, else among the user's data; without either the error says so."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert directory_of(EngineConfig()) == tmp_path / "streamer" / "voices"
    assert directory_of(EngineConfig(voices_directory=Path("/mine"))) == Path("/mine")
    monkeypatch.setattr(voices, "default_voices_directory", lambda: None)
    with pytest.raises(StoreError, match="--voices-directory"):
        directory_of(EngineConfig())
