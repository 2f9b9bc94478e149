"""Bark's voices are read from its package: the installed one, its wheel, or what pip fetches."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from streamer.errors import StoreError
from streamer.store import voice_packages
from streamer.store.hub import sha256
from streamer.store.voice_packages import open_package
from streamer.voices.voice import LARGEST_BYTES
from tests.fakes.bark_wheel import save_bark_wheel
from tests.fakes.voice_files import BROKEN, npz, voice_arrays

VOICES = {
    "announcer": npz({key: array.astype(np.uint16) for key, array in voice_arrays(seed=1).items()}),
    "v2/de_speaker_3": npz(voice_arrays(seed=2)),
    "speaker_0": npz(voice_arrays(seed=3)),
    "../../up": npz(voice_arrays(seed=4)),
}


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice_packages, "DISTRIBUTIONS", ("no-such-distribution",))


def assert_has_the_voices(package: voice_packages.VoicePackage) -> None:
    """Those that Bark lets one ask for by name, with their tokens."""
    assert set(package.files) == {"announcer", "v2/de_speaker_3"}
    for name, seed in (("announcer", 1), ("v2/de_speaker_3", 2)):
        assert np.array_equal(package.read(name).fine, voice_arrays(seed=seed)["fine_prompt"])


def test_a_wheels_voices_are_read(tmp_path: Path) -> None:
    """By name, with origin and licence; what is no voice of Bark's by name is left out."""
    with open_package(str(save_bark_wheel(tmp_path, VOICES))) as package:
        assert package.origin == "bark 0.1.5, bark-0.1.5-py3-none-any.whl"
        assert package.licence == "MIT License"
        assert_has_the_voices(package)


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("License-Expression: MIT", "MIT"),
        ("License: MIT License\n        \n        Copyright", "MIT License"),
        ("", "not stated"),
    ],
)
def test_the_licence_is_what_the_package_states(tmp_path: Path, licence: str, expected: str) -> None:
    """In either of the fields that metadata has for it, its first line; or that there is none."""
    with open_package(str(save_bark_wheel(tmp_path, VOICES, licence=licence))) as package:
        assert package.licence == expected


def test_an_installed_package_is_read_and_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it is installed, nothing is downloaded; its code, which would fail, is never run."""
    with zipfile.ZipFile(save_bark_wheel(tmp_path, VOICES)) as wheel:
        wheel.extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    with open_package("bark") as package:
        assert package.origin == "bark 0.1.5, as installed"
        assert_has_the_voices(package)


@pytest.mark.usefixtures("not_installed")
def test_pip_brings_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the index that pip is set to, if it is the very wheel; another one is refused."""
    wheel = save_bark_wheel(tmp_path, VOICES)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setattr(voice_packages, "REQUIREMENT", f"bark==0.1.5 --hash=sha256:{sha256(wheel)}")
    with open_package("bark") as package:
        assert package.origin == "bark 0.1.5, bark-0.1.5-py3-none-any.whl"
        assert_has_the_voices(package)
    save_bark_wheel(tmp_path, {**VOICES, "announcer": VOICES["v2/de_speaker_3"]})
    with (
        pytest.raises(StoreError, match=r"pip cannot download bark \(ERROR: .*: give the path of its wheel"),
        open_package("bark"),
    ):
        pass


@pytest.mark.usefixtures("not_installed")
def test_without_an_index_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line, whatever pip writes."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with (
        pytest.raises(StoreError, match=r"pip cannot download bark .*: give the path of its wheel") as raised,
        open_package("bark"),
    ):
        pass
    assert "\n" not in raised.value.message


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_voice_is_named(tmp_path: Path, content: bytes) -> None:
    """By the package and its name in it; nothing is unpickled."""
    wheel = save_bark_wheel(tmp_path, {"v2/de_speaker_3": content})
    with open_package(str(wheel)) as package, pytest.raises(StoreError, match=r"bark-0.1.5.*v2/de_speaker_3"):
        package.read("v2/de_speaker_3")


def test_a_voice_that_is_too_large_is_not_unpacked(tmp_path: Path) -> None:
    """A wheel may claim any size."""
    wheel = save_bark_wheel(tmp_path, {"announcer": bytes(LARGEST_BYTES + 1)})
    with pytest.raises(StoreError, match=f"{LARGEST_BYTES + 1} bytes of announcer"), open_package(str(wheel)):
        pass


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "cannot be read"),
        (b"PK\x05\x06" + bytes(18), "is no wheel"),
        (None, "holds none of Bark's voices"),
    ],
    ids=["empty", "an empty archive", "a wheel without voices"],
)
def test_what_is_no_wheel_of_barks_is_told(tmp_path: Path, content: bytes | None, expected: str) -> None:
    """Instead of an exception of the library's."""
    wheel = save_bark_wheel(tmp_path, {})
    if content is not None:
        wheel.write_bytes(content)
    with pytest.raises(StoreError, match=expected), open_package(str(wheel)):
        pass


@pytest.mark.parametrize("name", ["torch", "bark==0.1.4", "--index-url=http://example.org", "../bark", ""])
def test_other_packages_are_refused(name: str) -> None:
    """Pip is asked for one requirement, never for what was typed."""
    with pytest.raises(StoreError, match="give bark, or the path of its wheel"), open_package(name):
        pass
