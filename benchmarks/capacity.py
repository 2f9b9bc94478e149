"""How many utterances a second does a server carry? Poisson arrivals through real sockets, until listeners suffer.

It starts a server (unknown flags are passed to the server) and loads it with `streamer bench`'s client in another
process; docs/benchmarks.md gives the rules by which a rate is good. The server's limits for one address,
which all clients share here, are lifted.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.speaking import LIFTED_LIMITS, running_server
from streamer.commands.bench import Plan, run, show
from streamer.loadtest.environment import write_result


def all_flags(flags: list[str]) -> list[str]:
    """Return the server's flags, with its limits lifted; the given flags come last, and so win."""
    lifted = {f"--{name.replace('_', '-')}": str(value) for name, value in LIFTED_LIMITS.items()}
    return [part for pair in lifted.items() for part in pair] + flags


async def measure(
    plan: dict[str, Any], flags: list[str], on_step: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Return the result; `on_step` is called with the partial result after each rate."""
    flags = all_flags(flags)
    async with running_server(*flags) as (url, ready_s):
        head = {"benchmark": "capacity", "flags": flags, "ready_s": ready_s}
        result = await run(Plan(url=url, **plan), lambda result: on_step({**head, **result}))
    return {**head, **result}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=0.5, help="first rate tried")
    parser.add_argument("--seconds", type=float, default=30.0, help="at each rate, at the least")
    parser.add_argument("--utterances", type=int, default=100, help="at each rate, at the least")
    parser.add_argument("--warm-up", type=float, default=5.0, help="seconds before that")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count-silence", action="store_true", help="for random weights")
    parser.add_argument("--once", action="store_true", help="measure the first rate only")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments, flags = parser.parse_known_args()
    plan = {
        "rate_hz": arguments.rate,
        "seconds": arguments.seconds,
        "num_utterances": arguments.utterances,
        "warm_up_s": arguments.warm_up,
        "seed": arguments.seed,
        "search": not arguments.once,
        "counts_silence": arguments.count_silence,
    }

    def write(result: dict[str, Any]) -> None:
        if arguments.output:
            write_result(arguments.output, result)

    result = asyncio.run(measure(plan, flags, write))
    show(result)
    write(result)


if __name__ == "__main__":
    main()
