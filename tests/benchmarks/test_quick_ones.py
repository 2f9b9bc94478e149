"""The benchmarks that start servers measure what they say; here they run on fakes, and for moments only."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from benchmarks import capacity, gpu_evidence, live_text, server_cost, together
from benchmarks.gpu_evidence import Part


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


def test_a_part_that_fails_keeps_none_from_running(tmp_path):
    """One that fails, one that hangs, one whose result was cut off, a good one: each leaves its text and its status."""
    good = Part("good", ["platform"], 60)
    bad = Part("bad", ["no_such_module"], 60)
    late = Part("late", ["http.server", "0"], 0.5)
    (tmp_path / "cut.json").write_text('{"rows": [')
    cut = Part("cut", ["platform"], 60, result=tmp_path / "cut.json")
    wanted = [bad, late, cut, good]
    assert not gpu_evidence.run_all(wanted, tmp_path, tmp_path, is_rehearsal=True, minutes=1)
    rows = json.loads((tmp_path / "summary.json").read_text())["parts"]
    assert [row["part"] for row in rows] == ["bad", "late", "cut", "good"]
    assert [row["status"] for row in rows[:2]] == [1, None] and "JSONDecodeError" in rows[2]["status"]
    assert rows[3]["status"] == 0
    assert "no_such_module" in (tmp_path / "bad.txt").read_text()


def test_parts_that_need_no_weights_run_though_none_can_be_made(tmp_path, monkeypatch):
    """If transformers is not there, say, the parts that need it say so, and the others have their results."""
    (tmp_path / "transformers.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(gpu_evidence.__file__).parents[1]}")
    result = tmp_path / "first.json"
    first = Part("first", ["benchmarks.first_audio", "--model", str(tmp_path / "large")], 60, "large", result)
    wanted = [first, Part("good", ["platform"], 60)]
    assert not gpu_evidence.run_all(wanted, tmp_path, tmp_path, is_rehearsal=True, minutes=2)
    rows = json.loads((tmp_path / "summary.json").read_text())["parts"]
    assert [row["status"] for row in rows] == [1, 0]
    assert (
        "not here" in (tmp_path / "weights-large.txt").read_text()
        and "neither a directory" in rows[0]["tail"]
    )


def test_what_was_measured_before_the_time_was_up_is_kept(tmp_path, monkeypatch):
    """The summary holds the rows that a part had written when it was ended."""
    module = "import json, time\nopen('rows.json', 'w').write(json.dumps({'rows': [1, 2]}))\ntime.sleep(60)\n"
    (tmp_path / "writes_and_hangs.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    row = gpu_evidence.run(
        Part("late", ["writes_and_hangs"], 3, result=tmp_path / "rows.json"), 3.0, tmp_path
    )
    assert row["status"] is None and row["result"] == {"rows": [1, 2]}


def test_a_part_that_is_late_ends_with_all_it_started(tmp_path, monkeypatch):
    """Its output until then is kept, and none of its processes survives."""
    module = "import subprocess, sys, time\n"
    module += "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    module += "print(child.pid)\ntime.sleep(60)\n"
    (tmp_path / "starts_another.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    row = gpu_evidence.run(Part("late", ["starts_another"], 3), 3.0, tmp_path)
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


@pytest.mark.parametrize("minutes", [4.0, 8.0])
def test_the_gpu_commands_parts_fit_into_its_time(tmp_path, minutes):
    """The most telling come first, and the whole ends in time even if each part takes all of its own."""
    parts = gpu_evidence.parts(tmp_path, tmp_path / "out", is_rehearsal=False, minutes=minutes)
    assert sum(part.limit_s for part in parts) <= 60 * minutes
    assert [part.name for part in parts[:4]] == ["kernels", "graphs", "first-audio-large", "stages-large"]
    assert all(part.result and part.result.parent == tmp_path / "out" for part in parts[2:])
    assert all(part.shape is None or str(tmp_path / part.shape) in part.arguments for part in parts)
