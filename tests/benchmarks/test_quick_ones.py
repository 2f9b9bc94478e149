"""The benchmarks that start servers measure what they say; here they run on fakes, and for moments only."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from benchmarks import capacity, gpu_evidence, live_text, server_cost, together


def test_the_server_alone_serves_every_stream_of_the_metronome():
    """Each stream gets its first sound without a gap, and has its figures."""
    row = server_cost.measure(2, 500)
    assert row["served"] == 2
    assert row["gaps_over_100_ms_share"] == 0
    assert 0 <= row["added_p50_ms"] < 1000
    assert row["packets"] > 100
    json.dumps(row)


@pytest.mark.parametrize("has_pause", [False, True])
async def test_live_text_is_written_word_by_word_and_heard(has_pause):
    """An answer that is written while it is spoken comes back as sound; a pause only makes it longer."""
    from tests.fakes.synthesizer import FakeSynthesizer
    from tests.server.speaking import configured, running

    async with running(configured(), FakeSynthesizer(speed=20.0)) as server:
        async with asyncio.timeout(30):
            row = await live_text.write(server.address, 100.0, 0, has_pause=has_pause)
    assert 0 < row["first_packet_ms"] <= row["audible_ms"]


async def test_listeners_who_come_together_are_heard_one_by_one():
    """Each listener has their own figures."""
    from tests.fakes.synthesizer import FakeSynthesizer
    from tests.server.speaking import configured, running

    async with running(configured(), FakeSynthesizer(speed=20.0)) as server:
        async with asyncio.timeout(30):
            rows = await together.listen_together(server.address, 2, 0.5, "early", 0)
    assert len(rows) == 2
    assert all(row["audible_ms"] > 0 and row["stopped_ms"] >= 0 for row in rows)


def test_the_gpu_command_continues_after_a_part_fails(tmp_path):
    """Each part leaves its text and its status, a time limit included."""
    good = gpu_evidence.run("good", ["platform"], 60, tmp_path)
    bad = gpu_evidence.run("bad", ["no_such_module"], 60, tmp_path)
    late = gpu_evidence.run("late", ["http.server", "0"], 0.5, tmp_path)
    assert [row["status"] for row in (good, bad, late)] == [0, 1, None]
    assert "no_such_module" in (tmp_path / "bad.txt").read_text()


def test_a_part_that_is_late_ends_with_all_it_started(tmp_path, monkeypatch):
    """Its output until then is kept, and none of its processes survives."""
    module = "import subprocess, sys, time\n"
    module += "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    module += "print(child.pid)\ntime.sleep(60)\n"
    (tmp_path / "starts_another.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    row = gpu_evidence.run("late", ["starts_another"], 3.0, tmp_path)
    assert row["status"] is None
    child = Path("/proc") / row["tail"].split()[0] / "stat"
    assert "stopped after 3 s" in row["tail"]
    deadline_s = time.monotonic() + 10.0
    # A killed process takes a moment to end, and stays a zombie if no process adopts it.
    while child.exists() and child.read_text().split()[2] != "Z":
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_a_loaded_server_has_no_limits_for_one_address():
    """All clients share one address; the given flags come last, and so win."""
    flags = capacity.all_flags(["--max-starts-per-s", "5"])
    assert "--max-connections-per-address" in flags and "--max-utterances-per-key" in flags
    assert flags[-2:] == ["--max-starts-per-s", "5"]


def test_the_gpu_commands_parts_fit_into_ten_minutes(tmp_path):
    """The whole command ends in time even if a part hangs, and every part writes into the given folder."""
    models = {"small": tmp_path / "small", "large": tmp_path / "large"}
    parts = gpu_evidence.parts(models, tmp_path, is_rehearsal=False)
    assert sum(limit_s for _, _, limit_s in parts) <= 570
    assert all(str(tmp_path) in " ".join(arguments) for name, arguments, _ in parts if name != "tests")
