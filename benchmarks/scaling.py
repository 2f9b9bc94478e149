"""How many machines do a million listeners need, and what does a listener cost? Arithmetic over recorded results.

Measured and simulated figures come from benchmarks/results; whatever else it takes is an assumption with a flag of its
own. docs/scaling.md explains each.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.workers import show
from streamer.loadtest.environment import environment, write_result

RESULTS: Final = Path("benchmarks/results")
MAX_GAP_MS: Final = 20.0
MAX_REFUSED: Final = 0.01
"""The longest silence and the share of refusals that do not count as suffering (docs/benchmarks.md)."""
HOURS_PER_MONTH: Final = 730


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured or simulated: listeners of one engine, and a front end's processor time and memory."""

    listeners_per_worker: int
    core_per_stream: float
    core_per_idle_connection: float
    connection_kib: float
    status_ms: float


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What the reader knows better. Prices are in US dollars, per hour of a machine and per GB sent."""

    listeners: int = 1_000_000
    max_first_audio_ms: float = 200.0
    speaking_share: float = 0.2
    regions: int = 3
    worker_use: float = 0.8
    core_use: float = 0.6
    hop_factor: float = 1.5
    connections_per_front_end: int = 10_000
    workers_per_cell: int = 64
    kbit_per_s: float = 40.0
    gpu_price: float = 2.5
    front_end_price: float = 0.05
    gigabyte_price: float = 0.05


def capacity(result: dict[str, Any], max_first_audio_ms: float) -> int:
    """Return the most listeners of a simulation of whom 95 of 100 hear something so soon, and none suffers after that.

    Raises `ValueError` if there are none.
    """
    good = [
        row["streams"]
        for row in result["rows"]
        if row["first_audio_p95_ms"] <= max_first_audio_ms
        and row["gap_p99_ms"] <= MAX_GAP_MS
        and row["refused_share"] <= MAX_REFUSED
    ]
    if not good:
        raise ValueError("no row of this simulation is good: simulate fewer listeners")
    return int(max(good))


def read_figures(simulation: Path, max_first_audio_ms: float, results: Path = RESULTS) -> Figures:
    """Return the figures of the recorded results, with the capacity of this simulation."""

    def rows(name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads((results / name).read_text())["rows"]
        return found

    busiest = max(rows("server_cost.json"), key=lambda row: row["streams"])
    idle = max(
        (row for row in rows("idle_connections.json") if row["server"] == "streamer"),
        key=lambda row: row["connections"],
    )
    return Figures(
        listeners_per_worker=capacity(json.loads(simulation.read_text()), max_first_audio_ms),
        core_per_stream=busiest["cpu_share"] / busiest["streams"],
        core_per_idle_connection=idle["cpu_share"] / idle["connections"],
        connection_kib=idle["kib_each_later"],
        status_ms=max(row["status_ms"] for row in rows("watching.json")),
    )


def plan(figures: Figures, assumed: Assumptions) -> dict[str, float]:
    """Return how many there are of everything, and what it costs. With more than one region, one may fail."""
    spoken = assumed.listeners * assumed.speaking_share
    reserve = assumed.regions / (assumed.regions - 1) if assumed.regions > 1 else 1.0
    workers = math.ceil(reserve * spoken / (figures.listeners_per_worker * assumed.worker_use))
    cells = math.ceil(workers / assumed.workers_per_cell)
    watching = 4 * figures.status_ms / 1000 * min(workers, assumed.workers_per_cell)
    per_connection = (
        figures.core_per_stream * assumed.hop_factor * assumed.speaking_share
        + figures.core_per_idle_connection * (1 - assumed.speaking_share)
    )
    by_core = int((assumed.core_use - watching) / per_connection)
    if by_core < 1:
        raise ValueError("watching its workers leaves a front end no time: make cells smaller")
    connections = min(assumed.connections_per_front_end, by_core)
    front_ends = math.ceil(reserve * assumed.listeners / connections)
    gbit_per_s = spoken * assumed.kbit_per_s / 1e6
    hourly = {
        "workers": workers * assumed.gpu_price,
        "front_ends": front_ends * assumed.front_end_price,
        "traffic": gbit_per_s / 8 * 3600 * assumed.gigabyte_price,
    }
    total = sum(hourly.values())
    return {
        "workers": workers,
        "front_ends": front_ends,
        "cells": cells,
        "connections_per_front_end": connections,
        "front_end_memory_mib": connections * figures.connection_kib / 1024,
        "watching_core_share": watching,
        "gbit_per_s": gbit_per_s,
        **{f"{name}_usd_per_hour": value for name, value in hourly.items()},
        "usd_per_hour": total,
        "usd_per_listener_month": total * HOURS_PER_MONTH / assumed.listeners,
        "usd_per_spoken_hour": total / spoken,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--simulation", type=Path, nargs="+", required=True, help="results of benchmarks.simulate"
    )
    defaults = Assumptions()
    for name, value in asdict(defaults).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    assumed = Assumptions(**{name: getattr(arguments, name) for name in asdict(defaults)})
    rows = []
    for simulation in arguments.simulation:
        figures = read_figures(simulation, assumed.max_first_audio_ms)
        rows.append({"simulation": simulation.stem, **asdict(figures), **plan(figures, assumed)})
    for row in rows:
        named = [
            {"figure": name, "value": f"{value:,.4g}" if isinstance(value, float) else str(value)}
            for name, value in row.items()
        ]
        show(row["simulation"], named)
    if arguments.output:
        result = {"benchmark": "scaling", **environment(), "assumptions": asdict(assumed), "rows": rows}
        write_result(arguments.output, result)


if __name__ == "__main__":
    main()
