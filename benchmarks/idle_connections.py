"""What does an idle connection cost in memory, beside a bare WebSocket of the same library in the same run?

The server of `soak_server`, over a synthesizer that computes nothing, and a bare server of `websockets` (an echo
without compression) run one after the other, each in a process of its own, and get the same idle clients. Memory
counts from after the first hundred, which have everything imported. At last sockets are opened that say nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets

from benchmarks.soak_server import rss_bytes, started
from streamer.loadtest.environment import environment, write_result
from streamer.server.descriptors import allow_descriptors

NUM_FIRST: Final = 100
"""Connections before the first measurement."""
NUM_AT_ONCE: Final = 50
"""Handshakes in progress at the same time."""
SETTLE_S: Final = 2.0
CONNECT_TIMEOUT_S: Final = 30.0
HANDSHAKE: Final = (
    "GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
PING_HEAD: Final = b"\x89\x04"
"""A server's ping with four bytes, as both servers send it (RFC 6455, section 5.2)."""
PONG_HEAD: Final = b"\x8a\x84\0\0\0\0"
"""A client's pong with four bytes, whose mask is zero."""


class IdleClient(asyncio.Protocol):
    """A client that is let in and then only answers pings; it holds as little as it can, for there are thousands."""

    def __init__(self, port: int) -> None:
        self.is_let_in: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.is_open = True
        self._port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a WebSocket."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(HANDSHAKE.format(port=self._port).encode())

    def data_received(self, data: bytes) -> None:
        """Note the handshake's answer, and answer pings."""
        if not self.is_let_in.done():
            self.is_let_in.set_result(data.startswith(b"HTTP/1.1 101"))
        elif data.startswith(PING_HEAD):
            self.transport.write(PONG_HEAD + data[len(PING_HEAD) :])

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """Note the end."""
        self.is_open = False
        if not self.is_let_in.done():
            self.is_let_in.set_result(False)


async def open_idle(port: int, number: int) -> list[IdleClient]:
    """Open this many connections; returns those that were let in."""
    loop, clients = asyncio.get_running_loop(), list[IdleClient]()

    async def open_some(count: int) -> None:
        for _ in range(count):
            _, client = await loop.create_connection(lambda: IdleClient(port), "127.0.0.1", port)
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                if await client.is_let_in:
                    clients.append(client)

    async with asyncio.TaskGroup() as tasks:
        for part in range(NUM_AT_ONCE):
            tasks.create_task(open_some((number + part) // NUM_AT_ONCE))
    return clients


async def measure_idle(process_id: int, port: int, numbers: list[int], hold_s: float) -> list[dict[str, Any]]:
    """Return what the connections of each number cost the process, in memory and in processor time."""
    rows = []
    clients = await open_idle(port, NUM_FIRST)
    await asyncio.sleep(SETTLE_S)
    before_bytes = rss_bytes(process_id)
    for number in sorted(numbers):
        clients += await open_idle(port, number + NUM_FIRST - len(clients))
        await asyncio.sleep(SETTLE_S)
        num_bytes, used_s = rss_bytes(process_id) - before_bytes, cpu_s(process_id)
        await asyncio.sleep(hold_s)
        rows.append(
            {
                "connections": number,
                "still_open": sum(client.is_open for client in clients) - NUM_FIRST,
                "kib_each": num_bytes / 1024 / number,
                "kib_each_later": (rss_bytes(process_id) - before_bytes) / 1024 / number,
                "cpu_share": (cpu_s(process_id) - used_s) / hold_s,
            }
        )
    for client in clients:
        client.transport.abort()
    return rows


async def measure_silent(port: int, number: int) -> dict[str, Any]:
    """Open sockets that say nothing; returns how many of them the server kept, at once and after ten seconds."""
    lines: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    for _ in range(number):
        lines.append(await asyncio.open_connection("127.0.0.1", port))
    await asyncio.sleep(0.5)
    kept = sum(not reader.at_eof() and reader.exception() is None for reader, _ in lines)
    await asyncio.sleep(10.0)
    left = sum(not reader.at_eof() and reader.exception() is None for reader, _ in lines)
    for _, writer in lines:
        writer.transport.abort()
    return {"opened": number, "kept": kept, "kept_after_10_s": left}


def cpu_s(process_id: int) -> float:
    """Return the processor time that a process has used."""
    user, system = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@contextlib.asynccontextmanager
async def ours(limits: dict[str, object]) -> AsyncIterator[tuple[int, int]]:
    """Run our server; yields its process and port."""
    with started("metronome", limits) as server:
        yield server.process_id, server.port


@contextlib.asynccontextmanager
async def bare(_limits: dict[str, object]) -> AsyncIterator[tuple[int, int]]:
    """Run a bare server of `websockets`; yields its process and port."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(target=_serve_bare, args=(theirs,), daemon=True)
    process.start()
    try:
        yield await asyncio.to_thread(pipe.recv)
    finally:
        process.kill()
        process.join()


def _serve_bare(pipe: Connection) -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async def run() -> None:
        async with serve_websockets(echo, "127.0.0.1", 0, compression=None) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            pipe.send((os.getpid(), port))
            await asyncio.get_running_loop().create_future()

    allow_descriptors(10_000)
    asyncio.run(run())


async def measure(numbers: list[int], hold_s: float, num_silent: int, max_connections: int) -> dict[str, Any]:
    """Measure both servers in turn."""
    servers: dict[str, AbstractAsyncContextManager[tuple[int, int]]] = {
        "bare websockets": bare({}),
        "streamer": ours({"max_connections": max_connections}),
    }
    rows = []
    for name, server in servers.items():
        async with server as (process_id, port):
            rows += [{"server": name, **row} for row in await measure_idle(process_id, port, numbers, hold_s)]
    async with ours({"max_connections_per_address": 10_000}) as (_, port):
        silent = await measure_silent(port, num_silent)
    return {"rows": rows, "silent": silent}


def show(result: dict[str, Any]) -> None:
    table = Table(title="idle connections")
    for name in ("server", "connections", "still open", "KiB each", "KiB each, later", "of a core"):
        table.add_column(name, justify="left" if name == "server" else "right")
    for row in result["rows"]:
        sizes = [f"{row[name]:.1f}" for name in ("kib_each", "kib_each_later")]
        numbers = (str(row["connections"]), str(row["still_open"]))
        table.add_row(row["server"], *numbers, *sizes, f"{row['cpu_share']:.1%}")
    Console(width=120).print(table)
    print(
        "of {opened} sockets that say nothing {kept} were kept, {kept_after_10_s} after 10 s".format(
            **result["silent"]
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, nargs="+", default=[2000, 5000])
    parser.add_argument(
        "--hold-s", type=float, default=45.0, help="how long they are held: longer than a ping takes"
    )
    parser.add_argument("--silent", type=int, default=3000, help="sockets that never begin a handshake")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    allow_descriptors(2 * max(*arguments.connections, arguments.silent))
    most = max(arguments.connections) + 2 * NUM_FIRST
    measured = asyncio.run(measure(arguments.connections, arguments.hold_s, arguments.silent, most))
    show(measured)
    if arguments.output:
        write_result(arguments.output, {"benchmark": "idle_connections", **environment(), **measured})


if __name__ == "__main__":
    main()
