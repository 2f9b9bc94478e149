"""The plan for many listeners: arithmetic that can be followed by hand, from results that are recorded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.scaling import Assumptions, Figures, capacity, plan, read_figures

FIGURES = Figures(
    listeners_per_worker=25,
    core_per_stream=0.002,
    core_per_idle_connection=0.00001,
    connection_kib=16.0,
    status_ms=0.1,
)
ASSUMED = Assumptions(
    listeners=100_000,
    speaking_share=0.1,
    regions=1,
    worker_use=0.8,
    core_use=0.5,
    hop_factor=1.5,
    workers_per_cell=50,
    kbit_per_s=40.0,
    gpu_price=2.0,
    front_end_price=0.1,
    gigabyte_price=0.01,
)
GOOD = {"first_audio_p95_ms": 100.0, "gap_p99_ms": 0.0, "refused_share": 0.0}


def test_the_plan_can_be_followed_by_hand() -> None:
    """10,000 are spoken to, 20 by each worker; a front end has half a core, less 2 % for watching, for its clients."""
    found = plan(FIGURES, ASSUMED)
    assert (found["workers"], found["cells"]) == (500, 10)
    # (0.5 - 4 * 0.0001 * 50) / (0.002 * 1.5 * 0.1 + 0.00001 * 0.9) = 0.48 / 0.000309
    assert found["connections_per_front_end"] == 1553 and found["front_ends"] == 65
    assert found["front_end_memory_mib"] == pytest.approx(1553 * 16 / 1024)
    assert found["gbit_per_s"] == pytest.approx(0.4)
    # 1,000 of workers, 6.5 of front ends, and 180 GB an hour for 1.8
    assert found["usd_per_hour"] == pytest.approx(1008.3)
    assert found["usd_per_spoken_hour"] == pytest.approx(0.10083)
    assert found["usd_per_listener_month"] == pytest.approx(1008.3 * 730 / 100_000)


def test_a_region_may_fail() -> None:
    """Three regions carry half as much again, so that two of them carry everything."""
    alone, three = plan(FIGURES, ASSUMED), plan(FIGURES, replace(ASSUMED, regions=3))
    assert three["workers"] == 1.5 * alone["workers"]
    assert three["gbit_per_s"] == alone["gbit_per_s"]


def test_large_cells_leave_a_front_end_no_time() -> None:
    """Each worker tells each front end of its cell four times a second how it is."""
    with pytest.raises(ValueError, match="make cells smaller"):
        plan(FIGURES, replace(ASSUMED, workers_per_cell=1250, listeners=10_000_000))


@pytest.mark.parametrize(
    "bad", [{"first_audio_p95_ms": 201.0}, {"gap_p99_ms": 21.0}, {"refused_share": 0.011}], ids=str
)
def test_the_capacity_is_the_most_that_nobody_suffers_from(bad: dict[str, float]) -> None:
    """A row that is late, stops, or refuses is none, however many it has."""
    rows = [{**GOOD, "streams": 8}, {**GOOD, "streams": 24}, {**GOOD, **bad, "streams": 32}]
    assert capacity({"rows": rows}, 200) == 24
    with pytest.raises(ValueError, match="simulate fewer listeners"):
        capacity({"rows": rows[2:]}, 200)


def test_recorded_results_have_its_figures(tmp_path: Path) -> None:
    """The files that it reads are in the repository, with the fields that it asks for."""
    simulation = tmp_path / "simulation.json"
    simulation.write_text(json.dumps({"rows": [{**GOOD, "streams": 24}]}))
    figures = read_figures(simulation, 200)
    assert figures.listeners_per_worker == 24
    assert 0.0005 < figures.core_per_stream < 0.02 and 10 < figures.connection_kib < 30
    assert 0 < figures.core_per_idle_connection < 0.001 and 0.01 < figures.status_ms < 5
