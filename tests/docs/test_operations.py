"""Contracts of `docs/operations.md`: it names everything that an operator can set or read."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.config import options
from streamer.options import Option
from streamer.telemetry.metrics import Metrics

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("option", options(), ids=lambda option: option.name)
def test_every_option_has_its_row(option: Option) -> None:
    """The row of an option gives its default as the code declares it."""
    default = "none" if option.default in (None, ()) else str(option.default)
    assert f"\n| `{option.name}` | {default} |" in PAGE


def test_every_metric_is_explained() -> None:
    """Each metric of the server is in the table; its `_created` series need no row."""
    lines = Metrics().render().decode().splitlines()
    names = {line.split()[2] for line in lines if line.startswith("# HELP") and "_created" not in line}
    assert names
    assert {name for name in names if name not in PAGE} == set()
