"""`streamer voices …`: what it installs, lists and removes, and how it says no."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from streamer import api
from streamer.commands import cli
from streamer.config import EngineConfig
from streamer.models.config import ModelConfig
from streamer.synthesis import Synthesizer
from streamer.voices.voice import Voice
from tests.fakes.bark_wheel import save_bark_wheel
from tests.fakes.speaking_model import CONFIG, save_speaking_model
from tests.fakes.tiny_bark import tiny_voice
from tests.fakes.voice_files import BROKEN, assert_is, npz, voice_arrays

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory of this user's voices, which does not exist yet."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "streamer" / "voices"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `streamer voices` (or `say`) with the arguments: its status, and what it wrote to both outputs."""

    def run(*arguments: object) -> tuple[int, str, str]:
        command = [] if arguments[0] == "say" else ["voices"]
        with pytest.raises(SystemExit) as exited:
            cli.main([*command, *map(str, arguments)])
        assert isinstance(exited.value.code, int)
        return exited.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model with the voices `one` and `two`."""
    return save_speaking_model(tmp_path / "model")


def save_voice(path: Path, seed: int = 5, config: ModelConfig = CONFIG) -> Path:
    with path.open("wb") as file:
        tiny_voice(30, seed=seed, config=config).write(file)
    return path


def assert_one_line(result: tuple[int, str, str], *parts: str) -> None:
    """A mistake is status 2 and one clear line."""
    status, output, errors = result
    assert (status, output) == (2, "")
    (line,) = errors.splitlines()
    assert line.startswith("streamer: ") and all(part in line for part in parts), line


def files(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())


def test_a_voice_is_added_listed_and_removed(run: Run, model: Path, data: Path, tmp_path: Path) -> None:
    """Under its file's name or another, beside those of the model."""
    file = save_voice(tmp_path / "anna.npz")
    assert run("add", file, "--model", model)[:2] == (0, f"anna: {data / 'anna.npz'}\n")
    assert run("add", file, "--name", "v2/anna", "--model", model)[0] == 0
    status, output, _ = run("list", "--model", model)
    assert (status, output.splitlines()) == (
        0,
        [
            "one      en   0.8 s  default",
            "two      en   0.8 s",
            "anna     en   0.6 s",
            "v2/anna  en   0.6 s",
            "random   en  made up by the model",
        ],
    )
    assert run("remove", "v2/anna")[:2] == (0, f"v2/anna: removed from {data}\n")
    assert files(data) == ["anna.npz"]
    assert_one_line(run("remove", "v2/anna"), "no voice 'v2/anna'", str(data))
    assert_one_line(run("remove", "one"), "no voice 'one'")


def test_the_operators_own_directory_wins(run: Run, model: Path, data: Path, tmp_path: Path) -> None:
    """With `voices_directory` nothing is installed elsewhere, nor found."""
    mine = tmp_path / "mine"
    place = ("--voices-directory", mine)
    assert run("add", save_voice(tmp_path / "anna.npz"), "--model", model, *place)[0] == 0
    assert files(mine) == ["anna.npz"] and not data.exists()
    assert "anna" in run("list", "--model", model, *place)[1]
    assert "anna" not in run("list", "--model", model)[1]
    assert run("remove", "anna", *place)[0] == 0
    assert_one_line(
        run("list", "--model", model, "--voices-directory", tmp_path / "none"), "no such directory"
    )


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_voice_hides_no_other(
    run: Run, model: Path, data: Path, tmp_path: Path, content: bytes
) -> None:
    """The whole ones are listed, and each broken one is a line with its file and the remedy, in no library's words."""
    mine = tmp_path / "mine"
    place = ("--model", model, "--voices-directory", mine)
    assert run("add", save_voice(tmp_path / "anna.npz"), *place)[0] == 0
    (mine / "v2").mkdir()
    for name in ("bad", "v2/worse"):
        (mine / f"{name}.npz").write_bytes(content)
    status, output, errors = run("list", *place)
    assert (status, [line.split()[0] for line in output.splitlines()]) == (
        2,
        ["one", "two", "anna", "random"],
    )
    told = errors.removeprefix("streamer: ").splitlines()
    assert len(told) == 2 and not data.exists()
    for line, name in zip(told, ("bad", "v2/worse"), strict=True):
        assert line.startswith(f"voice {mine / name}.npz ") and line.endswith("or remove it")
        assert not any(word in line for word in ("pickle", "numpy", "zip", "magic", "header", "allow_"))


