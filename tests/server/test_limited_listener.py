"""An address that connects too often is dropped at the door, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket

import pytest

from streamer.config import LimitsConfig
from streamer.server import places
from streamer.server.limited_listener import ACCEPTED_COST, TURN, LimitedListener
from streamer.server.places import Places
from tests.server.speaking import configured, eventually, figure, read_answer, running

NEIGHBOUR = "127.0.0.2"


@pytest.mark.parametrize("has_wyoming", [False, True])
async def test_an_address_that_connects_too_often_is_dropped_and_others_are_served(
    has_wyoming: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On every port; the drops are counted, and one line in the log names the address."""
    monkeypatch.setattr(places, "ADDRESS_REQUESTS_PER_S", 1e-6)
    monkeypatch.setattr(places, "ADDRESS_REQUESTS_BURST", 1 / 8)  # of an address with 64 connections: 8
    caplog.set_level(logging.WARNING)
    options = {"wyoming_port": 0} if has_wyoming else {}
    async with running(configured(server=options)) as server:
        port = server.server.tcp_ports[0] if has_wyoming else server.server.port
        for _ in range(30):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
        name, labels = "tts_connections_rejected_total", {"reason": "too_often"}
        await eventually(lambda: figure(server.server, name, **labels) == 22)
        if not has_wyoming:
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n")
                await reader.readexactly(1)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", server.server.port, local_addr=(NEIGHBOUR, 0)
        )
        writer.write(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n")
        assert (await read_answer(reader))[0] == 200
        writer.close()
    (line,) = [record for record in caplog.records if "too many connects" in record.message]
    assert line.__dict__["address"] == "127.0.0.1"


async def test_a_proxy_that_is_trusted_may_connect_as_often_as_its_clients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What its clients ask for is counted by request."""
    monkeypatch.setattr(places, "ADDRESS_REQUESTS_PER_S", 1e-6)
    monkeypatch.setattr(places, "ADDRESS_REQUESTS_BURST", 1 / 8)
    async with running(configured(server={"trusted_proxies": ("127.0.0.0/8",)})) as server:
        for number in range(20):
            field = f"X-Forwarded-For: 203.0.113.{number}"
            request = f"GET /livez HTTP/1.1\r\nHost: test\r\n{field}\r\n\r\n"
            assert (await server.http(request.encode()))[0] == 200


@pytest.mark.parametrize(("limit", "num_at_once"), [(1, 128), (16, 128), (64, 512), (2000, 16_000)])
def test_the_rate_follows_from_the_connections_that_an_address_may_have(limit: int, num_at_once: int) -> None:
    """A burst at once, then at the rate, whatever was dropped meanwhile; other addresses have their own."""
    now_s = 0.0
    counted = Places(LimitsConfig(max_connections_per_address=limit), lambda: now_s)
    assert sum(counted.may_connect("a") for _ in range(num_at_once + 5000)) == num_at_once
    now_s = 0.5
    assert sum(counted.may_connect("a") for _ in range(num_at_once)) == num_at_once // 4
    assert counted.may_connect("b")
    now_s = 100.0
    assert sum(counted.may_connect("a") for _ in range(2 * num_at_once)) == num_at_once


@pytest.fixture
def listening() -> socket.socket:
    opened = socket.create_server(("127.0.0.1", 0), backlog=512)
    opened.setblocking(False)
    return opened


@pytest.mark.parametrize(("may_connect", "per_turn"), [(True, TURN // ACCEPTED_COST), (False, TURN)])
def test_a_turn_of_the_loop_drops_so_many(listening: socket.socket, may_connect: bool, per_turn: int) -> None:
    """Or accepts a part of that; then everything else has its turn, and what is left comes in the next."""
    asked: list[object] = []

    def ask(peer: object) -> bool:
        asked.append(peer)
        return may_connect

    with LimitedListener(listening, ask) as listener, contextlib.ExitStack() as clients:
        for _ in range(per_turn + 5):
            clients.enter_context(socket.create_connection(listener.getsockname()))
        for number in (per_turn, 5):
            with pytest.raises(BlockingIOError):
                while True:
                    listener.accept()[0].close()
            assert len(asked) == number
            asked.clear()


async def test_the_kernel_holds_as_many_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio listens once more, with 100 if it is told nothing."""
    backlogs: list[int] = []
    listen = socket.socket.listen

    def noted(self: socket.socket, backlog: int = 0) -> None:
        backlogs.append(backlog)
        listen(self, backlog)

    monkeypatch.setattr(socket.socket, "listen", noted)
    async with running() as server:
        assert server.server.port
    assert backlogs and set(backlogs) == {512}
