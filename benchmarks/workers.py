"""What does a front end over workers cost? The first sound's delay, processor time, and what more workers bring.

Toy workers hand out sound that is due (`server_cost.Metronome`), each in a process of its own, and so is the front end.
The delay of the hop is the time from asking for a sentence to its first chunk, beyond what the toy engine takes, less
the same without a network.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import logging
import multiprocessing
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.server_cost import CHUNK_FRAMES, FRAME_HZ, SPEED, TEXT, Metronome, listen_to
from streamer.backends.workers import connection
from streamer.backends.workers.synthesizer import WorkersSynthesizer
from streamer.backends.workers.worker import ServedModel, Worker
from streamer.backends.workers.worker_server import WorkerServer
from streamer.config import Config, LimitsConfig, ServerConfig
from streamer.loadtest.environment import environment, write_result
from streamer.loadtest.playout import packets_of, play
from streamer.loadtest.summary import JITTER_S
from streamer.models.config import TokenizerConfig
from streamer.sampling import SamplingParams
from streamer.server.app import Server
from streamer.server.listening import open_sockets
from streamer.synthesis import Health, PcmChunk, Room, SentenceRequest, Synthesizer
from streamer.text.tokens.tokenizer import TokenizerFile

VERSION: Final = "benchmark"
TOKENIZER: Final = TokenizerFile(TokenizerConfig(file="vocab.txt"), b"[UNK]")
FIRST_SOUND_S: Final = CHUNK_FRAMES[0] / FRAME_HZ / SPEED
PLACES: Final = 16
"""Listeners that a toy worker has room for."""
CONNECTIONS: Final = {"warm": (2, 64), "fresh": (0, 0)}
"""How many connections the pool keeps: open ones for the next sentences, or none, so that each sentence opens one."""
NUM_CANCELS: Final = 50
NUM_SHORT, SHORT_SAMPLES = 400, 100
"""Short sentences that are spoken one after the other, and their length, for what a sentence alone costs."""


class ToyEngine(Metronome):
    """A metronome that has room for some listeners only, and notes when its sentences are cancelled."""

    def __init__(
        self, num_places: int | None, borders: Callable[[], Iterator[tuple[int, int]]] | None = None
    ) -> None:
        """`borders` are those of a sentence's chunks in samples, if not a metronome's."""
        super().__init__()
        self.num_places = num_places
        if borders is not None:
            self._sound = self._sound[:SHORT_SAMPLES]
            self._borders = borders  # type: ignore[method-assign]
        self.cancelled_s: list[float] = []
        self._utterances: list[str] = []

    def health(self) -> Health:
        num_open = len(set(self._utterances))
        room = None
        if self.num_places is not None:
            room = Room(num_open, self.num_places, 0, 0, self.num_places, 2.0)
        return Health(alive=True, ready=True, expected_speed=SPEED, room=room)

    async def synthesize(self, request: SentenceRequest) -> AsyncGenerator[PcmChunk, None]:
        self._utterances.append(request.utterance_id)
        is_whole = False
        try:
            async for chunk in super().synthesize(request):
                is_whole = chunk.is_last
                yield chunk
        finally:
            self._utterances.remove(request.utterance_id)
            if not is_whole:
                self.cancelled_s.append(time.monotonic())


def toy_model(engine: ToyEngine) -> ServedModel:
    """Return what a toy worker tells of its model."""
    return ServedModel(engine.info, TOKENIZER, "toy", dict.fromkeys(engine.info.voices, b"toy"))


def run_worker(pipe: Connection, num_places: int | None) -> None:
    """Run a worker's process: it reports its address and then, when asked, its processor time and its cancels."""

    async def run() -> None:
        engine = ToyEngine(num_places)
        worker = Worker(engine, lambda: toy_model(engine), version=VERSION)
        server = WorkerServer(worker, functools.partial(open_sockets, "127.0.0.1", 0), has_token=False)
        await server.start()
        pipe.send(server.address)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(server.run_until_stopped())
            began_s = time.process_time()
            await asyncio.to_thread(pipe.recv)
            pipe.send((time.process_time() - began_s, engine.cancelled_s))
            server.stop()
            server.stop()
            await running

    asyncio.run(run())


