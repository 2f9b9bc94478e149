"""What does an adapter cost beside the native protocol? First sound and processor time, side by side in one run.

The real server runs over the synthesizer of `server_cost`, which only hands out due sound, in a process of its own. The
clients of `protocol_clients` ask for the same sentence over connections that are open; PCM is compared with PCM, and
Opus with Opus. Rounds go through all of them in turn, so that they share what else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import time
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.protocol_clients import CLIENTS, NATIVE, Speak
from benchmarks.server_cost import SENTENCE_S, TEXT, Metronome
from benchmarks.speaking import LIFTED_LIMITS
from streamer.config import Config, LimitsConfig, ServerConfig
from streamer.loadtest.environment import environment, write_result
from streamer.server.app import Server

SHARE_AIM, FIRST_SOUND_AIM_MS = 1.5, 10.0
"""An adapter may take this many times the native protocol's processor time, and be this much later."""
CONNECT_S = 1.0


@dataclass
class Costs:
    """What was measured of one protocol in one encoding."""

    protocol: str
    encoding: str
    first_sounds_ms: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    """Processor time for each second of sound of all streams together, as a share of a core."""

    def client(self, port: int) -> AbstractAsyncContextManager[Speak]:
        create, encodings = CLIENTS[self.protocol]
        return create(port, encodings[self.encoding])


def serve(pipe: Connection) -> None:
    """Run the server's process: it reports its port and then, whenever asked, the processor time that it has used."""

    async def run() -> None:
        config = Config(server=ServerConfig(port=0), limits=LimitsConfig(**LIFTED_LIMITS))
        server = Server(config, Metronome())
        await server.start()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(server.run_until_stopped())
            pipe.send(server.port)
            while await asyncio.to_thread(pipe.recv):
                pipe.send(time.process_time())
            server.stop()
            await running

    asyncio.run(run())


async def first_sound_ms(costs: Costs, port: int) -> float:
    """Return the time from the text to the first piece of sound, over a connection that was ready."""
    async with costs.client(port) as speak:
        await asyncio.sleep(0.05)
        sent_s = time.perf_counter()
        async with contextlib.aclosing(speak(TEXT)) as pieces:
            async for _ in pieces:
                return 1000 * (time.perf_counter() - sent_s)
    raise RuntimeError(f"{costs.protocol} was silent")


async def listen_to(costs: Costs, port: int, num_streams: int) -> None:
    """Listen to `num_streams` utterances that begin within one second, to their ends."""
    begin_s = time.monotonic() + CONNECT_S

    async def listen(number: int) -> None:
        async with costs.client(port) as speak:
            await asyncio.sleep(begin_s + number / num_streams - time.monotonic())
            num_bytes = sum([len(piece) async for piece in speak(TEXT)])
        if not num_bytes:
            raise RuntimeError(f"{costs.protocol} was silent")

    async with asyncio.TaskGroup() as tasks:
        for number in range(num_streams):
            tasks.create_task(listen(number))


async def measure(rows: list[Costs], repeats: int, num_streams: int, rounds: int) -> None:
    """Fill in the rows, in turn."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,), daemon=True)
    process.start()

    def used_s() -> float:
        ours.send(True)
        return float(ours.recv())

    with contextlib.closing(ours):
        port = await asyncio.to_thread(ours.recv)
        for costs in rows:
            await first_sound_ms(costs, port)  # imports, codecs and the like are paid for
        for _ in range(repeats):
            for costs in rows:
                costs.first_sounds_ms.append(await first_sound_ms(costs, port))
        for _ in range(rounds):
            for costs in rows:
                before_s = used_s()
                await listen_to(costs, port, num_streams)
                costs.shares.append((used_s() - before_s) / SENTENCE_S)
        ours.send(False)
    await asyncio.to_thread(process.join, 10)


def figures(rows: list[Costs]) -> list[dict[str, Any]]:
    """Return the medians of each row, and how they stand to the native protocol's in the same encoding."""
    base = {costs.encoding: costs for costs in rows if costs.protocol == NATIVE}
    found = []
    for costs in rows:
        first_ms, share = np.median(costs.first_sounds_ms), np.median(costs.shares)
        beside = base[costs.encoding]
        found.append(
            {
                "protocol": costs.protocol,
                "encoding": costs.encoding,
                "first_sound_ms": float(first_ms),
                "first_sound_p95_ms": float(np.percentile(costs.first_sounds_ms, 95)),
                "later_ms": float(first_ms - np.median(beside.first_sounds_ms)),
                "cpu_share": float(share),
                "times_native": float(share / np.median(beside.shares)),
            }
        )
    return found


def show(rows: list[dict[str, Any]], num_streams: int) -> None:
    table = Table(title=f"one sentence over each protocol, and {num_streams} at once")
    for name in ("protocol", "encoding", "first sound ms", "p95", "later ms", "of a core", "times native"):
        table.add_column(name, justify="left" if name in ("protocol", "encoding") else "right")
    for row in rows:
        times = [f"{row[name]:.1f}" for name in ("first_sound_ms", "first_sound_p95_ms", "later_ms")]
        table.add_row(
            row["protocol"], row["encoding"], *times, f"{row['cpu_share']:.1%}", f"{row['times_native']:.2f}"
        )
    Console(width=120).print(table)
    late = [row["protocol"] for row in rows if row["later_ms"] > FIRST_SOUND_AIM_MS]
    dear = [f"{row['protocol']} ({row['encoding']})" for row in rows if row["times_native"] > SHARE_AIM]
    print(f"more than {FIRST_SOUND_AIM_MS:.0f} ms later: {', '.join(late) or 'none'}")
    print(f"more than {SHARE_AIM} times native: {', '.join(dear) or 'none'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protocols", nargs="+", choices=CLIENTS, default=list(CLIENTS))
    parser.add_argument("--repeats", type=int, default=20, help="how often the first sound is measured")
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3, help="how often that many streams are measured")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    names = dict.fromkeys([NATIVE, *arguments.protocols])
    rows = [Costs(name, encoding) for name in names for encoding in CLIENTS[name][1]]
    asyncio.run(measure(rows, arguments.repeats, arguments.streams, arguments.rounds))
    result = figures(rows)
    show(result, arguments.streams)
    if arguments.output:
        settings = {
            "streams": arguments.streams,
            "repeats": arguments.repeats,
            "rounds": arguments.rounds,
        }
        write_result(arguments.output, {"benchmark": "adapters", **environment(), **settings, "rows": result})


if __name__ == "__main__":
    main()
