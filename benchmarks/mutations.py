"""Do a hundred thousand messages that are nearly right, over all protocols, harm a server or its other clients?

The real server runs over the tests' synthesizer in a process of its own. The mutations are those of the adapters' tests
(`tests/server/mutations.py`), over all protocols at once, and clients leave politely or without a word. Meanwhile one
polite neighbour of each protocol speaks the same sentences again and again; its bytes have to be those that it heard
before the flood. What is counted besides: what the server logged as unexpected, how it closed connections and answered
requests, and what was left in its process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.protocol_clients import CLIENTS, VOICE
from benchmarks.speaking import LIFTED_LIMITS
from streamer.loadtest.environment import environment, write_result
from streamer.server.app import Server
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.cartesia import test_mutations as cartesia
from tests.server.deepgram import test_mutations as deepgram
from tests.server.elevenlabs import test_mutations as elevenlabs
from tests.server.mutations import CUT_OFF, Conversation, attack_http, attack_websocket
from tests.server.native import test_mutations as native
from tests.server.openai import test_mutations as openai
from tests.server.realtime import test_mutations as realtime
from tests.server.speaking import configured
from tests.server.telephony import test_mutations as telephony
from tests.server.wyoming import test_mutations as wyoming

TEXT: Final = (
    "A neighbour says what it wants to say, whatever others do. It hears every word of it, and in order."
)
SPEED: Final = 50.0
"""Seconds of sound that the server's synthesizer makes in a second, for each sentence."""
FLOODS: Final[dict[str, tuple[tuple[str, ...], tuple[Conversation, ...]]]] = {
    "native": (native.PATHS, native.CONVERSATIONS),
    "elevenlabs": (elevenlabs.PATHS, elevenlabs.CONVERSATIONS),
    "deepgram": (deepgram.PATHS, deepgram.CONVERSATIONS),
    "cartesia": (cartesia.PATHS, cartesia.CONVERSATIONS),
    "realtime": (realtime.OPENAI_PATHS, realtime.OPENAI_CONVERSATIONS),
    "text buffer": (realtime.TEXT_BUFFER_PATHS, realtime.TEXT_BUFFER_CONVERSATIONS),
    "telephony": (("/v1/telephony",), telephony.OF_TELEPHONES),
    "telephony, programs": (telephony.PROGRAM_PATHS, telephony.OF_PROGRAMS),
}
"""The addresses and the conversations of each protocol over a WebSocket."""
REQUESTS: Final[dict[str, tuple[tuple[str, str, str], ...]]] = {
    "native, HTTP": native.REQUESTS,
    "openai": openai.REQUESTS,
    "elevenlabs, HTTP": elevenlabs.REQUESTS,
    "deepgram, HTTP": deepgram.REQUESTS,
    "cartesia, HTTP": cartesia.REQUESTS,
}
"""The requests of each protocol over HTTP: method, path and body."""
EVENTS: Final = "wyoming"
STAY_S: Final = 0.5
"""How long a polite client stays; it sees how the server closes its connection, if that happens meanwhile."""
AT_ONCE: Final = 3
"""How many connections of each protocol send side by side: more, and the server is too late for clients to see it
close."""
NUM_KINDS: Final = len(FLOODS) + len(REQUESTS) + 1
WRONG_CODES: Final = (CUT_OFF, 1011)
"""How a server closes that has failed."""
QUIET_S, PATIENCE_S = 3.0, 60.0
"""How long after the last connection the server's process is looked at, and how long that is waited for."""


@dataclass
class Neighbour:
    """What one polite client heard."""

    protocol: str
    expected: bytes = b""
    num_equal: int = 0
    num_different: int = 0

    async def speak(self, port: int) -> bytes:
        """Speak over a new connection; returns the sound."""
        create, encodings = CLIENTS[self.protocol]
        async with create(port, encodings["pcm"]) as speak:
            return b"".join([piece async for piece in speak(TEXT)])

    async def speak_on(self, port: int, is_over: asyncio.Event) -> None:
        while not is_over.is_set():
            if await self.speak(port) == self.expected:
                self.num_equal += 1
            else:
                self.num_different += 1


class _Unexpected(logging.Handler):
    """Counts what the server logs with a traceback or as an error; `shown` has the first ones."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.number = 0
        self.shown: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or record.levelno >= logging.ERROR:
            self.number += 1
            if len(self.shown) < 5:
                self.shown.append(self.format(record))


def serve(pipe: Connection) -> None:
    """Run the server's process: it reports its ports and then, whenever asked, what is in it."""
    unexpected = _Unexpected()
    logging.getLogger().addHandler(unexpected)  # asyncio's complaints, too

    async def run() -> None:
        config = configured(
            server={"wyoming_port": 0},
            speech={"lead_ms": None},
            **LIFTED_LIMITS | {"max_bytes_per_s": 16_777_216, "max_connections": 10_000},
        )
        synthesizer = FakeSynthesizer(speed=SPEED, voices=(VOICE, "tone", "other"))
        server = Server(config, synthesizer)
        await server.start()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(server.run_until_stopped())
            pipe.send((server.port, server.tcp_ports[0]))
            while await asyncio.to_thread(pipe.recv):
                synthesizer.requests.clear()  # it keeps them for the tests
                logged = {"num_unexpected": unexpected.number, "unexpected": unexpected.shown}
                pipe.send(_found(server, synthesizer) | logged)
            server.stop()
            await running

    asyncio.run(run())


