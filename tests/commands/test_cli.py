"""The command: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
import urllib.request
from asyncio.subprocess import PIPE
from collections.abc import Callable
from pathlib import Path

import pytest

from streamer import api, assembly
from streamer.commands import cli
from tests.fakes.speaking_model import save_speaking_model
from tests.fakes.synthesizer import FakeSynthesizer

ROOT = Path(__file__).parents[2]
Run = Callable[..., tuple[int, str, str]]

SERVE = """
import sys, threading, time
sys.path.insert(0, ".")
from tests.fakes.synthesizer import FakeSynthesizer
from streamer import assembly
from streamer.commands import cli
fake = FakeSynthesizer()
assembly.build_synthesizer = lambda *_: fake
start = fake.start
async def start_and_perhaps_die():
    await start()
    if sys.argv[1:] == ["die"]:
        threading.Thread(target=time.sleep, args=(60,)).start()  # what hangs keeps an interpreter alive
        threading.Timer(0.3, fake.die).start()
fake.start = start_and_perhaps_die
cli.main(["serve", "--port", "0", "--drain-timeout-s", "1"])
"""


LOAD = """
import asyncio, sys, time
sys.path.insert(0, ".")
from tests.fakes.synthesizer import FakeSynthesizer
from streamer import assembly
from streamer.commands import cli
fake = FakeSynthesizer()
def load(*_):
    if sys.argv[1] == "files":
        print("loading", flush=True)
        time.sleep(60)
    return fake
async def warm_up():
    print("loading", flush=True)
    await asyncio.to_thread(time.sleep, 60)
assembly.build_synthesizer, fake.start = load, warm_up
cli.main(["serve", "--port", "0"])
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command with a fake model: its status, and what it wrote to both outputs."""
    monkeypatch.setattr(api, "_starts", {})
    monkeypatch.setattr(api, "build_synthesizer", lambda _: FakeSynthesizer())
    monkeypatch.setattr(assembly, "build_synthesizer", lambda *_: FakeSynthesizer())

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exited:
            cli.main([str(argument) for argument in arguments])
        assert isinstance(exited.value.code, int)
        return exited.value.code, *capsys.readouterr()

    return run


@pytest.mark.parametrize(("name", "magic"), [("a.wav", b"RIFF"), ("a.ogg", b"OggS"), ("a.opus", b"OggS")])
def test_say_writes_a_file(run: Run, tmp_path: Path, name: str, magic: bytes) -> None:
    """It tells the file's length and the seed that makes the same again."""
    status, output, _ = run("say", "Hello there. How are you?", "-o", tmp_path / name, "--seed", 7)
    assert status == 0
    assert f"{name}: " in output and output.strip().endswith(" s, seed 7")
    assert (tmp_path / name).read_bytes().startswith(magic)


