"""The unit of systemd fits the server that it starts."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from streamer.commands.cli import EXIT_ENGINE_DIED, EXIT_MISTAKE
from streamer.config import LimitsConfig
from streamer.server.watch import WATCH_INTERVAL_S

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "streamer.service"
LINES = [line.partition("=")[::2] for line in UNIT.read_text(encoding="utf-8").splitlines() if "=" in line]
SETTINGS = dict(line for line in LINES if not line[0].startswith("#"))


def test_its_times_fit_those_of_the_server() -> None:
    """It waits for the drain, and longer for a sign of life than that takes."""
    assert int(SETTINGS["TimeoutStopSec"].removesuffix("s")) > LimitsConfig().drain_timeout_s + 10
    assert int(SETTINGS["WatchdogSec"].removesuffix("s")) / 2 > 10 * WATCH_INTERVAL_S
    assert int(SETTINGS["LimitNOFILE"]) > 2 * LimitsConfig().max_connections


def test_it_starts_again_what_another_start_may_mend() -> None:
    """A mistake in the settings would be the same one again; an engine that died is not."""
    assert SETTINGS["RestartPreventExitStatus"] == str(EXIT_MISTAKE) and SETTINGS["Restart"] == "on-failure"
    assert str(EXIT_ENGINE_DIED) not in SETTINGS["RestartPreventExitStatus"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_it(tmp_path: Path) -> None:
    """Every setting is known and has a value that systemd takes."""
    unit = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8").replace("/opt/streamer/bin/streamer", sys.executable)
    unit.write_text(text, encoding="utf-8")
    checked = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
