"""The proxy does what its faults say, and the same again with the same seed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.faults.chaos_proxy import (
    FAITHFUL,
    Blackhole,
    Delay,
    Drop,
    Fault,
    HalfClose,
    Link,
    Reset,
    Slice,
    Throttle,
    proxied,
)

DATA = bytes(range(256)) * 40


class _Server:
    """Sends `DATA` to every client, keeps what comes, and ends when its client does."""

    def __init__(self) -> None:
        self.received = b""
        self.reads: list[int] = []
        self.is_over = asyncio.Event()
        self.error: OSError | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(DATA)
        try:
            while data := await reader.read(1000):
                self.received += data
                self.reads.append(len(data))
            await writer.drain()
        except OSError as error:
            self.error = error
        writer.close()
        self.is_over.set()


@contextlib.asynccontextmanager
async def _through(
    to_server: Fault = FAITHFUL, to_client: Fault = FAITHFUL, seed: int = 0
) -> AsyncIterator[tuple[_Server, asyncio.StreamReader, asyncio.StreamWriter]]:
    server = _Server()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        async with proxied(port, to_server=to_server, to_client=to_client, seed=seed) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            try:
                yield server, reader, writer
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()


@pytest.mark.parametrize("fault", [FAITHFUL, Delay(0.0, 0.01), Slice(300), Throttle(500_000.0)], ids=str)
async def test_what_only_slows_or_parts_loses_nothing(fault: Fault) -> None:
    """Both directions arrive whole, and so do their ends."""
    async with asyncio.timeout(5), _through(fault, fault) as (server, reader, writer):
        writer.write(DATA)
        writer.write_eof()
        assert await reader.read(-1) == DATA
        assert server.received == DATA


async def test_slices_are_small() -> None:
    """A reader is given bytes one at a time, as far as it is quick enough."""
    async with asyncio.timeout(5), _through(Slice(1)) as (server, reader, writer):
        writer.write(DATA[:200])
        writer.write_eof()
        await reader.read(-1)
        assert server.received == DATA[:200] and len(server.reads) > 50


async def test_a_throttle_holds_back() -> None:
    """At a byte a second hardly anything has come while something quick is done."""
    async with asyncio.timeout(5), _through(to_client=Throttle(50.0)) as (_, reader, _):
        assert len(await reader.read(1)) == 1
        await asyncio.sleep(0.02)
        assert len(await reader.read(1000)) < 100


@pytest.mark.parametrize("position", [0, 1, 700, 4095, 4096, 4097, 9000])
async def test_bytes_are_dropped_where_it_is_said(position: int) -> None:
    """Those three, wherever the borders of reads lie."""
    async with asyncio.timeout(5), _through(to_client=Drop(position, 3)) as (_, reader, writer):
        writer.write_eof()
        assert await reader.read(-1) == DATA[:position] + DATA[position + 3 :]


@pytest.mark.parametrize("position", [0, 5000])
async def test_a_black_hole_passes_neither_bytes_nor_an_end(position: int) -> None:
    """Neither peer hears anything more, in either direction."""
    async with asyncio.timeout(5), _through(to_client=Blackhole(position)) as (server, reader, writer):
        assert await reader.readexactly(position) == DATA[:position]
        await asyncio.sleep(0.02)
        writer.write(b"hello")
        writer.write_eof()
        for silent in (reader.read(1), server.is_over.wait()):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(silent, 0.05)
        assert server.received == b""


@pytest.mark.parametrize("is_upstream", [False, True])
async def test_a_reset_is_felt_by_both(is_upstream: bool) -> None:
    """It is an RST and no end."""
    faults = (Reset(10), FAITHFUL) if is_upstream else (FAITHFUL, Reset(10))
    async with asyncio.timeout(5), _through(*faults) as (server, reader, writer):
        writer.write(b"x" * 20)
        with pytest.raises(ConnectionResetError):
            while await reader.read(1000):
                pass
        await server.is_over.wait()
        assert isinstance(server.error, ConnectionResetError)
        assert len(server.received) <= 10 or not is_upstream


async def test_a_half_close_leaves_the_other_direction() -> None:
    """The server has the beginning and an end, and the client hears all that is said to it."""
    async with asyncio.timeout(5), _through(HalfClose(4)) as (server, reader, writer):
        writer.write(b"0123456789")
        assert await reader.read(-1) == DATA
        assert server.received == b"0123"


async def test_the_same_seed_does_the_same() -> None:
    """What is drawn depends on the seed, on which connection it is, and on the direction."""

    async def drawn(seed: int) -> list[int]:
        draws: list[int] = []

        class Draw(Fault):
            async def carry(self, link: Link, data: bytes) -> None:
                draws.append(link.chance.randint(0, 10**9))
                await link.send(data)

        async with asyncio.timeout(5), _through(Draw(), seed=seed) as (server, _, writer):
            writer.write(b"x")
            writer.write_eof()
            await server.is_over.wait()
        return draws

    once, again, other = await drawn(1), await drawn(1), await drawn(2)
    assert once == again != other and len(once) == 1
