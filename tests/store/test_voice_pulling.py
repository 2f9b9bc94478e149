"""`streamer voices pull`: Bark's voices from a hub, in both layouts, and nothing that is no voice."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from streamer.commands import cli
from streamer.store.voice_pulling import INDEX
from streamer.voices.presets import PRESETS
from streamer.voices.voice import PROMPT_KEYS
from tests.fakes.hub import FakeHub, use_hub
from tests.fakes.voice_files import BROKEN, Arrays, assert_is, npy, npz, voice_arrays

Run = Callable[..., tuple[int, str, str]]
NAMES = ("announcer", "en_speaker_0", "v2/de_speaker_3", "v2/en_speaker_6")
VOICES = {name: voice_arrays(20 + 2 * number, seed=number) for number, name in enumerate(NAMES)}


def as_npz(voices: dict[str, Arrays], folder: str = "speaker_embeddings/") -> dict[str, bytes]:
    """The layout with an archive for each voice."""
    return {f"{folder}{name}.npz": npz(arrays) for name, arrays in voices.items()}


def index_of(names: Sequence[str]) -> dict[str, object]:
    voices = {name: {key: f"speaker_embeddings/{name}_{key}.npy" for key in PROMPT_KEYS} for name in names}
    return {"repo_or_path": "somebody/else", **voices}


def as_npy(voices: dict[str, Arrays]) -> dict[str, bytes]:
    """The layout of suno/bark: a file for each array, and an index of them."""
    arrays = {
        f"speaker_embeddings/{name}_{key}.npy": npy(voice[key])
        for name, voice in voices.items()
        for key in voice
    }
    return {INDEX: json.dumps(index_of(list(voices))).encode(), **arrays}


LAYOUTS = {
    "npz": as_npz(VOICES),
    "npz as on GitHub": as_npz(VOICES, "bark/assets/prompts/"),
    "npy": as_npy(VOICES),
}


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory of this user's voices, which does not exist yet."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "streamer" / "voices"


@pytest.fixture
def pull(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `streamer voices pull`: its status, and what it wrote to both outputs."""

    def pull(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exited:
            cli.main(["voices", "pull", *arguments])
        assert isinstance(exited.value.code, int)
        return exited.value.code, *capsys.readouterr()

    return pull


def installed(data: Path) -> list[str]:
    files = [path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_file()]
    assert all(file.endswith(".npz") for file in files)
    return sorted(file.removesuffix(".npz") for file in files)


def assert_refused(result: tuple[int, str, str], expected: str) -> None:
    """A mistake is status 2 and one clear line."""
    status, _, errors = result
    lines = [line for line in errors.splitlines() if line.strip()]
    assert status == 2 and len(lines) == 1 and lines[0].startswith("streamer: "), errors
    assert re.search(expected, lines[0]), lines[0]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (["v2/en_speaker_6"], ["v2/en_speaker_6"]),
        (["announcer", "en_speaker_0", "announcer"], ["announcer", "en_speaker_0"]),
        (["--language", "de"], ["v2/de_speaker_3"]),
        (["--language", "en"], ["announcer", "en_speaker_0", "v2/en_speaker_6"]),
        (["--all"], sorted(NAMES)),
    ],
)
def test_the_wanted_voices_are_installed(
    hub: FakeHub, pull: Run, data: Path, layout: str, choice: list[str], expected: list[str]
) -> None:
    """Singly or as a set; repository, commit, licence and number are told, and only what is wanted is fetched."""
    commit = hub.add("suno/bark", {"config.json": b"{}", **LAYOUTS[layout]})
    status, output, _ = pull(*choice)
    assert status == 0
    told = f"suno/bark {commit[:12]}, licence: mit\n{len(expected)} installed in {data}, 0 were there\n"
    assert output == told
    assert installed(data) == expected
    for name in expected:
        assert_is(data / f"{name}.npz", VOICES[name])
    num_files = 1 + 3 * len(expected) if layout == "npy" else len(expected)
    assert len([path for path, _ in hub.requests if "/resolve/" in path]) == num_files


def test_all_261_are_found(hub: FakeHub, pull: Run, data: Path) -> None:
    """Every name of Bark's, and not Suno's ten files without a language."""
    files = dict.fromkeys((f"speaker_embeddings/{name}.npz" for name in PRESETS), npz(VOICES["announcer"]))
    hub.add("suno/bark", {**files, "speaker_embeddings/speaker_0.npz": b""})
    assert pull("--all")[0] == 0
    assert installed(data) == sorted(PRESETS)


def test_another_repository_revision_and_place(hub: FakeHub, pull: Run, tmp_path: Path, data: Path) -> None:
    """As the flags say."""
    hub.add("me/voices", as_npz(VOICES))
    hub.add("me/voices", as_npz({"announcer": voice_arrays(10, seed=9)}), revision="next")
    place = ("--voices-directory", str(tmp_path / "mine"))
    assert pull("announcer", "--repo", "me/voices", "--revision", "next", *place)[0] == 0
    assert_is(tmp_path / "mine" / "announcer.npz", voice_arrays(10, seed=9))
    assert not data.exists()


