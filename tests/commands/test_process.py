"""The process of a command works whatever its standard streams are, and ends at once when it is interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.commands.test_cli import LOAD, SERVE

ROOT = Path(__file__).parents[2]
SAY = """
import sys, time
sys.path.insert(0, ".")
from tests.fakes.synthesizer import FakeSynthesizer
from streamer import api
from streamer.commands import cli
def build_synthesizer(*_):
    print("begun", file=sys.stderr, flush=True)
    return FakeSynthesizer(speed=0.05)
api.build_synthesizer = build_synthesizer
cli.main(["say", "This is said very slowly, so that there is time.", "-o", sys.argv[1]])
"""


def _serve(redirection: str) -> tuple[int, str]:
    """Serve with these streams until a SIGTERM; returns the status, and what was said on those that are left."""
    script = f'exec "$0" -c "$1" serve {redirection}'
    process = subprocess.Popen(
        ["bash", "-c", script, sys.executable, SERVE],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    give_up_s = time.monotonic() + 60
    while not _is_listening(process.pid) and process.poll() is None and time.monotonic() < give_up_s:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=20)
    return process.returncode, output + errors


def _is_listening(pid: int) -> bool:
    """Whether the process has a listening TCP socket."""
    try:
        links = [link.readlink().as_posix() for link in Path(f"/proc/{pid}/fd").iterdir()]
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return False
    inodes = {line.split()[9] for line in lines if line.split()[3] == "0A"}
    return any(link.removeprefix("socket:[").rstrip("]") in inodes for link in links if "socket" in link)


@pytest.mark.parametrize(
    "redirection",
    [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "> /dev/full", "2> /dev/full", "> /dev/full 2> /dev/full"],
)
def test_a_server_does_not_need_its_standard_streams(redirection: str) -> None:
    """Closed or full, they keep it neither from serving nor from a clean end, and nothing is said of them."""
    status, said = _serve(redirection)
    assert status == 0 and "Traceback" not in said, said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("phase", ["files", "warm-up"])
def test_a_signal_while_the_model_loads_ends_at_once(number: signal.Signals, phase: str) -> None:
    """The status is 0, or a shell's for an interrupt; there is one line, and no traceback."""
    process = subprocess.Popen(
        [sys.executable, "-c", LOAD, phase],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "loading\n"
    process.send_signal(number)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == (130 if number is signal.SIGINT else 0)
    assert errors == "streamer: stopped while loading the model\n"


def test_a_closed_terminal_does_not_end_a_start() -> None:
    """SIGHUP is ignored until the server reads its files again on it."""
    process = subprocess.Popen(
        [sys.executable, "-c", LOAD, "files"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "loading\n"
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 0


@pytest.mark.parametrize("delay_s", [0.0, 0.5, 1.5, 3.0])
def test_an_interrupted_say_writes_nothing(delay_s: float, tmp_path: Path) -> None:
    """It ends at once with a shell's status, without a traceback, and the file that was there stays."""
    path = tmp_path / "old.wav"
    path.write_bytes(b"old")
    process = subprocess.Popen(
        [sys.executable, "-c", SAY, str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "begun\n"
    time.sleep(delay_s)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 130 and "Traceback" not in errors, errors
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


STUCK_IMPORT = """
import sys, time
from streamer.__main__ import main

class Stuck:
    def find_spec(self, name, *_):
        if name == {module!r}:
            print("stuck", flush=True)
            time.sleep(60)

sys.meta_path.insert(0, Stuck())
main()
"""


@pytest.mark.parametrize(
    "module", ["streamer.commands", "streamer.commands.cli", "argparse", "streamer.config", "streamer.errors"]
)
def test_an_interrupt_while_the_command_is_imported_leaves_no_traceback(module: str) -> None:
    """Whatever is being imported, the process ends by the signal and says nothing."""
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK_IMPORT.format(module=module), "voices", "list", "--model", "/nowhere"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "stuck\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (-signal.SIGINT, "")


def test_output_that_cannot_be_written_is_a_mistake() -> None:
    """A command that is there to print says so, with status 2."""
    run = subprocess.run(
        f"unset PYTHONUNBUFFERED; {sys.executable} -m streamer check-config > /dev/full",
        shell=True, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 2
    assert run.stderr == "streamer: [Errno 28] No space left on device: 'standard output'\n"
