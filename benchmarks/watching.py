"""What does it cost a front end to watch its workers, and to choose one? It bounds how many of them belong together.

Every worker tells each front end its status four times a second. The workers are one toy process under many addresses,
so that the figures are the front end's own processor time; nobody speaks.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.workers import VERSION, process, run_worker, show
from streamer.backends.workers.messages import STATUS_INTERVAL_S
from streamer.backends.workers.synthesizer import WorkersSynthesizer
from streamer.loadtest.environment import environment, write_result
from streamer.sampling import SamplingParams
from streamer.synthesis import SentenceRequest

NUM_WORKERS: Final = (8, 32, 128)
NUM_CHOICES: Final = 200
NUM_PLACES: Final = 100


async def measure(address: str, num_workers: int, seconds: float) -> dict[str, Any]:
    """Return the processor time of a status and of a choice, and the share of a core that the statuses take.

    The share follows from the time of one, so that it is right on a busy machine, too, where fewer of them come.
    """
    addresses = [f"{address}/{number}" for number in range(num_workers)]
    front = WorkersSynthesizer(addresses, version=VERSION)
    starting = asyncio.create_task(front.start())
    while not all(worker.is_ready for worker in front.workers):  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    await starting
    num_statuses, cpu_began_s = 0, time.process_time()

    def count() -> None:
        nonlocal num_statuses
        num_statuses += 1
        WorkersSynthesizer.heard_news(front)

    front.heard_news = count  # type: ignore[method-assign]
    await asyncio.sleep(seconds)
    status_ms = 1000 * (time.process_time() - cpu_began_s) / num_statuses
    share = status_ms / 1000 * num_workers / STATUS_INTERVAL_S
    request = SentenceRequest("0", "Hello.", "one", SamplingParams(seed=1))
    cpu_began_s = time.process_time()
    for _ in range(NUM_CHOICES):
        await front._next_worker(request, (), time.monotonic() + 1)
    choice_ms = 1000 * (time.process_time() - cpu_began_s) / NUM_CHOICES
    await front.close()
    return {"workers": num_workers, "status_ms": status_ms, "cpu_share": share, "choice_ms": choice_ms}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=NUM_WORKERS)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    with process(run_worker, NUM_PLACES) as (_, address):
        rows = [asyncio.run(measure(address, number, arguments.seconds)) for number in arguments.workers]
    show("a front end that only watches", rows)
    if arguments.output:
        write_result(arguments.output, {"benchmark": "watching", **environment(), "rows": rows})


if __name__ == "__main__":
    main()
