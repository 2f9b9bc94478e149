"""The comparison with Piper asks two speakers by turns and compares neighbouring turns."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import compare_piper


def test_ratios_are_those_of_neighbouring_turns() -> None:
    """A machine that is twice as slow for a while is so for both; factors are by the second of sound."""
    loads = (1.0, 2.0, 9.0)
    times = {
        "built-in": [
            {"first_s": 0.1 * load, "wall_s": 0.5 * load, "cpu_s": 0.4 * load, "audio_s": 2.0}
            for load in loads
        ],
        "piper": [
            {"first_s": 0.4 * load, "wall_s": 0.4 * load, "cpu_s": 0.8 * load, "audio_s": 1.0}
            for load in loads
        ],
        "baseline": [
            {"first_s": 0.2 * load, "wall_s": 0.5 * load, "cpu_s": 0.4 * load, "audio_s": 1.0}
            for load in loads
        ],
    }
    row = compare_piper.compared(times, 0, 1)
    assert row["first_sound"]["of_piper"] == pytest.approx(0.25)
    assert row["first_sound"]["of_baseline"] == pytest.approx(0.5)
    assert row["real_time_factor"]["of_piper"] == pytest.approx(0.25 / 0.4)
    assert row["real_time_factor"]["of_baseline"] == pytest.approx(0.5)
    assert row["cpu_real_time_factor"]["of_piper"] == pytest.approx(0.2 / 0.8)
    assert row["first_sound"]["piper"] == pytest.approx(0.8)
    assert row["audio_s"] == {"built-in": 2.0, "piper": 1.0, "baseline": 1.0}


def test_each_text_has_its_own_turns() -> None:
    """With several texts, every row is of one of them."""
    figures = [{"first_s": value, "wall_s": 1.0, "cpu_s": 1.0, "audio_s": 1.0} for value in (1.0, 5.0) * 3]
    times = {"built-in": figures, "piper": figures}
    rows = [compare_piper.compared(times, number, 2) for number in range(2)]
    assert [row["first_sound"]["built-in"] for row in rows] == [1.0, 5.0]


def test_each_speaker_has_the_modules_of_its_folder(tmp_path: Path) -> None:
    """The baseline's process imports that checkout's package, the built-in voice's its own."""
    (tmp_path / "streamer.py").write_text("NAME = 'another'\n")
    script = tmp_path / "scripts" / "speak.py"
    script.parent.mkdir()
    script.write_text(
        "import streamer\nfor _ in iter(input, ''): print('{\"first_s\": %d}' % len(streamer.NAME), flush=True)"
    )
    with compare_piper.speaker([sys.executable, str(script)], tmp_path) as process:
        assert compare_piper.ask(process, "text") == {"first_s": 7}
    named = compare_piper.commands(Path("python"), tmp_path)
    assert list(named) == ["built-in", "piper", "baseline"]
    assert named["built-in"][0] == named["baseline"][0]
    assert (named["built-in"][1] / "benchmarks").is_dir() and named["baseline"][1] == tmp_path


def test_a_speaker_answers_each_text_until_it_ends() -> None:
    """Lines go in and figures come out; a speaker that has ended is an error that says so."""
    code = "import json\nfor _ in range(2): print(json.dumps({'first_s': len(input())}), flush=True)"
    with compare_piper.speaker([sys.executable, "-c", code]) as process:
        assert [compare_piper.ask(process, text)["first_s"] for text in ("one", "three")] == [3, 5]
        process.wait()
        with pytest.raises(RuntimeError, match="ended with status 0"):
            compare_piper.ask(process, "more")