def run_server(pipe: Connection, addresses: list[str], num_streams: int) -> None:
    """Run a whole server over workers, or over a toy engine of its own; it reports its port, then its CPU time."""
    logging.disable(logging.WARNING)  # refusals are counted

    async def run() -> None:
        synthesizer: Synthesizer = Metronome()
        if addresses:
            synthesizer = WorkersSynthesizer(addresses, version=VERSION)
        many = num_streams + 8
        limits = LimitsConfig(
            max_connections_per_address=many, max_utterances_per_key=many, max_starts_per_s=10_000
        )
        server = Server(Config(server=ServerConfig(port=0), limits=limits), synthesizer)
        await server.start()
        while (workers := synthesizer.health().workers) and workers.num_ready < len(addresses):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        pipe.send(server.port)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(server.run_until_stopped())
            began_s = time.process_time()
            await asyncio.to_thread(pipe.recv)
            pipe.send(time.process_time() - began_s)
            server.stop()
            server.stop()
            await running

    asyncio.run(run())


@contextlib.contextmanager
def process(target: Any, *arguments: Any) -> Iterator[tuple[Connection, Any]]:
    """Run a function in a process of its own; yields the pipe to it, and the first thing that it reports."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    running = context.Process(target=target, args=(theirs, *arguments), daemon=True)
    running.start()
    try:
        yield ours, ours.recv()
    finally:
        running.join(10)
        running.kill()


def asked(pipe: Connection) -> Any:
    """Have a process end, and return what it reports."""
    pipe.send("enough")
    return pipe.recv()


async def first_sounds(
    synthesizer: Synthesizer, num_streams: int, *, num_sentences: int
) -> list[list[float]]:
    """Return the seconds from asking to the first chunk, beyond the engine's own, for each sentence of each stream."""

    async def listen(number: int) -> list[float]:
        await asyncio.sleep(number / num_streams)
        delays = []
        for index in range(num_sentences):
            params = SamplingParams(seed=1)
            request = SentenceRequest(
                f"{number}.{index}", TEXT, "one", params, index, utterance_id=f"{number}"
            )
            began_s = time.monotonic()
            async with contextlib.aclosing(synthesizer.synthesize(request)) as chunks:
                async for _ in chunks:
                    if len(delays) == index:
                        delays.append(time.monotonic() - began_s - FIRST_SOUND_S)
        return delays

    async with asyncio.TaskGroup() as tasks:
        listening = [tasks.create_task(listen(number)) for number in range(num_streams)]
    return [task.result() for task in listening]


async def cancels(front: WorkersSynthesizer) -> list[float]:
    """Cancel sentences that are silent, one after the other; return when."""
    moments = []
    for number in range(NUM_CANCELS):
        request = SentenceRequest(f"cancel {number}", TEXT, "one", SamplingParams(seed=1), utterance_id="c")
        async with contextlib.aclosing(front.synthesize(request)) as chunks:
            await anext(chunks)
            moments.append(time.monotonic())
        await asyncio.sleep(0.02)
    return moments


def measure_hop(num_streams: int, style: str) -> dict[str, Any]:
    """Measure the delay of first sounds over one worker, with one style of connections, and of cancels."""
    num_warm, max_warm = CONNECTIONS[style]
    connection.NUM_WARM, connection.MAX_WARM = num_warm, max_warm  # type: ignore[misc]

    async def run(address: str) -> tuple[list[list[float]], list[float]]:
        front = WorkersSynthesizer([address], version=VERSION)
        await front.start()
        await asyncio.sleep(0.5)
        delays = await first_sounds(front, num_streams, num_sentences=2)
        moments = await cancels(front)
        await front.close()
        return delays, moments

    with process(run_worker, None) as (pipe, address):
        delays, moments = asyncio.run(run(address))
        _, seen = asked(pipe)
    local = asyncio.run(first_sounds(Metronome(), num_streams, num_sentences=2))
    seen_ms = 1000 * (np.array(seen[-len(moments) :]) - np.array(moments))
    row: dict[str, Any] = {"streams": num_streams, "connections": style}
    for name, index in (("first", 0), ("second", 1)):
        hop, without = (1000 * np.array(of)[:, index] for of in (delays, local))
        for percent in (50, 99):
            added = np.percentile(hop, percent) - np.percentile(without, percent)
            row[f"added_{name}_p{percent}_ms"] = float(added)
    return row | {f"cancel_p{percent}_ms": float(np.percentile(seen_ms, percent)) for percent in (50, 99)}