def test_what_is_there_is_kept_and_the_rest_fetched(hub: FakeHub, pull: Run, data: Path) -> None:
    """A second run continues one that broke off; `--force` fetches again."""
    hub.add("suno/bark", as_npz(VOICES))
    assert pull("announcer")[0] == 0
    hub.add("suno/bark", as_npz({**VOICES, "announcer": voice_arrays(10, seed=9)}))
    assert pull("--all")[1].endswith(f"3 installed in {data}, 1 were there\n")
    assert_is(data / "announcer.npz", VOICES["announcer"])
    assert pull("announcer", "--force")[0] == 0
    assert_is(data / "announcer.npz", voice_arrays(10, seed=9))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "which voices.*--all"),
        (["announcer", "--all"], "which voices"),
        (["v2/en_speaker_10"], r"not one of Bark's voices.*did you mean"),
        (["speaker_0"], "not one of Bark's voices"),
        (["../../etc/passwd"], "not one of Bark's voices"),
        (["--language", "xx"], "no voices of 'xx': choose among en, de"),
        (["v2/zh_speaker_1"], "suno/bark has no v2/zh_speaker_1"),
        (["--language", "zh"], r"suno/bark has no v2/zh_speaker_0.* …"),
        (["announcer", "--repo", "suno/nothing"], "has no such repository"),
        (["announcer", "--revision", "v9"], "no such revision"),
    ],
)
def test_a_wrong_wish_is_told(
    hub: FakeHub, pull: Run, data: Path, arguments: list[str], expected: str
) -> None:
    """In one line, with the remedy; nothing is installed."""
    hub.add("suno/bark", as_npz(VOICES))
    assert_refused(pull(*arguments), expected)
    assert not data.exists()


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_archive_is_not_installed(hub: FakeHub, pull: Run, data: Path, content: bytes) -> None:
    """It is named; what came before it stays, whole."""
    hub.add("suno/bark", {**as_npz(VOICES), "speaker_embeddings/en_speaker_0.npz": content})
    assert_refused(pull("announcer", "en_speaker_0"), "en_speaker_0")
    assert installed(data) == ["announcer"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        npy(VOICES["announcer"]["coarse_prompt"])[:100],
        npy(np.array([{}], dtype=object)),
        npy(np.full((2, 30), 1024)),
        npy(np.zeros((2, 30))),
        npy(VOICES["announcer"]["coarse_prompt"][:, :9]),
    ],
    ids=["empty", "cut in its head", "cut", "pickled", "out of range", "fractions", "too short"],
)
def test_a_broken_array_is_not_installed(hub: FakeHub, pull: Run, data: Path, content: bytes) -> None:
    """One of the three spoils the voice."""
    path = "speaker_embeddings/announcer_coarse_prompt.npy"
    hub.add("suno/bark", {**as_npy(VOICES), path: content})
    assert_refused(pull("announcer"), "announcer")
    assert not data.exists()


def test_a_file_larger_than_any_voice_is_not_fetched(hub: FakeHub, pull: Run, data: Path) -> None:
    """The hub told its size."""
    hub.add("suno/bark", {"announcer.npz": bytes((1 << 20) + 1)})
    assert_refused(pull("announcer"), "too large for a voice")
    assert not data.exists() and not [path for path, _ in hub.requests if "/resolve/" in path]


def entry(**changes: object) -> dict[str, object]:
    named = index_of(["announcer"])["announcer"]
    assert isinstance(named, dict)
    return {**named, **changes}


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        ({"announcer": entry(coarse_prompt="../../../etc/passwd")}, "'../../../etc/passwd' leads out"),
        ({"announcer": entry(coarse_prompt="/etc/passwd")}, "'/etc/passwd' leads out"),
        ({"announcer": entry(coarse_prompt="speaker_embeddings/../../x.npy")}, "leads out"),
        ({"announcer": entry(coarse_prompt="..\\x.npy")}, "leads out"),
        ({"announcer": entry(coarse_prompt="nothing.npy")}, "there is no 'nothing.npy'"),
        ({"announcer": entry(coarse_prompt=7)}, "does not name the files of announcer"),
        ({"announcer": "speaker_embeddings"}, "does not name the files of announcer"),
        ([], "names no voices"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        (b"\xff\xfe\xff", "is not JSON"),
    ],
)
def test_an_index_that_leads_astray_is_refused(
    hub: FakeHub, pull: Run, data: Path, index: object, expected: str
) -> None:
    """Nothing but files of the repository is fetched, whatever the index names."""
    content = (
        index
        if isinstance(index, bytes)
        else (index if isinstance(index, str) else json.dumps(index)).encode()
    )
    hub.add("suno/bark", {**as_npy(VOICES), INDEX: content})
    assert_refused(pull("announcer"), expected)
    assert not data.exists()


def test_a_break_leaves_whole_voices(hub: FakeHub, pull: Run, data: Path) -> None:
    """Those that came before it stay, and the next run brings the rest."""
    hub.add("suno/bark", as_npz({**VOICES, "v2/en_speaker_6": voice_arrays(400)}))
    hub.cut_after, hub.is_down_after_cut = 10_000, True
    assert_refused(pull("announcer", "v2/en_speaker_6"), r"en_speaker_6\.npz was not downloaded")
    assert installed(data) == ["announcer"]
    hub.is_down = False
    assert pull("announcer", "v2/en_speaker_6")[0] == 0
    assert installed(data) == ["announcer", "v2/en_speaker_6"]


def test_no_network_is_told(pull: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is one line."""
    use_hub(monkeypatch, "http://127.0.0.1:9")  # the port that discards; nobody listens
    assert_refused(pull("--all"), "the network cannot be reached")
    assert not data.exists()
