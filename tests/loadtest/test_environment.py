"""What is written beside every figure: the commit that it belongs to, as JSON that every reader takes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from streamer.loadtest.environment import commit, write_result


def test_a_commit_is_named_dirty_unless_only_results_differ(tmp_path: Path) -> None:
    """Recording one figure does not make the next one's commit dirty; changing the code does."""

    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    code, figure = tmp_path / "code.py", tmp_path / "benchmarks" / "results" / "figure.json"
    code.touch()
    figure.touch()
    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    clean = commit(tmp_path)
    figure.write_text("{}")
    assert clean and commit(tmp_path) == clean
    code.write_text("1")
    assert commit(tmp_path) == clean + "-dirty"
    assert commit(tmp_path / "benchmarks") is None


@pytest.mark.parametrize("figure", [float("inf"), float("-inf"), float("nan")])
def test_a_result_is_strict_json(tmp_path: Path, figure: float) -> None:
    """JSON has no infinity and no NaN, so writing one is an error."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_result(tmp_path / "row.json", {"figure": figure})
