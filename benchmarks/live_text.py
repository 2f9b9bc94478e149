"""How soon is an answer heard that is still being written? First token to audible sound, at several speeds.

A writer sends one word per message, like the client of a language model, at 20, 50 and 100 words per second, with and
without a pause in the middle of a sentence (while a tool runs).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.speaking import running_server
from streamer.loadtest.client import Recording, Target, connected, listen, utterance_settings
from streamer.loadtest.environment import environment, write_result
from streamer.loadtest.playout import leading_silence_s, packets_of, play

TEXT = (
    "Let me have a look at that for you. The next train to the coast leaves at nine in the morning, "
    "and there is another one two hours later. Shall I book a seat?"
)
WORDS_PER_S = (20.0, 50.0, 100.0)
PAUSE_AFTER_WORDS = 5
PAUSE_S = 1.5


async def write(url: str, words_per_s: float, seed: int, *, has_pause: bool) -> dict[str, float]:
    """Write one answer; return its times in milliseconds since its first token."""
    target = Target(url)
    loop = asyncio.get_running_loop()
    async with connected(target) as (connection, _), asyncio.TaskGroup() as tasks:
        recording = Recording(loop.time())
        tasks.create_task(listen(connection, recording))
        start = {"type": "start", "id": "1", **utterance_settings(target, seed)}
        await connection.send(json.dumps(start))
        recording.due_s = due_s = loop.time()
        for number, word in enumerate(re.findall(r"\S+\s*", TEXT)):
            if has_pause and number == PAUSE_AFTER_WORDS:
                due_s += PAUSE_S
            await asyncio.sleep(due_s - loop.time())
            await connection.send(json.dumps({"type": "text", "id": "1", "text": word}))
            due_s += 1 / words_per_s
        await connection.send(json.dumps({"type": "end", "id": "1"}))
    packets = packets_of(recording)
    silence_s = leading_silence_s(packets, recording.started) if recording.outcome == "served" else None
    if silence_s is None:
        raise RuntimeError(f"nothing was heard: {recording.outcome} {recording.reason}")
    playout = play(packets)
    return {
        "first_packet_ms": 1000 * (playout.first_s - recording.due_s),
        "audible_ms": 1000 * (playout.plays_s(silence_s) - recording.due_s),
        "longest_gap_ms": 1000 * playout.longest_gap_s,
    }


async def measure(repeats: int, flags: list[str]) -> dict[str, Any]:
    rows = []
    async with running_server(*flags) as (url, _):
        for words_per_s in WORDS_PER_S:
            for has_pause in (False, True):
                made = [await write(url, words_per_s, seed, has_pause=has_pause) for seed in range(repeats)]
                median = {name: float(np.median([item[name] for item in made])) for name in made[0]}
                worst = max(item["audible_ms"] for item in made)
                rows.append(
                    {"words_per_s": words_per_s, "pause": has_pause, **median, "worst_audible_ms": worst}
                )
    return {"benchmark": "live_text", **environment(), "flags": flags, "text": TEXT, "rows": rows}


def show(result: dict[str, Any]) -> None:
    table = Table(title="from the first token, milliseconds (median)")
    for name in ("words a second", "pause", "first packet", "audible", "audible (worst)", "longest gap"):
        table.add_column(name, justify="right")
    for row in result["rows"]:
        figures = [
            f"{row[name]:.0f}"
            for name in ("first_packet_ms", "audible_ms", "worst_audible_ms", "longest_gap_ms")
        ]
        table.add_row(f"{row['words_per_s']:.0f}", "yes" if row["pause"] else "no", *figures)
    Console(width=110).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments, flags = parser.parse_known_args()
    result = asyncio.run(measure(arguments.repeats, flags))
    show(result)
    if arguments.output:
        write_result(arguments.output, result)


if __name__ == "__main__":
    main()
