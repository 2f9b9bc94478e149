"""Measures how many utterances per second a server carries: Poisson arrivals over real sockets, as `streamer bench`.

It starts a server in a process of its own, with the flags that it does not know itself. docs/benchmarks.md says when
a rate is good. The server's limits for one address, which all clients share here, are lifted.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from typing import Any

from benchmarks.speaking import LIFTED_LIMITS, running_server
from streamer.commands.bench import add_plan_flags, read_plan, run, show
from streamer.loadtest.environment import write_result


def all_flags(flags: list[str]) -> list[str]:
    """Return the server's flags: lifted limits, and behind them the given ones, which win."""
    lifted = {f"--{name.replace('_', '-')}": str(value) for name, value in LIFTED_LIMITS.items()}
    return [part for pair in lifted.items() for part in pair] + flags


async def measure(
    parsed: argparse.Namespace, flags: list[str], on_step: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Return the result; `on_step` is given the result so far after each rate."""
    flags = all_flags(flags)
    async with running_server(*flags) as (url, ready_s):
        head = {"benchmark": "capacity", "flags": flags, "ready_s": ready_s}
        result = await run(read_plan(parsed, url), lambda result: on_step({**head, **result}))
    return {**head, **result}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_plan_flags(parser)
    parser.add_argument("--once", dest="search", action="store_false", help="measure the first rate only")
    parser.set_defaults(search=True)
    arguments, flags = parser.parse_known_args()

    def write(result: dict[str, Any]) -> None:
        if arguments.output:
            write_result(arguments.output, result)

    result = asyncio.run(measure(arguments, flags, write))
    show(result)
    write(result)


if __name__ == "__main__":
    main()