def test_say_reads_standard_input(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` is the text that is piped in."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("Piped words."))
    assert run("say", "-", "-o", tmp_path / "a.wav")[0] == 0
    assert (tmp_path / "a.wav").stat().st_size > 1000


def test_say_follows_speed_markup_and_a_lexicon(run: Run, tmp_path: Path) -> None:
    """The lengths are those of the library: half the sound, the pause in full, and the words of the list."""

    def seconds(text: str, *flags: object) -> float:
        status, output, _ = run("say", text, "-o", tmp_path / "a.wav", "--seed", 7, *flags)
        assert status == 0
        return float(output.split(": ")[1].split(" s,")[0])

    usual = seconds("Hello there.")
    assert seconds("Hello there.", "--speed", 0.5) == pytest.approx(2 * usual, abs=0.02)
    assert seconds("Hello there.[pause:2]") == pytest.approx(usual + 2, abs=0.02)
    assert seconds("Hello there.[pause:2]", "--no-markup") == pytest.approx(usual * 21 / 12, abs=0.1)
    (tmp_path / "lexicon.txt").write_text("there = a much longer word\n")
    assert seconds("Hello there.", "--lexicon", tmp_path / "lexicon.txt") > usual + 0.2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["say", "Hi.", "-o", "a.ogg", "--speed", "3"], "0.5 to 2"),
        (["say", "Hi.", "-o", "a.ogg", "--lexicon", "nowhere.txt"], "nowhere.txt: No such file"),
        (["say", "Hi.", "-o", "a.mp3"], ".ogg, .opus or .wav"),
        (["say", "Hi.", "-o", "no/such/place/a.ogg"], "no file can be written there"),
        (["say", "Hi.", "-o", "a.ogg", "--voice", "nobody"], "there are tone, other"),
        (["say", "Hi.", "-o", "a.ogg", "--language", "de"], "use one of auto, en"),
        (["say", "Hi.", "-o", "a.ogg", "--text-format", "html"], "use one of plain, chat"),
        (["say", "Hi.", "-o", "a.ogg", "--speaker", "Alice"], "LABEL=VOICE"),
        (["say", "Hi.", "-o", "a.ogg", "--speaker", "Alice=nobody"], "'nobody'"),
        (["say", "Hi.", "-o", "a.ogg", "--continuity", "no"], "preset, chain, preset+chain"),
        (["say", "Hi.", "-o", "a.ogg", "--num-threads", "none at all"], "--num-threads"),
        (["say"], "streamer say --help"),
        (
            ["say", "Hi.", "-o", "a.ogg", "--seed", "one"],
            "--seed: invalid int value: 'one'; see streamer say",
        ),
        (["voices", "make", "anna"], "--text"),
        (["models", "describe"], "verify"),
        (["no-such-command"], "check-config"),
        (["check-config", "--port", "70000"], "--port"),
        (["check-config", "--config", "missing.toml"], "missing.toml"),
        (["serve", "--voice", "nobody", "--port", "0"], "the model has jane, joe, random"),
        (["serve", "--api-keys-file", "missing.txt"], "missing.txt"),
        (["serve", "--host", "a..b"], "host 'a..b'"),
        (["serve", "--host", "x" * 64], "cannot be resolved"),
        (["serve", "--host", "\udcff"], "cannot be resolved"),
        (["serve", "--device", "meta"], "none of auto, cpu, cuda, mps"),
        (["serve", "--device", "hpu"], "none of auto, cpu, cuda, mps"),
        (["serve", "--device", ""], "--device"),
        (["serve", "--por", "0"], "--por"),
        (["say", "Hi.", "--out", "a.ogg"], "--output"),
        (["check-config", "--log", "x"], "--log"),
        (["say", "", "-o", "a.wav"], "nothing to say"),
        (["say", " \n", "-o", "a.wav"], "nothing to say"),
        (["say", "...", "-o", "a.ogg"], "nothing to say"),
        (["say", "\N{GRINNING FACE}", "-o", "a.wav"], "nothing to say"),
        (["say", "\udcff\udcfe", "-o", "a.wav"], "encoding"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    """No traceback, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    status, _, errors = run(*arguments)
    assert status == 2
    lines = [line for line in errors.splitlines() if line.startswith("streamer: ")]
    assert len(lines) == 1 and message in lines[0] and "Traceback" not in errors
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["voices list", "models info", "say"])
def test_a_directory_without_a_model_is_a_mistake(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """The message says which formats there are."""
    monkeypatch.undo()  # the real way of loading
    arguments = ["say", "Hi.", "-o", tmp_path / "a.ogg"] if command == "say" else command.split()
    which = [tmp_path] if command == "models info" else ["--model", tmp_path]
    status, _, errors = run(*arguments, *which)
    assert status == 2 and "Hugging Face" in errors


def test_voices_and_models_tell_of_a_model_on_disk(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default voice is marked; rate, languages and tags are named."""
    monkeypatch.undo()
    save_speaking_model(tmp_path)
    listed = "one     en   0.8 s  default\ntwo     en   0.8 s\nrandom  en  made up by the model\n"
    assert run("voices", "list", "--model", tmp_path)[:2] == (0, listed)
    status, output, _ = run("models", "info", tmp_path)
    assert status == 0
    assert output.startswith("tiny: 24000 Hz, 2 voice(s)") and "languages: en\ntags: none" in output


def test_check_config_prints_what_holds(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File, environment and flags together, in their tables."""
    (tmp_path / "a.toml").write_text("[server]\nport = 1\n[log]\nlog_format = 'json'\n")
    monkeypatch.setenv("STREAMER_HOST", "0.0.0.0")
    status, output, _ = run("check-config", "--config", tmp_path / "a.toml", "--port", "99")
    assert status == 0
    lines = output.splitlines()
    assert {"[server]", "port = 99", "host = 0.0.0.0", "log_format = json", "[engine]"} <= set(lines)


async def started(*arguments: str) -> tuple[asyncio.subprocess.Process, str]:
    """`streamer serve` in a process of its own, and the address it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVE, *arguments),
        cwd=ROOT,
        env={**os.environ, "NO_PROXY": "*"},
        stdout=PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
    return process, line.partition("http://")[2].split("/")[0]


async def test_serve_prints_its_address_and_ends_well_on_sigterm() -> None:
    """The printed page is there, with the model's voices beside it; the status is 0."""
    process, address = await started()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(path: str) -> bytes:
        with opener.open(f"http://{address}{path}", timeout=10) as response:
            return bytes(response.read())

    assert b"<html" in await asyncio.to_thread(get, "/")
    assert "tone" in json.dumps(json.loads(await asyncio.to_thread(get, "/v1/voices")))
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 20) == 0


@pytest.mark.parametrize("phase", ["files", "warm-up"])
async def test_sigterm_while_the_model_loads_ends_at_once(phase: str) -> None:
    """With status 0 and one line, whether files are read or a thread warms up that cannot be stopped."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LOAD, phase), cwd=ROOT, stdout=PIPE, stderr=PIPE
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 60) == b"loading\n"
    process.send_signal(signal.SIGTERM)
    output, errors = await asyncio.wait_for(process.communicate(), 5)
    assert (process.returncode, output) == (0, b"")
    assert errors == b"streamer: stopped while loading the model\n"


async def test_serve_ends_with_a_status_of_its_own_when_the_engine_dies() -> None:
    """Within seconds, though a thread hangs, so that a supervisor starts it again."""
    process, _ = await started("die")
    assert await asyncio.wait_for(process.wait(), 20) == cli.EXIT_ENGINE_DIED
