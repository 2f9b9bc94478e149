"""Does the server hold after hours what it held at the start, while clients of all protocols come, break off and go?

The real server runs in a process of its own, over the built-in voice or over a synthesizer that computes nothing. The
process tells at intervals what it holds; at the end, when all clients are gone, everything must be back where it was,
and everything that was heard must be accounted for. The status is 1 if it is not.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.protocol_clients import CLIENTS, OTHERS
from benchmarks.soak_clients import UTTERANCE_TIMEOUT_S, Ports, listen_politely, misbehave
from benchmarks.soak_server import ENGINES, Holdings, RunningServer, started
from benchmarks.soak_tally import HEARD, Tally
from streamer.loadtest.environment import environment, write_result

OPTIONS: Final[dict[str, object]] = {"max_load": "none", "write_timeout_s": 5, "auth_timeout_s": 5}
"""Nobody waits for room, so that what is asked for is spoken, and who reads nothing is cut soon."""
SETTLE_S: Final = 60.0
"""How long the server may take to let go of everything when the last client is gone."""
BASE_LINE_MINUTES: Final = 10.0
MAX_GROWTH: Final = 0.05
"""By which part the memory may have grown at the end beyond what it was after the first ten minutes."""
FAULTS: Final = {"audio_encode_failed", "engine_failed", "internal_error", "model_numeric"}
"""Codes of errors that no client brings about."""
MIB: Final = 1 << 20


async def soak(
    engine: str, minutes: float, num_clients: int, num_wild: int, sample_s: float
) -> dict[str, Any]:
    """Return what the server held over time, and what is wrong at the end."""
    with started(engine, OPTIONS) as server:
        ports, tally = Ports(server.port, server.wyoming_port), Tally()
        await _meet_everyone(ports)
        before = await _settled(server, None)
        begin_s = time.monotonic()
        until_s = begin_s + 60 * minutes
        rows: list[dict[str, Any]] = []
        async with asyncio.TaskGroup() as tasks:
            for number in range(num_clients):
                tasks.create_task(listen_politely(ports, tally, random.Random(number), until_s))
            for number in range(num_wild):
                tasks.create_task(misbehave(ports, tally, random.Random(-1 - number), until_s))
            while (now_s := time.monotonic()) < until_s:
                await asyncio.sleep(min(sample_s, until_s - now_s))
                rows.append(_row(await server.holdings(), tally, time.monotonic() - begin_s, now_s))
                _show_row(rows[-1])
        after = await _settled(server, before)
    return {
        "engine": engine,
        "minutes": minutes,
        "clients": num_clients,
        "wild_clients": num_wild,
        "outcomes": {protocol: dict(counts) for protocol, counts in sorted(tally.outcomes.items())},
        "asked": tally.num_asked,
        "before": asdict(before),
        "after": asdict(after),
        "rss_growth": growth(rows),
        "complaints": complaints(before, after, tally, rows),
        "rows": rows,
    }


async def _meet_everyone(ports: Ports) -> None:
    """Have each protocol speak once, so that what is imported or compiled with its first client is there."""
    clients = {**{name: (client, next(iter(names.values()))) for name, (client, names) in CLIENTS.items()}}
    clients |= {name: (client, "") for name, client in OTHERS.items()}
    for name, (client, encoding) in clients.items():
        async with asyncio.timeout(UTTERANCE_TIMEOUT_S), client(ports.of(name), encoding) as speak:
            async for _ in speak("This is the first sentence that is said here."):
                pass


async def _settled(server: RunningServer, before: Holdings | None) -> Holdings:
    """Return what the server holds once nothing is done any more, and all that was there `before` is back."""
    end_s = time.monotonic() + SETTLE_S
    while True:
        holdings = await server.holdings()
        is_quiet = not (holdings.num_running or holdings.num_connections or holdings.num_slots_used)
        is_back = before is None or holdings.num_tasks <= before.num_tasks
        if (is_quiet and is_back) or time.monotonic() > end_s:
            return holdings
        await asyncio.sleep(1.0)


def complaints(before: Holdings, after: Holdings, tally: Tally, rows: list[dict[str, Any]]) -> list[str]:
    """Return what is not as it has to be."""
    found, num_heard = tally.complaints(), tally.totals()[HEARD]
    for name in ("num_tasks", "num_descriptors", "num_connections", "num_running", "num_slots_used"):
        was, now = getattr(before, name), getattr(after, name)
        if now != was:
            found.append(f"{name}: {was} before, {now} after")
    if after.num_errors:
        found.append(f"the log has {after.num_errors} errors")
    ended = {name: count - before.outcomes.get(name, 0) for name, count in after.outcomes.items()}
    num_whole = ended.get("ok", 0) + ended.get("truncated", 0)
    if num_whole < num_heard:
        found.append(f"{num_heard} utterances were heard whole, and {num_whole} counted")
    num_errors = sum(after.errors.values()) - sum(before.errors.values())
    if ended.get("error", 0) > num_errors:
        found.append(f"{ended['error']} utterances failed, and {num_errors} errors have a code")
    if sum(ended.values()) > tally.num_asked:
        found.append(f"{tally.num_asked} utterances were asked for, and {sum(ended.values())} counted")
    for code in FAULTS & after.errors.keys():
        found.append(f"clients were told {after.errors[code]} x {code}")
    grown = growth(rows)
    if grown is not None and grown > MAX_GROWTH:
        found.append(f"memory grew by {grown:.1%} after the first {BASE_LINE_MINUTES:.0f} minutes")
    return found


def growth(rows: list[dict[str, Any]]) -> float | None:
    """Return by which part the memory grew after the first minutes; None for a run that ended before."""
    later = [row["rss_mib"] for row in rows if row["minute"] >= BASE_LINE_MINUTES]
    return later[-1] / later[0] - 1 if len(later) > 1 else None


def _row(holdings: Holdings, tally: Tally, after_s: float, since_s: float) -> dict[str, Any]:
    first_s = tally.first_sounds_since(since_s)
    return {
        "minute": after_s / 60,
        "rss_mib": holdings.rss_bytes / MIB,
        "descriptors": holdings.num_descriptors,
        "tasks": holdings.num_tasks,
        "objects": holdings.num_objects,
        "threads": holdings.num_threads,
        "running": holdings.num_running,
        "heard": tally.totals()[HEARD],
        "first_sound_p50_ms": 1000 * float(np.percentile(first_s, 50)) if first_s else None,
        "first_sound_p99_ms": 1000 * float(np.percentile(first_s, 99)) if first_s else None,
        "load": _load(),
    }


def _load() -> float:
    """Return the machine's load, which says what the times are worth."""
    return float(Path("/proc/loadavg").read_text().split()[0])


