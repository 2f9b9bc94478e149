"""How soon does the built-in voice answer, and does it keep up? First packet and real-time factor at the socket."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.speaking import Spoken, running_server, speak
from streamer.loadtest.environment import environment, write_result

SENTENCES = (
    "Hello.",
    "The train to the coast leaves at nine.",
    "I looked it up, and the shop by the river is open until eight this evening.",
    "Thank you for waiting. Your table is ready, and the kitchen has kept the soup warm.",
)


async def measure(repeats: int, flags: list[str]) -> dict[str, Any]:
    """Speak every sentence `repeats` times, one after the other."""
    async with running_server(*flags) as (url, ready_s):
        spoken: list[Spoken] = []
        for repeat in range(repeats):
            for text in SENTENCES:
                spoken.append(await speak(url, text, params={"seed": repeat}))
    rows = []
    for text in SENTENCES:
        same = [item for item in spoken if item.text == text]
        factors = [factor for item in same if (factor := item.real_time_factor) is not None]
        rows.append(
            {
                "text": text,
                "audio_s": float(np.median([item.audio_s for item in same])),
                "first_packet_ms": 1000 * float(np.median([item.first_packet_s for item in same])),
                "worst_first_packet_ms": 1000 * max(item.first_packet_s for item in same),
                "real_time_factor": float(np.median(factors)) if factors else None,
            }
        )
    return {"benchmark": "first_packet", **environment(), "flags": flags, "ready_s": ready_s, "rows": rows}


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
