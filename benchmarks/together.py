"""Do a few listeners hear their sentences without a gap if they start at the same moment, or one second apart?"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.speaking import running_server
from streamer.loadtest.client import Recording, Target, speak
from streamer.loadtest.environment import environment, write_result
from streamer.loadtest.playout import leading_silence_s, packets_of, play

TEXT = (
    "Thank you for waiting. Your table is ready, and the kitchen has kept the soup warm. "
    "I looked it up, and the shop by the river is open until eight this evening."
)
APART_S = (0.0, 1.0)
STARTS = ("early", "safe")
CONNECT_S = 0.5


async def listen_together(
    url: str, listeners: int, apart_s: float, start: str, seed: int
) -> list[dict[str, float]]:
    """Return what each of them heard, in milliseconds."""
    first_s = asyncio.get_running_loop().time() + CONNECT_S
    recordings = [Recording(first_s + number * apart_s) for number in range(listeners)]
    target = Target(url, settings={"start": start})
    async with asyncio.TaskGroup() as tasks:
        for number, recording in enumerate(recordings):
            tasks.create_task(speak(target, TEXT, seed + number, recording))
    return [heard(recording) for recording in recordings]


def heard(recording: Recording) -> dict[str, float]:
    packets = packets_of(recording)
    silence_s = leading_silence_s(packets, recording.started) if recording.outcome == "served" else None
    if silence_s is None:
        raise RuntimeError(f"nothing was heard: {recording.outcome} {recording.reason}")
    playout = play(packets)
    return {
        "audible_ms": 1000 * (playout.plays_s(silence_s) - recording.due_s),
        "stopped_ms": 1000 * playout.stopped_s,
    }


async def measure(listeners: int, rounds: int, flags: list[str]) -> dict[str, Any]:
    rows = []
    async with running_server(*flags) as (url, _):
        for apart_s in APART_S:
            for start in STARTS:
                made = [
                    item
                    for number in range(rounds)
                    for item in await listen_together(url, listeners, apart_s, start, number * listeners)
                ]
                audible_ms = [item["audible_ms"] for item in made]
                stopped_ms = [item["stopped_ms"] for item in made]
                rows.append(
                    {
                        "apart_s": apart_s,
                        "start": start,
                        "audible_mean_ms": float(np.mean(audible_ms)),
                        "audible_worst_ms": max(audible_ms),
                        "stopped_mean_ms": float(np.mean(stopped_ms)),
                        "stopped_worst_ms": max(stopped_ms),
                    }
                )
    return {
        "benchmark": "together",
        **environment(),
        "flags": flags,
        "text": TEXT,
        "listeners": listeners,
        "rounds": rounds,
        "rows": rows,
    }


def show(result: dict[str, Any]) -> None:
    table = Table(title=f"{result['listeners']} listeners, milliseconds")
    for name in ("seconds apart", "start", "audible (mean)", "(worst)", "stopped (mean)", "(worst)"):
        table.add_column(name, justify="right")
    for row in result["rows"]:
        times = [value for name, value in row.items() if name.endswith("_ms")]
        table.add_row(f"{row['apart_s']:.0f}", row["start"], *(f"{value:.0f}" for value in times))
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listeners", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments, flags = parser.parse_known_args()
    result = asyncio.run(measure(arguments.listeners, arguments.rounds, flags))
    show(result)
    if arguments.output:
        write_result(arguments.output, result)


if __name__ == "__main__":
    main()
