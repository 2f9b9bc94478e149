"""The page on reliability names tests that exist, and has a row for each kind of fault."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text()
NUM_FAULTS = 49


def test_every_test_that_is_named_exists() -> None:
    """A test that is renamed or removed is changed on the page, too."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 50
    for path, name in named:
        functions = {
            node.name
            for node in ast.walk(ast.parse((ROOT / path).read_text()))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert name in functions, f"{path} has no {name}"


def test_every_row_says_what_shows_it() -> None:
    """Each fault has its row, and a row names a test or says that none does."""
    rows = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if re.match(r"\| \d", line)]
    numbers = {int(number) for row in rows for number in row[0].split(", ")}
    assert numbers == set(range(1, NUM_FAULTS + 1))
    for row in rows:
        assert len(row) == 4 and ("::" in row[3] or row[3] in ("no test", "nothing to show")), row


def test_other_pages_lead_here() -> None:
    """Whoever runs a server finds it."""
    assert "(reliability.md)" in (ROOT / "docs" / "operations.md").read_text()
