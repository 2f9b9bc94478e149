"""An idle connection costs little, and one whose client has vanished does not stay."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import tracemalloc
from collections.abc import Iterable

import pytest

from streamer.config import LimitsConfig
from streamer.server import connection, websocket
from streamer.server.accepting import Connections
from tests.server.speaking import Running, configured, eventually, figure, running

HANDSHAKE = (
    b"GET /v1/stream HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
NUM_FIRST, NUM_CONNECTIONS = 10, 200
MAX_BYTES = 14 * 1024
"""Of one of them, beside what is not Python's; a bare WebSocket of the `websockets` package takes 15 KiB in all."""
TIMEOUT_S = 30.0
"""How long a test waits for what the server has to send."""
GREETING = b'"type":"session"'
PING_HEAD = b"\x89\x04"
PONG_HEAD = b"\x8a\x84\0\0\0\0"
"""A pong with four bytes, whose mask is zero (RFC 6455, section 5.2)."""
QUESTION, ANSWER = b"\x81\x8f\0\0\0\0" + b'{"type":"ping"}', b'"type":"pong"'
"""A message of the protocol's own, and what answers it."""


async def _connect(server: Running, number: int, stack: contextlib.AsyncExitStack) -> list[socket.socket]:
    lines = []
    for _ in range(number):
        line = stack.enter_context(socket.create_connection(("127.0.0.1", server.server.port)))
        line.sendall(HANDSHAKE)
        await asyncio.sleep(0)  # it is accepted, or the kernel's queue would be full soon
        lines.append(line)
    return lines


def _read_past(line: socket.socket, received: bytes, wanted: bytes, num_more: int = 0) -> tuple[bytes, bytes]:
    """Return so many bytes behind `wanted`, and all that comes behind those."""
    while (place := received.find(wanted)) < 0 or len(received) < place + len(wanted) + num_more:
        data = line.recv(65_536)
        assert data, "the server has ended the connection"
        received += data
    end = place + len(wanted)
    return received[end : end + num_more], received[end + num_more :]


def _hear(lines: Iterable[socket.socket], *, is_pinged: bool) -> None:
    """Wait for the greeting of each session, answer a ping, and wait until the server has read what follows that."""
    for line in lines:
        line.settimeout(TIMEOUT_S)
        _, received = _read_past(line, b"", GREETING)
        if is_pinged:
            sent, received = _read_past(line, received, PING_HEAD, 4)
            line.sendall(PONG_HEAD + sent + QUESTION)
            _read_past(line, received, ANSWER)


@pytest.mark.parametrize("is_pinged", [False, True])
async def test_an_idle_session_has_two_tasks_and_takes_little_memory(is_pinged: bool) -> None:
    """One task waits for the connection's bytes, and one for the client's messages; pings leave nothing behind."""
    interval_s = 0.05 if is_pinged else 600.0
    async with (
        running(configured(max_connections_per_address=1000, ping_interval_s=interval_s)) as server,
        contextlib.AsyncExitStack() as stack,
    ):
        lines = await _connect(server, NUM_FIRST, stack)
        await asyncio.to_thread(_hear, lines, is_pinged=is_pinged)
        gc.collect()
        num_tasks = len(asyncio.all_tasks())
        tracemalloc.start()
        try:
            lines = await _connect(server, NUM_CONNECTIONS, stack)
            await asyncio.to_thread(_hear, lines, is_pinged=is_pinged)
            await eventually(lambda: len(asyncio.all_tasks()) == num_tasks + 2 * NUM_CONNECTIONS)
            assert figure(server.server, "tts_connections") == NUM_FIRST + NUM_CONNECTIONS
            gc.collect()
            num_bytes = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert num_bytes / NUM_CONNECTIONS < MAX_BYTES, num_bytes / NUM_CONNECTIONS


def test_a_client_that_vanishes_is_gone_within_half_a_minute() -> None:
    """By the defaults: it answers a ping and is cut off at once, so the next one is sent after the interval."""
    assert LimitsConfig().ping_interval_s + websocket.PING_TIMEOUT_S + websocket.CLOSE_TIMEOUT_S <= 30
    assert sum(connection.KEEPALIVE_S) <= 30


async def test_the_kernel_looks_after_clients_that_no_protocol_pings() -> None:
    """Every accepted connection has TCP's keepalive, with our times."""
    async with running() as server, server.line():
        await eventually(lambda: server.server.num_connections == 1)
        opened = server.server._open
        assert isinstance(opened, Connections)
        ((accepted, *_),) = opened._open.values()
        assert accepted is not None
        sock: socket.socket = accepted.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle_s = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        interval_s = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
        num_probes = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
        assert idle_s + interval_s * num_probes <= 30
