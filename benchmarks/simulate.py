"""How many listeners would the scheduler keep supplied? The real engine over stages that only take time.

No model runs: each stage advances its rows and adds the cost of the step to a simulated clock, so that a
policy, chunk borders or a machine can be judged in seconds. `--machine` names an estimated machine; `--times` reads
the times that `benchmarks/stages.py` measured on a real one.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.simulated_listeners import ARRIVALS, Case, Crowd
from benchmarks.simulated_machine import (
    MACHINES,
    SAMPLE_RATE_HZ,
    Clock,
    Coarse,
    Codec,
    Fine,
    Machine,
    Semantic,
    Sentence,
    times_of,
)
from streamer.config import EngineConfig
from streamer.engine.engine import Engine
from streamer.loadtest.environment import environment, write_result
from streamer.stages.coarse_windows import CoarseWindows

GAP_S = 0.1
MAX_SLOTS = 1024
MAX_ROWS = 64
READ_EVERY_S = 0.02
COLUMNS = (
    "streams",
    "served",
    "refused",
    "first p50",
    "p95",
    "p99",
    "gap > 0.1 s",
    "gap p95",
    "silence",
    "fine/s",
    "busy",
)


def simulate(case: Case, machine: Machine) -> dict[str, float]:
    """Return percentiles of first audio and of gaps, and how busy the machine was."""
    clock = Clock()
    crowd = Crowd(case, clock)
    fine = Fine(machine, clock, machine.max_fine_rows)
    engine = Engine[Sentence](
        (
            Semantic(machine, clock, MAX_ROWS),
            Coarse(machine, clock, MAX_ROWS),
            fine,
            Codec(machine, clock, 16),
        ),
        EngineConfig(generate_ahead_s=case.generate_ahead_s, max_waiting=100_000, max_load=case.max_load),
        num_slots=case.num_slots or min(MAX_SLOTS, 6 * case.streams),
        sample_rate_hz=SAMPLE_RATE_HZ,
        clock=lambda: clock.now_s,
    )
    windows = CoarseWindows.from_config(machine.config)
    read_s = 0.0
    while clock.now_s < case.seconds:
        crowd.update()
        for listening in crowd.present:
            listening.ask(engine, machine, windows)
        if clock.now_s >= read_s:
            for listening in crowd.present:
                listening.read(engine)
            read_s = clock.now_s + READ_EVERY_S
        if not engine.step():
            clock.now_s += 0.002
    return figures(case, crowd, fine, clock)


def figures(case: Case, crowd: Crowd, fine: Fine, clock: Clock) -> dict[str, float]:
    """Return the figures of the listeners."""
    accepted = [item for item in crowd.made if item.retry_after_s is None]
    live = [item for item in accepted if item.is_live]
    # Listeners who still wait at the end have waited at least this long.
    for item in live:
        item.note_gap(clock.now_s)
    first_ms = [1000 * ((item.first_s or clock.now_s) - item.start_s) for item in live]
    gaps_ms = [1000 * item.longest_gap_s for item in live if item.first_s is not None]
    sound_s = sum(item.delivered_s for item in accepted)

    def percentiles(values: list[float]) -> list[float]:
        return [float(value) for value in np.percentile(values or [0.0], [50, 95, 99])]

    first, gap = percentiles(first_ms), percentiles(gaps_ms)
    return {
        "streams": case.streams,
        "utterances": len(live),
        "refused_share": 1 - len(accepted) / max(1, len(crowd.made)),
        **{f"first_audio_p{percent}_ms": value for percent, value in zip((50, 95, 99), first, strict=True)},
        **{f"gap_p{percent}_ms": value for percent, value in zip((50, 95, 99), gap, strict=True)},
        "share_with_gap": sum(value > 1000 * GAP_S for value in gaps_ms) / max(1, len(gaps_ms)),
        "silence_per_sound": sum(item.silent_s for item in live)
        / max(1e-9, sum(item.delivered_s for item in live)),
        "fine_chunks_per_s": fine.num_rows / max(1e-9, sound_s),
        "sound_per_s": sound_s / clock.now_s,
        "busy": clock.busy_s / clock.now_s,
    }


def show(rows: list[dict[str, float]], title: str) -> None:
    table = Table(title=title)
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            f"{row['streams']:.0f}",
            f"{row['utterances']:.0f}",
            f"{row['refused_share']:.0%}",
            *(f"{row[f'first_audio_p{percent}_ms']:.0f}" for percent in (50, 95, 99)),
            f"{row['share_with_gap']:.1%}",
            f"{row['gap_p95_ms']:.0f}",
            f"{row['silence_per_sound']:.1%}",
            f"{row['fine_chunks_per_s']:.2f}",
            f"{row['busy']:.0%}",
        )
    Console(width=130).print(table)


def read_machine(arguments: argparse.Namespace) -> Machine:
    """Return the named machine, with measured times and chunk borders in place of its own if they are given."""
    machine = MACHINES[arguments.machine]
    if arguments.times:
        machine = replace(machine, times=times_of(json.loads(arguments.times.read_text())["rows"]))
    fine = machine.config.fine
    if arguments.chunk_frames:
        fine = replace(fine, chunk_frames=tuple(arguments.chunk_frames))
    if arguments.later_chunk_frames:
        fine = replace(fine, later_chunk_frames=tuple(arguments.later_chunk_frames))
    return replace(machine, config=replace(machine.config, fine=fine))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machine", choices=tuple(MACHINES), default="h100-large")
    parser.add_argument("--times", type=Path, help="JSON file written by benchmarks.stages")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32, 64, 128, 256])
    parser.add_argument("--arrivals", choices=ARRIVALS, default="closed")
    parser.add_argument("--seconds", type=float, default=40.0, help="simulated time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-load", type=float, help="refuse new listeners beyond this load; none: never")
    parser.add_argument("--slots", type=int, dest="num_slots", help="sentences generated at the same time")
    parser.add_argument("--lead-s", type=float, default=2.0)
    parser.add_argument("--generate-ahead-s", type=float, default=8.0)
    parser.add_argument(
        "--file-share", type=float, default=0.0, help="share of listeners who take sound as it is made"
    )
    parser.add_argument(
        "--pausing-share", type=float, default=0.0, help="share of listeners who stop reading for a while"
    )
    parser.add_argument("--long-share", type=float, default=0.0, help="share of utterances of two minutes")
    parser.add_argument("--chunk-frames", type=int, nargs="+", help="none: the model's own")
    parser.add_argument("--later-chunk-frames", type=int, nargs="+", help="none: the model's own")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    machine = read_machine(arguments)
    given = {name: getattr(arguments, name) for name in Case.__dataclass_fields__ if name != "streams"}
    rows = [simulate(Case(streams, **given), machine) for streams in track(arguments.streams, "simulating")]
    show(rows, f"{arguments.machine}, {arguments.arrivals}: times in ms")
    if arguments.output:
        result = {
            "benchmark": "simulate",
            **environment(),
            "times": asdict(machine.times),
            "arguments": {
                name: str(value) if isinstance(value, Path) else value
                for name, value in vars(arguments).items()
                if name != "output"
            },
            "rows": rows,
        }
        write_result(arguments.output, result)


if __name__ == "__main__":
    main()
