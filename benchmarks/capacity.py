"""How many utterances a second does a server carry? Poisson arrivals through real sockets, until listeners suffer.

Starts a server (the flags it does not know are the server's) and loads it with `streamer bench`'s client, a process
of its own. Capacity is the highest rate with audible first audio within 200 ms for 95 of 100, gaps of more than
100 ms in a player without a buffer for at most 1 of 100, and at most 1 of 100 refused.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from benchmarks.speaking import running_server, surroundings
from streamer.bench.command import Plan, run, show


async def measure(plan: dict[str, Any], flags: list[str]) -> dict[str, Any]:
    async with running_server(*flags) as (url, ready_s):
        result = await run(Plan(url=url, **plan))
    return {"benchmark": "capacity", **surroundings(), "flags": flags, "ready_s": ready_s, **result}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=0.5, help="first rate tried")
    parser.add_argument("--seconds", type=float, default=30.0, help="at each rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count-silence", action="store_true", help="for random weights")
    parser.add_argument("--once", action="store_true", help="measure the first rate only")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments, flags = parser.parse_known_args()
    plan = {
        "rate_hz": arguments.rate,
        "seconds": arguments.seconds,
        "seed": arguments.seed,
        "search": not arguments.once,
        "counts_silence": arguments.count_silence,
    }
    result = asyncio.run(measure(plan, flags))
    show(result)
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
