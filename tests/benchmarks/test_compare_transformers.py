"""The comparison with transformers' Bark runs to its end, and compares like with like."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from benchmarks import compare_transformers


@pytest.mark.slow
def test_both_speak_the_same_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny size runs from weights to table, and the written figures give the ratios."""
    output = tmp_path / "rows.json"
    options = ["--size", "tiny", "--seconds", "0.9", "--threads", "1", "--chunk-frames", "30"]
    runs = ["--runs", "transformers float32", "streamer int8", "--output", str(output)]
    monkeypatch.setattr("sys.argv", ["compare_transformers", *options, *runs])
    compare_transformers.main()
    rows = json.loads(output.read_text())["rows"]
    assert [row["run"] for row in rows] == [
        "transformers float32", "streamer int8", "streamer int8, throughput"
    ]  # fmt: skip
    for row in rows:
        assert abs(row["audio_s"] - 0.9) < 0.05 and 0 < row["first_audio_s"] <= row["total_s"]
