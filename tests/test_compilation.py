"""Compiled functions on disk: they are used again, and never after a change of what they call."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from streamer.compilation import KERNEL_FOLDERS, PACKAGE

CALLEE = "from streamer.compilation import compiled\n\n@compiled()\ndef number():\n    return {number}\n"
CALLER = (
    "from streamer.compilation import compiled\nfrom streamer.models.cpu.callee import number\n\n"
    "@compiled()\ndef answer():\n    return number() + 1\n"
)
RUN = (
    "from streamer.models.cpu.caller import answer\n"
    "print(answer(), sum(answer.stats.cache_hits.values()), sum(answer.stats.cache_misses.values()))"
)


def test_a_compiled_function_is_kept_until_a_function_that_it_calls_changes(tmp_path: Path) -> None:
    package = tmp_path / "streamer"
    (package / "models" / "cpu").mkdir(parents=True)
    for name in ("__init__.py", "models/__init__.py", "models/cpu/__init__.py"):
        (package / name).write_text("")
    shutil.copy(PACKAGE / "compilation.py", package)
    (package / "models" / "cpu" / "caller.py").write_text(CALLER)

    def answers(number: int) -> str:
        (package / "models" / "cpu" / "callee.py").write_text(CALLEE.format(number=number))
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-c", RUN]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    assert [answers(1), answers(1), answers(2)] == ["2 0 1", "2 1 0", "3 0 1"]


def test_every_compiled_function_lies_in_the_folders_whose_sources_the_cache_knows() -> None:
    uses = re.compile(r"^from (streamer\.compilation|numba)\b|^import numba\b", re.MULTILINE)
    folders = {
        str(path.parent.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if path.name != "compilation.py" and uses.search(path.read_text(encoding="utf-8"))
    }
    assert folders == set(KERNEL_FOLDERS)
