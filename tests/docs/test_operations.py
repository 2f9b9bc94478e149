"""Contracts of `docs/operations.md`: it names everything that an operator can set or read."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.config import options
from streamer.options import Option
from streamer.synthesis import Health
from streamer.telemetry.metrics import Metrics
from streamer.telemetry.worker_metrics import WorkerFigures, WorkerMetrics

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("option", options(), ids=lambda option: option.name)
def test_every_option_has_its_row(option: Option) -> None:
    """The row of an option gives its default as the code declares it."""
    default = "none" if option.default in (None, ()) else str(option.default)
    assert f"\n| `{option.name}` | {default} |" in PAGE


def idle_worker() -> WorkerMetrics:
    figures = WorkerFigures("1", "m", True, 0, 0, {"completed": 0}, 0.0)
    return WorkerMetrics(lambda: Health(alive=True, ready=True), lambda: figures)


@pytest.mark.parametrize("metrics", [Metrics(), idle_worker()], ids=["server", "worker"])
def test_every_metric_is_explained(metrics: Metrics | WorkerMetrics) -> None:
    """Each metric of a server and of a worker is in a table; its `_created` series need no row."""
    lines = metrics.negotiated("")[0].decode().splitlines()
    names = {line.split()[2] for line in lines if line.startswith("# HELP") and "_created" not in line}
    assert names
    assert {name for name in names if name not in PAGE} == set()
