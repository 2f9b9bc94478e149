"""Contracts of all examples: they name the packages that they need, and import nothing else."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from tests.client_examples.example_runs import EXAMPLES, packages_of

MODULES_OF = {
    "elevenlabs": {"elevenlabs", "httpx", "websockets"},
    "faster-whisper": {"faster_whisper"},
    "livekit-agents": {"livekit"},
    "livekit-plugins-openai": {"livekit"},
    "pipecat-ai": {"pipecat", "loguru"},
}
"""The modules of packages that have other names, or whose users meet those of packages behind them: errors, a log."""
PROGRAMS = sorted(path for path in EXAMPLES.rglob("*.py") if "__main__" in path.read_text(encoding="utf-8"))
SCRIPTS = sorted(EXAMPLES.rglob("*.mjs"))


def imported(path: Path) -> set[str]:
    """Return the top-level modules that a file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.relative_to(EXAMPLES).as_posix())
def test_a_program_imports_what_it_names(program: Path) -> None:
    """And all that it names; the modules beside it, in a folder of its own, belong to it."""
    files = [program] if program.parent == EXAMPLES else sorted(program.parent.glob("*.py"))
    own = {path.stem for path in files}
    used = set.union(*map(imported, files)) - own - sys.stdlib_module_names
    named = [MODULES_OF.get(package, {package.replace("-", "_")}) for package in packages_of(program)]
    assert used <= set.union(set(), *named)
    assert all(modules & used for modules in named)
    assert "streamer" not in used


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.relative_to(EXAMPLES).as_posix())
def test_a_script_imports_what_it_names(script: Path) -> None:
    """The packages of a script for Node are those of its `npm install`."""
    text = script.read_text(encoding="utf-8")
    used = {name for name in re.findall(r'from "([^"]+)"', text) if not name.startswith("node:")}
    named = {
        name for line in re.findall(r"^//\s+npm install (.*)$", text, re.MULTILINE) for name in line.split()
    }
    assert used == named


@pytest.mark.parametrize(
    "path", sorted(EXAMPLES.iterdir()), ids=lambda path: path.relative_to(EXAMPLES).as_posix()
)
def test_the_list_has_every_example(path: Path) -> None:
    """The README has a row for each file and each folder."""
    rows = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    name = path.name + "/" * path.is_dir()
    assert path.name in ("README.md", "__pycache__") or f"| `{name}` |" in rows