def _found(server: Server, synthesizer: FakeSynthesizer) -> dict[str, Any]:
    """What the server's process holds; everything but its memory should be the same whenever nobody is connected."""
    gc.collect()
    kinds = Counter(f"{type(item).__module__}.{type(item).__qualname__}" for item in gc.get_objects())
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "tasks": len(asyncio.all_tasks()),
        "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208
        "sessions": server.num_sessions,
        "connections": server.num_connections,
        "sentences": synthesizer.num_open,
        "objects": {name: number for name, number in kinds.items() if name.startswith("streamer.")},
        "resident_mb": round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1),
    }


Ask = Callable[[], Awaitable[dict[str, Any]]]


@contextlib.asynccontextmanager
async def server() -> AsyncIterator[tuple[int, int, Ask]]:
    """Run the server; yields its port, Wyoming's port, and what asks for its state."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()  # so that a process that has failed is noticed

    async def ask() -> dict[str, Any]:
        began_s = time.monotonic()
        while True:
            await asyncio.sleep(QUIET_S)
            ours.send(True)
            found: dict[str, Any] = await asyncio.to_thread(ours.recv)
            if not found["connections"] or time.monotonic() > began_s + PATIENCE_S:
                return found

    with contextlib.closing(ours):
        port, wyoming_port = await asyncio.to_thread(ours.recv)
        yield port, wyoming_port, ask
        ours.send(False)
    await asyncio.to_thread(process.join, 30)


async def flood(port: int, wyoming_port: int, num_messages: int, seed: int) -> dict[str, Counter[Any]]:
    """Send all mutations, those of all protocols side by side; returns how connections and requests ended."""
    number = -(-num_messages // NUM_KINDS)
    attacks: dict[str, asyncio.Task[Any]] = {}
    async with asyncio.TaskGroup() as tasks:
        for name, (paths, conversations) in FLOODS.items():
            attack = attack_websocket(
                port, paths, conversations, number, seed, at_once=AT_ONCE, stay_s=STAY_S
            )
            attacks[name] = tasks.create_task(attack)
        for name, requests in REQUESTS.items():
            attacks[name] = tasks.create_task(attack_http(port, requests, number, seed, at_once=AT_ONCE))
        tasks.create_task(wyoming.attack(wyoming_port, number, seed, at_once=AT_ONCE))
    return {name: Counter(task.result()) for name, task in attacks.items()}


async def measure(num_messages: int, seeds: list[int]) -> AsyncGenerator[dict[str, Any], None]:
    """Yield one row for each seed, all against one server, so that what one leaves shows at the next."""
    async with server() as (port, wyoming_port, ask):
        heard = {
            name: await Neighbour(name).speak(port) for name, (_, names) in CLIENTS.items() if "pcm" in names
        }
        await flood(port, wyoming_port, 20 * NUM_KINDS, 12345)  # imports and caches are there from now on
        for seed in seeds:
            before = await ask()
            neighbours = [Neighbour(name, sound) for name, sound in heard.items()]
            began_s, is_over = time.monotonic(), asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                for neighbour in neighbours:
                    tasks.create_task(neighbour.speak_on(port, is_over))
                ends = await flood(port, wyoming_port, num_messages, seed)
                is_over.set()
            took_s = time.monotonic() - began_s
            yield row(seed, num_messages, ends, neighbours, before, await ask()) | {"seconds": round(took_s)}


def row(
    seed: int,
    num_messages: int,
    ends: dict[str, Counter[Any]],
    neighbours: list[Neighbour],
    before: dict[str, Any],
    after: dict[str, Any],
) -> dict[str, Any]:
    """What is told of one seed."""
    closes = {name: {str(code): number for code, number in ends[name].items()} for name in FLOODS}
    statuses = {name: {str(status): number for status, number in ends[name].items()} for name in REQUESTS}
    failed = sum(ends[name][code] for name in FLOODS for code in WRONG_CODES)
    failed += sum(
        number for name in REQUESTS for status, number in ends[name].items() if status == 0 or status >= 500
    )
    same = ("tasks", "descriptors", "sessions", "connections", "sentences")
    grown = Counter(after["objects"]) - Counter(before["objects"])
    return {
        "seed": seed,
        "messages": num_messages,
        "tracebacks": after["num_unexpected"] - before["num_unexpected"],
        "shown": after["unexpected"],
        "wrong_ends": failed,
        "closes": closes,
        "statuses": statuses,
        "neighbours_equal": {neighbour.protocol: neighbour.num_equal for neighbour in neighbours},
        "neighbours_different": sum(neighbour.num_different for neighbour in neighbours),
        "left": {name: after[name] - before[name] for name in same} | {"objects": grown.total()},
        "objects": dict(grown),
        "resident_mb": [before["resident_mb"], after["resident_mb"]],
    }


def show(row: dict[str, Any]) -> None:
    table = Table(
        title=f"{row['messages']:,} mutated messages, seed {row['seed']}, in {row.get('seconds', 0)} s"
    )
    for name in ("what", "number"):
        table.add_column(name)
    equal = sum(row["neighbours_equal"].values())
    table.add_row(
        "neighbours' utterances that were equal", f"{equal} of {equal + row['neighbours_different']}"
    )
    table.add_row("tracebacks", str(row["tracebacks"]))
    table.add_row("wrong closes and statuses", str(row["wrong_ends"]))
    table.add_row("left behind", ", ".join(f"{name} {number:+}" for name, number in row["left"].items()))
    table.add_row("resident memory, MB", "{} to {}".format(*row["resident_mb"]))
    Console(width=120).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000, help="for each seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/mutations.json"))
    arguments = parser.parse_args()
    head = {"benchmark": "mutations", **environment()}

    async def run() -> None:
        rows: list[dict[str, Any]] = []
        async with contextlib.aclosing(measure(arguments.messages, arguments.seeds)) as found:
            async for each in found:
                rows.append(each)
                show(each)
                write_result(arguments.output, {**head, "rows": rows})

    asyncio.run(run())


if __name__ == "__main__":
    main()