def test_a_taken_name_needs_force(run: Run, model: Path, data: Path, tmp_path: Path) -> None:
    """Without it the voice of before stays."""
    first, second = save_voice(tmp_path / "anna.npz", seed=1), save_voice(tmp_path / "bert.npz", seed=2)
    assert run("add", first, "--model", model)[0] == 0
    before = (data / "anna.npz").read_bytes()
    again = ("add", second, "--name", "anna", "--model", model)
    assert_one_line(run(*again), "'anna' is already", "--force")
    assert (data / "anna.npz").read_bytes() == before
    assert run(*again, "--force")[0] == 0
    assert (data / "anna.npz").read_bytes() != before


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_file_that_is_no_voice_is_not_added(
    run: Run, model: Path, data: Path, tmp_path: Path, content: bytes
) -> None:
    """It is named, in one line, and nothing is installed."""
    (tmp_path / "bad.npz").write_bytes(content)
    assert_one_line(run("add", tmp_path / "bad.npz", "--model", model), "bad.npz")
    assert not data.exists()


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("none.npz", [], "No such file"),
        ("anna.pt", [], "from .npz files"),
        ("anna.npz", ["--name", "../anna"], "is no name for a voice"),
        ("bad name.npz", [], "is no name for a voice"),
    ],
)
def test_a_mistake_in_the_command_is_told(
    run: Run, model: Path, data: Path, tmp_path: Path, name: str, options: list[str], expected: str
) -> None:
    """Before anything is written."""
    if name != "none.npz":
        save_voice(tmp_path / name)
    assert_one_line(run("add", tmp_path / name, "--model", model, *options), expected)
    assert not data.exists()


def test_a_packages_voices_are_added_by_their_names(run: Run, data: Path, tmp_path: Path) -> None:
    """All of them, or a language's; origin and licence are told, and what is there stays unless forced."""
    names = ("announcer", "v2/de_speaker_3", "en_speaker_1")
    wheel = save_bark_wheel(tmp_path, {name: npz(voice_arrays(seed=len(name))) for name in names})
    german = run("add", "--package", wheel, "--language", "de")
    assert german[:2] == (
        0,
        f"bark 0.1.5, {wheel.name}, licence: MIT License\n1 installed in {data}, 0 were there\n",
    )
    assert files(data) == ["v2/de_speaker_3.npz"]
    (data / "v2" / "de_speaker_3.npz").write_bytes(npz(voice_arrays()))
    assert run("add", "--package", wheel)[1].endswith(f"2 installed in {data}, 1 were there\n")
    assert files(data) == ["announcer.npz", "en_speaker_1.npz", "v2/de_speaker_3.npz"]
    assert_is(data / "v2" / "de_speaker_3.npz", voice_arrays())
    assert run("add", "--package", wheel, "--force")[1].endswith(f"3 installed in {data}, 0 were there\n")
    assert_is(data / "v2" / "de_speaker_3.npz", voice_arrays(seed=len("v2/de_speaker_3")))


def test_a_package_with_a_broken_voice_installs_nothing(run: Run, data: Path, tmp_path: Path) -> None:
    """It is named, and so are flags that do not go together."""
    voices = {"announcer": npz(voice_arrays()), "v2/en_speaker_6": BROKEN["a wrong ratio"]}
    wheel = save_bark_wheel(tmp_path, voices)
    assert_one_line(run("add", "--package", wheel), "v2/en_speaker_6", "for each semantic token")
    assert_one_line(run("add", "--package", wheel, "--language", "xx"), "no voices of 'xx'")
    assert_one_line(run("add", "--package", wheel, "--name", "anna"), "--name is for a single file")
    assert_one_line(run("add", wheel, "--package", wheel), "a .npz file, or --package bark")
    assert_one_line(run("add"), "a .npz file, or --package bark")
    assert_one_line(run("add", tmp_path / "a.npz", "--language", "de"), "--package")
    assert not data.exists()


