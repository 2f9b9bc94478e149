"""A TCP proxy that does to its connections what bad networks do: a `Fault` for each direction, drawn from a seed."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, Protocol

READ_BYTES: Final = 4096
"""The most bytes that the proxy holds of one direction, so that it hides no client that reads slowly."""
_FOREVER_S: Final = 3600.0
_LINGER_NOT: Final = struct.pack("ii", 1, 0)  # a close with this SO_LINGER is an RST


class Line:
    """Both directions of one connection."""

    def __init__(self, ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter]) -> None:
        self.is_dead = False
        self._ends = ends

    def reset(self) -> None:
        """Send an RST to both ends."""
        self.is_dead = True
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            end.transport.abort()


class Link:
    """One direction of a connection."""

    def __init__(
        self, line: Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chance: random.Random
    ) -> None:
        self.line = line
        self.chance = chance
        self.num_taken = 0
        """How many bytes came before those that are being carried."""
        self._reader = reader
        self._writer = writer
        self._has_ended = False

    async def send(self, data: bytes) -> None:
        """Pass bytes on, once the far end takes them; never, if the line is dead."""
        if self.line.is_dead:
            await asyncio.sleep(_FOREVER_S)
        if data:
            self._writer.write(data)
            await self._writer.drain()

    async def end(self) -> None:
        """Send a FIN, unless one was sent."""
        await self.send(b"")
        if not self._has_ended and not self._writer.is_closing():
            self._has_ended = True
            self._writer.write_eof()

    async def carry_all(self, fault: Fault) -> None:
        """Carry what comes, to its end, which passes, too."""
        try:
            while data := await self._reader.read(READ_BYTES):
                await fault.carry(self, data)
                self.num_taken += len(data)
            await self.end()
        except OSError:
            if not self.line.is_dead:
                self.line.reset()


class Fault(Protocol):
    """What happens to the bytes of one direction. `after_bytes` is the position in them at which it happens."""

    async def carry(self, link: Link, data: bytes) -> None:
        """Do with these bytes what the fault does."""
        ...


@dataclass(frozen=True)
class Faithful:
    """Everything arrives."""

    async def carry(self, link: Link, data: bytes) -> None:
        await link.send(data)


FAITHFUL: Final = Faithful()


@dataclass(frozen=True)
class Delay:
    """Everything arrives late, by a time that varies."""

    shortest_s: float
    longest_s: float

    async def carry(self, link: Link, data: bytes) -> None:
        await asyncio.sleep(link.chance.uniform(self.shortest_s, self.longest_s))
        await link.send(data)


@dataclass(frozen=True)
class Slice:
    """Everything arrives, in pieces of 1 to `max_bytes` bytes."""

    max_bytes: int

    async def carry(self, link: Link, data: bytes) -> None:
        while data:
            size = link.chance.randint(1, self.max_bytes)
            await link.send(data[:size])
            await asyncio.sleep(0)
            data = data[size:]


@dataclass(frozen=True)
class Throttle:
    """Everything arrives at this rate."""

    bytes_per_s: float

    async def carry(self, link: Link, data: bytes) -> None:
        size = max(1, round(self.bytes_per_s / 50))
        for start in range(0, len(data), size):
            await asyncio.sleep(size / self.bytes_per_s)
            await link.send(data[start : start + size])


@dataclass(frozen=True)
class Drop:
    """Some bytes never arrive, and what follows them does."""

    after_bytes: int
    num_bytes: int = 1

    async def carry(self, link: Link, data: bytes) -> None:
        begin = max(0, self.after_bytes - link.num_taken)
        end = max(0, self.after_bytes + self.num_bytes - link.num_taken)
        await link.send(data[:begin] + data[end:])


@dataclass(frozen=True)
class Blackhole:
    """From here on nothing passes in either direction, not even an end: both peers believe in an open connection."""

    after_bytes: int

    async def carry(self, link: Link, data: bytes) -> None:
        before, is_there = _until(link, data, self.after_bytes)
        await link.send(before)
        link.line.is_dead |= is_there


@dataclass(frozen=True)
class Reset:
    """The connection is torn down with an RST to both ends."""

    after_bytes: int

    async def carry(self, link: Link, data: bytes) -> None:
        before, is_there = _until(link, data, self.after_bytes)
        await link.send(before)
        if is_there:
            link.line.reset()


@dataclass(frozen=True)
class HalfClose:
    """This direction ends with a FIN, and what is sent in it later is lost; the other one continues."""

    after_bytes: int

    async def carry(self, link: Link, data: bytes) -> None:
        before, is_there = _until(link, data, self.after_bytes)
        await link.send(before)
        if is_there:
            await link.end()


def _until(link: Link, data: bytes, position: int) -> tuple[bytes, bool]:
    """Return what lies before this position, and whether it has been reached."""
    size = max(0, position - link.num_taken)
    return data[:size], len(data) >= size


class ChaosProxy:
    """Stands before a server on this machine; `port` is where clients find it instead."""

    def __init__(self, server_port: int, to_server: Fault, to_client: Fault, seed: int) -> None:
        self.port = 0
        self.num_connections = 0
        """The connections so far, both ends of each of which are there."""
        self._server_port = server_port
        self._faults = to_server, to_client
        self._seed = seed
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> asyncio.Server:
        """Listen."""
        listening = socket.create_server(("127.0.0.1", 0))
        # Accepted connections inherit the small buffer.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, READ_BYTES)
        self.port = listening.getsockname()[1]
        return await asyncio.start_server(self._accept, sock=listening, limit=READ_BYTES)

    async def close(self) -> None:
        """Cut every connection."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._connect(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._ended, writer))

    def _ended(self, writer: asyncio.StreamWriter, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READ_BYTES)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self._server_port))
        far_reader, far_writer = await asyncio.open_connection(sock=sock, limit=READ_BYTES)
        number, self.num_connections = self.num_connections, self.num_connections + 1
        line = Line((writer, far_writer))
        for end in (writer, far_writer):
            end.transport.set_write_buffer_limits(0)
            # asyncio does this only for sockets that it made itself, and slices would be joined again.
            end.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        to_server = Link(line, reader, far_writer, random.Random(f"{self._seed} {number} to the server"))
        to_client = Link(line, far_reader, writer, random.Random(f"{self._seed} {number} to the client"))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(to_server.carry_all(self._faults[0]))
                tasks.create_task(to_client.carry_all(self._faults[1]))
        except asyncio.CancelledError:
            far_writer.transport.abort()
            raise
        for end in (writer, far_writer):
            end.close()


@contextlib.asynccontextmanager
async def proxied(
    server_port: int, *, to_server: Fault = FAITHFUL, to_client: Fault = FAITHFUL, seed: int = 0
) -> AsyncIterator[ChaosProxy]:
    """A proxy before the server on this port, which cuts what is open in the end."""
    proxy = ChaosProxy(server_port, to_server, to_client, seed)
    async with await proxy.serve():
        try:
            yield proxy
        finally:
            await proxy.close()
