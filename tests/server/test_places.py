"""Connections are counted, and those that have shown nothing take no place from those that have."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from streamer.config import LimitsConfig
from streamer.server import places
from streamer.server.client_address import counted_as, peer_of
from streamer.server.places import Places
from tests.server.speaking import Running, configured, eventually, figure, running


def test_places_are_counted_by_address() -> None:
    """Full is full, for one address and for all, until a connection leaves."""
    counted = Places(LimitsConfig(max_connections=3, max_connections_per_address=2))
    first = [counted.connect(address) for address in "aab"]
    assert [place.claim() for place in first] == [None] * 3
    late, other = counted.connect("a"), counted.connect("c")
    assert (late.claim(), other.claim()) == ("server_full", "server_full")
    first[2].leave()
    assert (late.claim(), other.claim()) == ("address_full", None)
    first[0].leave()
    assert (late.claim(), late.claim(), late.is_claimed) == (None, None, True)
    for place in (first[1], late, other):
        place.leave()
    assert counted.num_taken == 0


def test_the_oldest_that_has_shown_nothing_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same address if that has as many as it may; what was let in stays."""
    monkeypatch.setattr(places, "MIN_UNPROVEN_PER_ADDRESS", 1)
    gone: list[str] = []
    counted = Places(LimitsConfig(max_connections_per_address=3))
    for name in ("a1", "a2", "b1", "a3", "a4", "a5"):
        place = counted.connect(name[0])
        place.evict = lambda name=name: gone.append(name)  # type: ignore[misc]
        if name == "a2":
            assert place.claim() is None
    assert gone == ["a1"]
    assert counted.num_taken == 5


def test_those_that_have_shown_nothing_are_bounded_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it the address that has most gives one up, and not one that has few."""
    monkeypatch.setattr(places, "UNPROVEN", 5)
    gone: list[str] = []
    counted = Places(LimitsConfig())
    for name in ("b", "a1", "a2", "a3", "c", "d", "e"):
        counted.connect(name[0]).evict = lambda name=name: gone.append(name)  # type: ignore[misc]
    assert gone == ["a1", "a2"]


def test_clients_of_ports_without_keys_leave_places_to_those_with_keys() -> None:
    """Neither the places of an address nor more than half of all are theirs."""
    counted = Places(LimitsConfig(max_connections=8, max_connections_per_address=2))
    assert [counted.connect("a").claim(has_key=False) for _ in range(3)] == [None, None, "address_full"]
    assert [counted.connect("a").claim() for _ in range(3)] == [None, None, "address_full"]
    assert [counted.connect(name).claim(has_key=False) for name in "bcd"] == [None, None, "server_full"]
    assert [counted.connect(name).claim() for name in "ef"] == [None, None]
    assert counted.connect("g").claim() == "server_full"


def test_requests_are_counted_by_connection_and_by_address() -> None:
    """One connection has its burst, many of one address have that of the address, and other addresses their own."""
    now_s = 0.0
    counted = Places(LimitsConfig(max_connections_per_address=50), lambda: now_s)
    ones = [counted.connect("a") for _ in range(5)]
    assert [ones[0].spend() for _ in range(100)] == [0.0] * 100
    assert ones[0].spend() == pytest.approx(1 / 50)
    for place in ones[1:]:
        for _ in range(100):
            last_s = place.spend()
    assert last_s == pytest.approx(101 / 200)
    assert counted.connect("b").spend() == 0.0
    now_s = 10.0
    assert ones[0].spend() == 0.0


def test_budgets_of_addresses_that_are_gone_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses that come and go take no memory for good, and one that still owes is remembered."""
    monkeypatch.setattr(places, "_MAX_BUDGETS", 10)
    now_s = 0.0
    counted = Places(LimitsConfig(), lambda: now_s)
    for number in range(100):
        counted.requests_of(str(number)).spend(1)
        counted.requests_of("much").spend(100_000)
        now_s += 1.0
    assert len(counted._requests) <= 10
    assert counted.requests_of("much").spend(0) > 0