def _show_row(row: dict[str, Any]) -> None:
    first_ms = row["first_sound_p99_ms"]
    figures = (
        f"{row['minute']:6.1f} min",
        f"{row['rss_mib']:6.1f} MiB",
        *(f"{row[name]:6} {name}" for name in ("descriptors", "tasks", "objects", "heard")),
        f"first sound p99 {first_ms or 0:6.0f} ms",
    )
    print(*figures, sep="  ", file=sys.stderr, flush=True)


def show(result: dict[str, Any]) -> None:
    table = Table(
        title=f"{result['minutes']:.1f} minutes, {result['clients']} + {result['wild_clients']} clients"
    )
    for name in ("what", "before", "after"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for name, was in result["before"].items():
        table.add_row(name, str(was), str(result["after"][name]))
    console = Console(width=120)
    console.print(table)
    outcomes = Table("protocol", "outcome", "utterances", title="what became of what clients asked for")
    for protocol, counts in result["outcomes"].items():
        for outcome, count in sorted(counts.items()):
            outcomes.add_row(protocol, outcome, str(count))
    console.print(outcomes)
    if result["rss_growth"] is not None:
        console.print(f"memory after the first {BASE_LINE_MINUTES:.0f} minutes: {result['rss_growth']:+.1%}")
    for complaint in result["complaints"] or ["everything is accounted for"]:
        console.print(complaint)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=0.0)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0])
    parser.add_argument("--clients", type=int, help="well-behaved ones; 3 for the built-in voice, else 16")
    parser.add_argument("--wild", type=int, help="clients that misbehave; 2 for the built-in voice, else 8")
    parser.add_argument("--sample-s", type=float, default=30.0)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    minutes = 60 * arguments.hours + arguments.minutes
    if minutes <= 0:
        parser.error("say for how long: --hours or --minutes")
    is_real = arguments.engine == "builtin"
    num_clients = arguments.clients or (3 if is_real else 16)
    num_wild = arguments.wild or (2 if is_real else 8)
    head = {"benchmark": "soak", **environment()}
    result = asyncio.run(soak(arguments.engine, minutes, num_clients, num_wild, arguments.sample_s))
    show(result)
    if arguments.output:
        write_result(arguments.output, head | result)
    sys.exit(bool(result["complaints"]))


if __name__ == "__main__":
    main()