@pytest.fixture
def no_engine_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each command starts an engine of its own, as a process does; all of them end."""
    starts: list[Future[Synthesizer]] = []

    class Starts(dict[EngineConfig, Future[Synthesizer]]):
        def __setitem__(self, _: EngineConfig, start: Future[Synthesizer]) -> None:
            starts.append(start)

    monkeypatch.setattr(api, "_starts", Starts())
    yield
    for start in starts:
        api._run(start.result().close()).result()


@pytest.mark.usefixtures("no_engine_is_left")
def test_what_the_model_said_becomes_a_voice(run: Run, model: Path, data: Path, tmp_path: Path) -> None:
    """The same seed makes the sound that `say` makes, and the tokens of it; the new voice then speaks."""
    text = ("A deaf dog and a big cab came back, and a bad man had a hand in it.", "--seed", "7")
    flags = ("--voice", "two", "--text-temp", "0.9", "--model", str(model))
    made = ("make", "de_anna", "--text", *text, *flags, "-o", tmp_path / "made.wav")
    status, output, _ = run(*made)
    assert status == 0 and output.startswith(f"de_anna: {data / 'de_anna.npz'}, ") and "seed 7" in output
    assert run("say", *text, *flags, "-o", tmp_path / "said.wav")[0] == 0
    assert (tmp_path / "made.wav").read_bytes() == (tmp_path / "said.wav").read_bytes()
    voice = Voice.load(data / "de_anna.npz", CONFIG)
    assert len(voice.semantic) > 2 * CONFIG.semantic.max_tokens  # of all the pieces that it was spoken in
    assert_one_line(run(*made), "'de_anna' is already", "--force")
    assert run(*made, "--force")[0] == 0
    again = Voice.load(data / "de_anna.npz", CONFIG)
    assert np.array_equal(voice.semantic, again.semantic) and np.array_equal(voice.fine, again.fine)
    with_it = ("--model", model, "--voice", "de_anna", "-o", tmp_path / "anna.wav")
    assert run("say", *text, *with_it)[0] == 0
    assert (tmp_path / "anna.wav").read_bytes() != (tmp_path / "said.wav").read_bytes()


@pytest.mark.usefixtures("no_engine_is_left")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["anna", "--text", "!"], "none of the text can be spoken"),
        (["anna", "--text", "A cab.", "--min-eos-p", "0.002"], "too short for a voice"),
        (["anna", "--text", "a" * 401], "at most 400"),
        (["anna", "--text", "[voice: one] A deaf dog.\n[voice: two] A big cab."], "several voices: one, two"),
        (["anna", "--text", "a", "--voice", "nobody"], "there are one, two"),
        (["../anna", "--text", "a"], "is no name for a voice"),
        (["anna", "--text", "a", "-o", "a.mp3"], ".ogg, .opus or .wav"),
    ],
)
def test_what_makes_no_voice_is_told(
    run: Run, model: Path, data: Path, arguments: list[str], expected: str
) -> None:
    """In one line, and nothing is installed."""
    status, output, errors = run("make", *arguments, "--seed", 3, "--model", model)
    assert (status, output) == (2, "")
    (line,) = [line for line in errors.splitlines() if line.startswith("streamer: ")]
    assert expected in line
    assert not data.exists()


@pytest.mark.usefixtures("no_engine_is_left")
def test_a_made_up_speaker_is_one(run: Run, model: Path, data: Path) -> None:
    """A model without voices speaks every piece of a text with another speaker, unless one continues from the other."""
    for file in (model / "voices").iterdir():
        file.unlink()
    made = (
        "make",
        "anna",
        "--text",
        "A deaf dog and a big cab came back, and a bad man did.",
        "--model",
        model,
    )
    status, _, errors = run(*made)
    assert status == 2 and "--continuity chain" in errors and not data.exists()
    assert run(*made, "--continuity", "chain")[0] == 0
    assert Voice.load(data / "anna.npz", CONFIG).problem(CONFIG) is None


def test_a_voice_of_another_model_is_passed_over_and_told(run: Run, model: Path, data: Path) -> None:
    """Installed voices may belong to several models; a broken file is named instead, and can be removed."""
    data.mkdir(parents=True)
    (data / "bark.npz").write_bytes(npz(voice_arrays()))
    status, output, _ = run("list", "--model", model)
    assert status == 0 and "bark" not in output
    assert output.endswith("1 more, installed, do not fit the model 'tiny'\n")
    (data / "broken.npz").write_bytes(b"PK")
    status, output, errors = run("list", "--model", model)
    assert status == 2 and output.startswith("one ") and str(data / "broken.npz") in errors
    assert run("remove", "broken")[0] == 0
    assert run("list", "--model", model)[0] == 0
