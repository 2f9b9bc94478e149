"""Which schedule of fine chunks is heard soonest without a break? The real engine over stages that only take time.

A listener hears one sentence, alone on the machine. They could hear it unbroken from `unbroken_s` on, if the player
knew the future; `safe_s` is when `start: "safe"` lets it begin. `--machine` and `--times` are those of `simulate.py`,
and the machine is also taken to be some times slower and faster.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

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
from streamer.audio.packets import TIMESTAMP_HZ, Packet
from streamer.config import EngineConfig
from streamer.engine.engine import Engine
from streamer.engine.request import Request
from streamer.errors import StreamerError
from streamer.loadtest.environment import environment, write_result
from streamer.speech.events import SentenceEnded, SentenceStarted, SpeechEnded, SpeechEvent
from streamer.speech.safe_start import SECONDS_PER_CHARACTER, start_safely
from streamer.speech.text_feed import TextFeed
from streamer.stages.coarse_windows import CoarseWindows
from streamer.stages.fine_windows import scheduled
from streamer.synthesis import PcmChunk

SCHEDULES = ("latency", "balanced", "throughput", "whole")
LENGTHS_S = (2.5, 5.0, 10.0)
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""By how much slower than measured the machine is taken to be."""
Heard = list[tuple[float, float]]
"""When each chunk of the sound arrived, and its length; in seconds."""


def speak(machine: Machine, length_s: float) -> Heard:
    """Return the chunks of one sentence of this length."""
    clock, config = Clock(), machine.config
    stages = (
        Semantic(machine, clock, 1),
        Coarse(machine, clock, 1),
        Fine(machine, clock, machine.max_fine_rows),
        Codec(machine, clock, 1),
    )
    engine = Engine[Sentence](
        stages,
        EngineConfig(generate_ahead_s=3600, max_load=None),
        num_slots=1,
        sample_rate_hz=SAMPLE_RATE_HZ,
        clock=lambda: clock.now_s,
    )
    windows = CoarseWindows.from_config(config)
    heard: Heard = []

    def hear(chunk: PcmChunk | StreamerError) -> None:
        assert isinstance(chunk, PcmChunk)
        if len(chunk.samples):
            heard.append((clock.now_s, len(chunk.samples) / SAMPLE_RATE_HZ))
        engine.consumed(request, len(chunk.samples))

    work = Sentence(config, windows, round(length_s * config.semantic.rate_hz), 0)
    request = Request("sentence", work, hear)
    engine.submit(request)
    while engine.num_open:
        engine.step()
    return heard


def unbroken_s(heard: Heard) -> float:
    """Return the earliest moment from which playback would never wait."""
    start_s = played_s = 0.0
    for arrived_s, length_s in heard:
        start_s = max(start_s, arrived_s - played_s)
        played_s += length_s
    return start_s


def safe_s(heard: Heard) -> float:
    """Return when `start: "safe"` lets playback begin, if it knows the sentence's real-time factor."""
    sound_s, now_s = sum(length_s for _, length_s in heard), 0.0
    num_chars = round(sound_s / SECONDS_PER_CHARACTER)

    async def events() -> AsyncGenerator[SpeechEvent, None]:
        nonlocal now_s
        made_s = 0.0
        yield SentenceStarted(0, "", 0, num_chars, 0)
        for arrived_s, length_s in heard:
            now_s = arrived_s
            yield Packet(b"sound", round(made_s * TIMESTAMP_HZ), round(length_s * TIMESTAMP_HZ))
            made_s += length_s
        yield SentenceEnded(0, round(1000 * made_s))
        yield SpeechEnded(round(1000 * made_s), 1, False, now_s)

    async def begin_s() -> float:
        feed, speed = TextFeed("x" * num_chars), sound_s / heard[-1][0]
        async for event in start_safely(events(), feed, speed, lambda: now_s):
            if isinstance(event, Packet):
                return now_s
        return now_s

    return asyncio.run(begin_s())


def measure(machine: Machine, factor: float, length_s: float) -> list[dict[str, Any]]:
    """Return a row for each schedule."""
    rows = []
    for schedule in SCHEDULES:
        config = replace(machine.config, fine=scheduled(machine.config.fine, schedule))
        heard = speak(replace(machine, config=config, times=machine.times.scaled(factor)), length_s)
        sound_s = sum(length_s for _, length_s in heard)
        rows.append(
            {
                "factor": factor,
                "length_s": length_s,
                "schedule": schedule,
                "real_time_factor": heard[-1][0] / sound_s,
                "first_audio_s": heard[0][0],
                "unbroken_s": unbroken_s(heard),
                "safe_s": safe_s(heard),
                "fine_runs": len(heard),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machine", choices=tuple(MACHINES), default="small-cpu")
    parser.add_argument(
        "--times", type=Path, help="JSON file of benchmarks.stages, in place of the machine's times"
    )
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    machine = MACHINES[arguments.machine]
    if arguments.times:
        machine = replace(machine, times=times_of(json.loads(arguments.times.read_text())["rows"]))
    rows = [row for factor in FACTORS for length_s in LENGTHS_S for row in measure(machine, factor, length_s)]
    table = Table(title=f"one sentence on {arguments.machine}")
    names = (
        "factor",
        "length_s",
        "schedule",
        "real_time_factor",
        "first_audio_s",
        "unbroken_s",
        "safe_s",
        "fine_runs",
    )
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(
            *(f"{row[name]:.2f}" if isinstance(row[name], float) else str(row[name]) for name in names)
        )
    Console(width=120).print(table)
    if arguments.output:
        write_result(arguments.output, {"benchmark": "schedules", **environment(), "rows": rows})


if __name__ == "__main__":
    main()