@pytest.mark.parametrize("per_address", [1, 64, 2000])
def test_what_others_of_an_address_asked_for_is_waited_for_a_little_only(per_address: int) -> None:
    """Clients that ask and leave cannot make those who come later wait for longer than a burst takes."""
    counted = Places(LimitsConfig(max_connections_per_address=per_address), lambda: 0.0)
    for _ in range(10_000):
        place = counted.connect("10.0.0.1")
        place.spend(10)
        place.leave()
    assert (
        0
        < counted.connect("10.0.0.1").spend()
        <= places.ADDRESS_REQUESTS_BURST / places.ADDRESS_REQUESTS_PER_S
    )


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (("127.0.0.1", 1), "127.0.0.1"),
        (("203.0.113.7", 1), "203.0.113.7"),
        (("::ffff:203.0.113.7", 1, 0, 0), "203.0.113.7"),
        (("::1", 1, 0, 0), "::1"),
        (("2001:db8:1:2:3:4:5:6", 1, 0, 0), "2001:db8:1:2::/64"),
        (("2001:db8:1:2:ffff::1", 1, 0, 0), "2001:db8:1:2::/64"),
        (("2001:db8:1:3::1", 1, 0, 0), "2001:db8:1:3::/64"),
        (("fe80::1%eth0", 1, 0, 2), "fe80::/64"),
        ("", "local"),
        (None, "local"),
    ],
)
def test_a_client_is_counted_by_its_network(peer: object, address: str) -> None:
    """A customer has a /64 of IPv6 at least, and so as many addresses as they like."""
    assert counted_as(peer_of(peer)) == address


@contextlib.asynccontextmanager
async def _with_keys(tmp_path: Path, **limits: Any) -> AsyncIterator[Running]:
    (tmp_path / "keys").write_text("secret\n")
    config = configured(server={"api_keys_file": tmp_path / "keys", "wyoming_port": 0}, **limits)
    async with running(config) as server:
        yield server


WAYS = ["silent", "half a request", "sessions before auth", "half a handshake", "wyoming"]


@pytest.mark.parametrize("way", WAYS)
async def test_sockets_without_a_key_lock_out_nobody(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients of the same address that hold keys get in, in each way that keys come, and probes are answered."""
    monkeypatch.setattr(places, "MIN_UNPROVEN_PER_ADDRESS", 1)
    async with (
        _with_keys(tmp_path, max_connections=12, max_connections_per_address=3) as server,
        contextlib.AsyncExitStack() as lines,
    ):
        port = server.server.tcp_ports[0] if way == "wyoming" else server.server.port
        for _ in range(8):
            if way == "sessions before auth":
                await lines.enter_async_context(connect(server.address, proxy=None))
                continue
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            lines.callback(writer.close)
            if way == "half a request":
                writer.write(b"POST /v1/speech HTTP/1.1\r\n")
            elif way == "half a handshake":
                writer.write(b"GET /v1/stream HTTP/1.1\r\nUpgrade: websocket\r\n")
            await asyncio.sleep(0.01)
        key = {"Authorization": "Bearer secret"}
        async with connect(server.address, proxy=None, additional_headers=key) as client:
            assert json.loads(await client.recv())["type"] == "session"
        async with connect(server.address, proxy=None) as client:
            await client.send(json.dumps({"type": "auth", "token": "secret"}))
            await client.send(json.dumps({"type": "ping", "t": "a"}))
            while json.loads(await client.recv())["type"] != "pong":
                pass
        for path in ("/livez", "/readyz", "/metrics", "/v1/voices"):
            assert (await server.get(path))[0] == 200
        await eventually(lambda: server.server.num_connections <= 6)
        rejected = figure(server.server, "tts_connections_rejected_total", reason="unproven")
        assert way == "wyoming" or rejected


async def test_a_client_whose_key_follows_is_told_that_there_is_no_place(tmp_path: Path) -> None:
    """Its place is taken when the key has come, among those of clients with keys."""
    key = {"Authorization": "Bearer secret"}
    async with (
        _with_keys(tmp_path, max_connections_per_address=1) as server,
        connect(server.address, proxy=None, additional_headers=key) as first,
        connect(server.address, proxy=None) as second,
    ):
        await second.send(json.dumps({"type": "auth", "token": "secret"}))
        while (message := json.loads(await second.recv()))["type"] != "error":
            pass
        assert message["code"] == "overloaded" and message["retry_after_s"]
        await first.close()
        await second.wait_closed()
        assert second.close_code == 1013
        assert figure(server.server, "tts_connections_rejected_total", reason="address_full") == 1
