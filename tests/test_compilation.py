"""Compiled functions on disk: they are used again, and never after a change of what they call."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from streamer.compilation import KERNEL_FOLDERS, PACKAGE

CALLEE = """
from typing import NamedTuple
from streamer.compilation import compiled

class {kind}(NamedTuple):
    number: int

GIVEN = {kind}(1)

@compiled()
def total(given):
    return given.number + {number}
"""
CALLER = """
from streamer.compilation import compiled
from streamer.models.cpu.callee import GIVEN, total

@compiled()
def answer(given):
    return total(given)
"""
RUN = (
    "from streamer.models.cpu.caller import GIVEN, answer\n"
    "print(answer(GIVEN), sum(answer.stats.cache_hits.values()), sum(answer.stats.cache_misses.values()))"
)


def test_a_compiled_function_is_kept_until_a_function_that_it_calls_changes(tmp_path: Path) -> None:
    """It is kept for the same sources alone, and a list of kept functions that names types which are gone is old."""
    package = tmp_path / "streamer"
    (package / "models" / "cpu").mkdir(parents=True)
    for name in ("__init__.py", "models/__init__.py", "models/cpu/__init__.py"):
        (package / name).write_text("")
    shutil.copy(PACKAGE / "compilation.py", package)
    (package / "models" / "cpu" / "caller.py").write_text(CALLER)

    def answer(number: int, kind: str) -> str:
        """Return the answer, and how many functions were kept and not kept."""
        (package / "models" / "cpu" / "callee.py").write_text(CALLEE.format(number=number, kind=kind))
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-c", RUN]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    assert [answer(1, "Given"), answer(1, "Given")] == ["2 0 1", "2 1 0"]
    assert [answer(2, "Given"), answer(2, "Given")] == ["3 0 1", "3 1 0"]
    assert [answer(2, "Renamed"), answer(2, "Renamed")] == ["3 0 1", "3 1 0"]


def test_every_compiled_function_lies_in_the_folders_whose_sources_the_cache_knows() -> None:
    """A kernel elsewhere would run old code after a change of what it calls."""
    uses = re.compile(
        r"^from (streamer\.(compilation|models\.cpu\.numba_math)|numba)\b|^import numba\b", re.MULTILINE
    )
    folders = {
        str(path.parent.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if path.name != "compilation.py" and uses.search(path.read_text(encoding="utf-8"))
    }
    assert folders == set(KERNEL_FOLDERS)
