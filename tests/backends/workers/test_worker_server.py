"""The process of a worker: where it listens, whom it lets in, what its probes say, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import struct
from collections.abc import AsyncIterator
from unittest import mock

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streamer.backends.workers import worker_server as module
from streamer.errors import ConfigError, EngineError
from tests.backends.workers.fleet import front_end, request, speak, until, worker, worker_server
from tests.fakes.synthesizer import FakeSynthesizer


@contextlib.asynccontextmanager
async def line(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def get(port: int, path: str) -> tuple[int, str]:
    async with line(port) as (reader, writer):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    return int(head.split()[1]), body.strip()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::1", "127.0.0.1", "localhost"])
async def test_an_open_address_needs_a_token(host: str) -> None:
    """Without a secret a worker listens on this machine only, whatever the address is called."""
    server = worker_server(FakeSynthesizer(), host=host)
    try:
        if host in ("0.0.0.0", "::"):
            with pytest.raises(ConfigError, match="set worker_token_file, or listen on 127") as refused:
                await server.start()
            assert refused.value.param == "worker_host"
            server = worker_server(FakeSynthesizer(), host=host, token="a long enough secret")
        await server.start()
    except ConfigError as error:
        if "::" in host and "address" in error.message:
            pytest.skip("no IPv6 here")
        raise
    server.stop()
    await server.run_until_stopped()


async def test_a_port_that_is_taken_is_named() -> None:
    """The message names the worker's own option."""
    async with worker() as one:
        with pytest.raises(ConfigError, match=f"worker_port {one.port}: another program listens"):
            await worker_server(FakeSynthesizer(), port=one.port).start()


async def test_no_page_may_connect() -> None:
    """A browser tells its page's origin, and a front end has none."""
    async with worker() as one:
        for origin in ("http://127.0.0.1:8765", "https://example.com", "null"):
            with pytest.raises(InvalidStatus, match="403"):
                async with connect(one.address, origin=origin, proxy=None):
                    pass


async def test_probes_say_whether_it_lives_and_is_ready() -> None:
    """Alive while it loads, ready once it has spoken, not ready while it drains; other paths are handshakes."""
    fake = FakeSynthesizer(warm_up_s=30)
    server = worker_server(fake)
    starting = asyncio.create_task(server.start())
    await until(lambda: server._server)
    port = int(server.address.rpartition(":")[2])
    assert await get(port, "/livez") == (200, "ok")
    assert await get(port, "/readyz") == (503, "the model makes its first sound")
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await starting
    async with worker(FakeSynthesizer(speed=1)) as one, front_end(one) as front:
        assert await get(one.port, "/readyz") == (200, "ok")
        assert (await get(one.port, "/v1/voices"))[0] == 426
        speaking = asyncio.create_task(speak(front, request()))
        await until(lambda: one.fake.num_open)
        async with line(one.port) as (reader, writer):
            one.server.stop()
            await until(lambda: one.server.worker.is_draining)
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            with contextlib.suppress(OSError):
                assert b"200" not in (await reader.read())[:15]
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)


@pytest.mark.parametrize("size", [module.MAX_REQUEST_BYTES + 1, 2**62])
async def test_a_frame_beyond_the_limit_is_not_read(size: int) -> None:
    """The connection is closed with 1009 as soon as the frame says how long it is."""
    handshake = (
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    async with worker() as one, line(one.port) as (reader, writer):
        writer.write(handshake.encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        writer.write(b"\x82\xff" + struct.pack("!Q", size) + b"mask")
        closing = await reader.readexactly(4)
        assert closing[0] == 0x88 and struct.unpack("!H", closing[2:])[0] == 1009


async def test_connections_beyond_the_cap_are_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are accepted and closed with 1013, so that a proxy in between does not take it for a failure."""
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 0)
    async with worker() as one, connect(one.address, proxy=None) as connection:
        with pytest.raises(ConnectionClosed) as closed:
            await connection.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1013, "retry_after_s=0.500")


async def test_an_engine_that_dies_ends_the_process() -> None:
    """Its front ends are told, and a supervisor sees the exit status of an engine that died."""
    fake = FakeSynthesizer()
    server = worker_server(fake)
    await server.start()
    running = asyncio.create_task(server.run_until_stopped())
    async with connect(server.address, proxy=None) as connection:
        fake.die("a step hangs")
        with pytest.raises(EngineError, match="a step hangs"):
            await running
        with pytest.raises(ConnectionClosed):
            await connection.recv()
    assert fake.is_closed


async def test_a_drain_is_cut_when_its_time_is_up() -> None:
    """A sentence that does not end holds the process only for `drain_timeout_s`."""
    async with worker(drain_timeout_s=0.05) as one, front_end(one) as front:
        one.fake.stall_on = "Hello"
        speaking = asyncio.create_task(speak(front, request()))
        await until(lambda: one.fake.num_open)
        one.server.stop()
        await until(lambda: one.fake.is_closed)
        assert one.fake.num_open == 0
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)


async def test_a_worker_may_speak_tls() -> None:
    """With the server's certificate its address is wss://, and plain connections are no front ends."""
    server = worker_server(FakeSynthesizer())
    server._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    await server.start()
    assert server.address.startswith("wss://127.0.0.1:")
    server.stop()
    await server.run_until_stopped()


async def test_a_connection_that_arrives_while_it_closes_is_closed() -> None:
    """Its handshake has ended just before, so that nobody else would close it."""

    arriving = mock.AsyncMock(spec=ServerConnection)
    async with worker() as one:
        one.server.stop()
        await until(lambda: one.server._is_closing)
        await asyncio.wait_for(one.server._converse(arriving), 5)
    arriving.close.assert_awaited_once_with(1001)


async def test_voices_are_looked_at_while_it_serves() -> None:
    """From the first moment until it stops, and all files are read again on SIGHUP."""
    is_watching, num_reloads = [], []

    class Reloads:
        async def watch(self) -> None:
            is_watching.append(True)
            try:
                await asyncio.Event().wait()
            finally:
                is_watching.clear()

        async def reload(self) -> None:
            num_reloads.append(1)

    async with worker(reloads=Reloads()):
        await until(lambda: is_watching)
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: num_reloads)
    assert not is_watching
