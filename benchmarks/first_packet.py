"""Measures the time to the first packet and the real-time factor of the built-in voice, at the socket."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.speaking import running_server, speak
from streamer.loadtest.client import Recording
from streamer.loadtest.environment import environment, write_result

SENTENCES = (
    "Hello.",
    "The train to the coast leaves at nine.",
    "I looked it up, and the shop by the river is open until eight this evening.",
    "Thank you for waiting. Your table is ready, and the kitchen has kept the soup warm.",
)


async def measure(repeats: int, flags: list[str]) -> dict[str, Any]:
    """Speak each sentence `repeats` times, one after the other."""
    recordings: dict[str, list[Recording]] = {text: [] for text in SENTENCES}
    async with running_server(*flags) as (url, ready_s):
        for repeat in range(repeats):
            for text in SENTENCES:
                recordings[text].append(await speak(url, text, seed=repeat))
    rows = [figures(text, same) for text, same in recordings.items()]
    return {"benchmark": "first_packet", **environment(), "flags": flags, "ready_s": ready_s, "rows": rows}


def figures(text: str, recordings: list[Recording]) -> dict[str, Any]:
    """Return the medians over recordings of one text; the real-time factor is None if nothing was said."""
    firsts_ms, audio_s, factors = [], [], []
    for recording in recordings:
        assert recording.sent_s is not None and recording.ended_s is not None
        firsts_ms.append(1000 * (recording.frames[0][0] - recording.sent_s))
        audio_s.append(recording.done["audio_ms"] / 1000)
        if audio_s[-1]:
            factors.append((recording.ended_s - recording.sent_s) / audio_s[-1])
    return {
        "text": text,
        "audio_s": float(np.median(audio_s)),
        "first_packet_ms": float(np.median(firsts_ms)),
        "worst_first_packet_ms": max(firsts_ms),
        "real_time_factor": float(np.median(factors)) if factors else None,
    }


def show(result: dict[str, Any]) -> None:
    table = Table(title=f"ready after {result['ready_s']:.1f} s on {result['cores']} x {result['cpu']}")
    for name in ("sentence", "audio s", "first packet ms (median)", "(worst)", "real-time factor"):
        table.add_column(name)
    for row in result["rows"]:
        table.add_row(
            row["text"][:40],
            f"{row['audio_s']:.2f}",
            f"{row['first_packet_ms']:.0f}",
            f"{row['worst_first_packet_ms']:.0f}",
            "–" if row["real_time_factor"] is None else f"{row['real_time_factor']:.2f}",
        )
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments, flags = parser.parse_known_args()
    result = asyncio.run(measure(arguments.repeats, flags))
    show(result)
    if arguments.output:
        write_result(arguments.output, result)


if __name__ == "__main__":
    main()
