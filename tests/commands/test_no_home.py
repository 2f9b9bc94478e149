"""Commands of a user who has no home directory and no name, as in a container with an arbitrary user id."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USER_ID = "54321"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="becoming a user without a name takes root and setpriv",
)


def command(*arguments: str) -> list[str]:
    """`streamer` with an empty environment; the one capability lets the user read this checkout."""
    capability = ("--inh-caps", "+dac_override", "--ambient-caps", "+dac_override")
    return [
        *("setpriv", "--reuid", USER_ID, "--regid", USER_ID, "--clear-groups", *capability),
        *("env", "-i", "PATH=/usr/bin:/bin", f"PYTHONPATH={ROOT}"),
        *(sys.executable, "-B", "-m", "streamer", *arguments),
    ]


def test_voices_are_listed() -> None:
    """The built-in voices are named, and nothing is complained of."""
    done = subprocess.run(command("voices", "list"), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("jane")


@pytest.mark.slow
def test_say_writes_its_file(tmp_path: Path) -> None:
    """The built-in voice speaks."""
    path = tmp_path / "hello.wav"
    done = subprocess.run(command("say", "Hello there.", "-o", str(path)), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert path.stat().st_size > 10_000


@pytest.mark.slow
def test_serve_starts() -> None:
    """The server says where it is, and ends well when it is told to."""
    with subprocess.Popen(command("serve", "--port", "0"), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = (line for line in process.stdout if "ready" in line)
        assert "http://" in next(lines)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