async def measure_sentences(style: str) -> dict[str, Any]:
    """Measure short sentences one after the other, with both ends in this process, which depends least on its load."""
    connection.NUM_WARM, connection.MAX_WARM = CONNECTIONS[style]  # type: ignore[misc]
    engine = ToyEngine(None, lambda: iter([(0, SHORT_SAMPLES)]))
    worker = Worker(engine, lambda: toy_model(engine), version=VERSION)
    server = WorkerServer(worker, functools.partial(open_sockets, "127.0.0.1", 0), has_token=False)
    await server.start()
    running = asyncio.create_task(server.run_until_stopped())
    front = WorkersSynthesizer([server.address], version=VERSION)
    await front.start()
    await asyncio.sleep(0.3)
    times_s, began_s = [], time.process_time()
    for number in range(NUM_SHORT):
        request = SentenceRequest(f"{number}", TEXT, "one", SamplingParams(seed=1))
        asked_s = time.perf_counter()
        async with contextlib.aclosing(front.synthesize(request)) as chunks:
            await anext(chunks)
        times_s.append(time.perf_counter() - asked_s)
    cpu_s = time.process_time() - began_s
    await front.close()
    server.stop()
    await running
    row: dict[str, Any] = {"connections": style, "cpu_ms_per_sentence": 1000 * cpu_s / NUM_SHORT}
    return row | {f"p{percent}_ms": 1000 * float(np.percentile(times_s, percent)) for percent in (10, 50, 99)}


def measure_server(num_workers: int, num_streams: int, num_places: int | None) -> dict[str, Any]:
    """Measure a whole server under `num_streams` utterances; with no workers the engine is in its own process."""
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(process(run_worker, num_places)) for _ in range(num_workers)]
        addresses = [address for _, address in workers]
        pipe, port = stack.enter_context(process(run_server, addresses, num_streams))
        recordings = asyncio.run(listen_to(port, num_streams, 2000))
        server_s = asked(pipe)
        workers_s = [asked(other)[0] for other, _ in workers]
    served = [packets_of(recording) for recording in recordings if recording.outcome == "served"]
    playouts = [play(packets) for packets in served if packets]
    return {
        "workers": num_workers,
        "streams": num_streams,
        "served": len(playouts),
        "refused": num_streams - len(playouts),
        "underrun_share": float(np.mean([item.stopped_s > JITTER_S for item in playouts]))
        if playouts
        else None,
        "server_cpu_s": server_s,
        "workers_cpu_s": sum(workers_s),
    }


def show(title: str, rows: list[dict[str, Any]]) -> None:
    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=160).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    alone = [asyncio.run(measure_sentences(style)) for style in CONNECTIONS]
    show("a short sentence, both ends in one process", alone)
    hop = [measure_hop(streams, style) for style in CONNECTIONS for streams in (1, arguments.streams)]
    show("first sound and cancel over one worker, beyond one process", hop)
    cost = [measure_server(number, arguments.streams, None) for number in (0, 1)]
    show("processor time", cost)
    both_s = cost[1]["server_cpu_s"] + cost[1]["workers_cpu_s"]
    print(f"front end and worker take {both_s / cost[0]['server_cpu_s']:.2f} times the one process")
    scale = [measure_server(number, 5 * PLACES, PLACES) for number in (1, 2, 4)]
    show(f"{5 * PLACES} utterances over workers of {PLACES} places", scale)
    if arguments.output:
        result = {
            "benchmark": "workers",
            **environment(),
            "alone": alone,
            "hop": hop,
            "cost": cost,
            "scale": scale,
        }
        write_result(arguments.output, result)


if __name__ == "__main__":
    main()
