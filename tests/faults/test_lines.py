"""What a bad line does to a client, by every protocol: nothing, or it ends them, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path

import pytest

from streamer import server
from streamer.server import connection, http_connection, message_reader, websocket
from tests.fakes.synthesizer import FakeSynthesizer
from tests.faults.chaos_proxy import (
    FAITHFUL,
    Blackhole,
    Delay,
    Drop,
    Fault,
    HalfClose,
    Reset,
    Slice,
    Throttle,
    proxied,
)
from tests.faults.conversations import (
    CONVERSATIONS,
    Converse,
    at,
    deepgram,
    for_all,
    native,
    native_http,
    port_of,
    told,
    wyoming,
)
from tests.server.speaking import Running, eventually, figure, running

LINES_AT_ONCE = 8
"""How many connections are spoiled side by side, each at another place."""
every_protocol = pytest.mark.parametrize("converse", CONVERSATIONS, ids=lambda converse: converse.__name__)


async def _through(
    server: Running,
    converse: Converse,
    to_server: Fault = FAITHFUL,
    to_client: Fault = FAITHFUL,
    *,
    seed: int = 0,
    timeout_s: float = 5.0,
) -> bytes | Exception:
    port = port_of(server, converse)
    async with proxied(port, to_server=to_server, to_client=to_client, seed=seed) as proxy:
        return await told(converse, at(proxy.port), timeout_s)


def test_every_protocol_has_a_conversation() -> None:
    """A protocol that is added is put under these faults, too."""
    folders = {path.parent.name for path in Path(server.__file__).parent.glob("*/endpoints.py")}
    assert folders <= {converse.__name__ for converse in CONVERSATIONS}


@every_protocol
async def test_a_line_that_is_slow_or_parts_what_is_sent_changes_nothing(converse: Converse) -> None:
    """The sound is what it is over a good line, whether bytes come late, in shreds, or at 30 kB/s."""
    faults = (Delay(0.0, 0.005), Slice(40), Slice(3000), Throttle(300_000.0))
    async with running(for_all()) as server:
        expected = await converse(server)
        got = await asyncio.gather(
            *(_through(server, converse, fault, fault, seed=seed) for seed, fault in enumerate(faults))
        )
        for fault, sound in zip(faults, got, strict=True):
            assert sound == expected, fault


@pytest.mark.parametrize("spoil", [Reset, HalfClose, Drop], ids=lambda spoil: spoil.__name__)
@every_protocol
async def test_a_line_that_breaks_ends_one_client_alone(converse: Converse, spoil: type[Fault]) -> None:
    """Wherever it breaks, nothing of that client's is left, and a neighbour hears the same bytes as alone."""
    chance = random.Random(f"{converse.__name__} {spoil.__name__}")
    async with running(for_all(auth_timeout_s=0.5), FakeSynthesizer(speed=20.0)) as server:
        expected = await native(server)
        lines = []
        for number in range(LINES_AT_ONCE):
            fault = spoil(int(chance.expovariate(1 / 300)))
            faults = (fault, FAITHFUL) if number % 2 else (FAITHFUL, fault)
            lines.append(_through(server, converse, *faults, timeout_s=0.5))
        neighbour, *_ = await asyncio.gather(native(server), *lines)
        assert neighbour == expected


@every_protocol
async def test_a_peer_that_only_seems_to_be_there_is_given_up(
    converse: Converse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that is dead without a word holds a connection no longer than the time that is set for it."""
    monkeypatch.setattr(websocket, "PING_TIMEOUT_S", 0.1)
    monkeypatch.setattr(websocket, "CLOSE_TIMEOUT_S", 0.1)
    monkeypatch.setattr(message_reader, "MESSAGE_TIMEOUT_S", 0.1)
    monkeypatch.setattr(connection, "LINGER_S", 0.1)
    monkeypatch.setattr(http_connection, "KEEP_ALIVE_S", 0.1)
    limits = {"ping_interval_s": 0.1, "auth_timeout_s": 0.3, "write_timeout_s": 0.3}
    if converse is wyoming:  # which has no pings that a server may send
        limits["idle_timeout_s"] = 0.3
    async with (
        running(for_all(**limits)) as server,
        asyncio.TaskGroup() as clients,
        contextlib.AsyncExitStack() as lines,
    ):
        for number, position in enumerate((0, 1, 20, 60, 400, 2000, 9000)):
            black_hole = Blackhole(position)
            faults = (black_hole, FAITHFUL) if number < 4 else (FAITHFUL, black_hole)
            line = proxied(port_of(server, converse), to_server=faults[0], to_client=faults[1])
            proxy = await lines.enter_async_context(line)
            clients.create_task(told(converse, at(proxy.port), 60.0))
            await eventually(lambda proxy=proxy: proxy.num_connections == 1)
        await eventually(lambda: server.server.num_connections == 0)


@pytest.mark.parametrize("converse", [native, native_http, deepgram, wyoming], ids=lambda one: one.__name__)
async def test_a_client_that_takes_a_byte_now_and_then_is_cut(
    converse: Converse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That something is taken still gives it no more time, and what was made for it is given up."""
    monkeypatch.setattr(connection, "SEND_BUFFER_BYTES", 4096)
    config = for_all(write_timeout_s=0.2, speech={"lead_ms": None})
    synthesizer = FakeSynthesizer(ms_per_char=2000.0, chunk_ms=2000)
    async with running(config, synthesizer) as server, asyncio.TaskGroup() as clients:
        line = proxied(port_of(server, converse), to_client=Throttle(500.0))
        async with line as proxy:
            clients.create_task(told(converse, at(proxy.port), 60.0))
            await eventually(lambda: figure(server.server, "tts_slow_client_closed_total") == 1)
            await eventually(lambda: synthesizer.num_open == 0)
