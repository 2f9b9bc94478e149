"""Events are read with bounds, however they are cut, and what cannot be read ends the connection with an error."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest

from streamer.server import message_reader
from streamer.server.light_event import LightEvent
from tests.server.speaking import Running, eventually
from tests.server.wyoming.speaking import wyoming


@contextlib.asynccontextmanager
async def line_to(speaking: Running) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", speaking.server.tcp_ports[0])
    try:
        yield reader, writer
    finally:
        writer.close()


async def read_event(reader: asyncio.StreamReader) -> tuple[str, dict[str, object]]:
    """Read an event by Wyoming's description alone."""
    header = json.loads(await asyncio.wait_for(reader.readline(), 5))
    data = json.loads(await reader.readexactly(header.get("data_length", 0)) or "{}")
    await reader.readexactly(header.get("payload_length", 0))
    return header["type"], data


PING = b'{"type": "ping", "data": {"text": "here"}}\n'
PING_BEHIND = b'{"type": "ping", "data_length": 16}\n{"text": "here"}'
PING_BOTH = b'{"type": "ping", "data": {"text": "there", "more": 1}, "data_length": 16}\n{"text": "here"}'
PING_LOADED = b'{"type": "ping", "data": {"text": "here"}, "payload_length": 5, "version": "1.8"}\n\n{"}\n'


@pytest.mark.parametrize("event", [PING, PING_BEHIND, PING_BOTH, PING_LOADED])
@pytest.mark.parametrize("step", [1, 7, 1000])
async def test_an_event_is_read_however_it_is_cut(event: bytes, step: int) -> None:
    """Data may stand in the line or behind it, a payload is dropped, and pieces may be of any length."""
    async with wyoming() as speaking, line_to(speaking) as (reader, writer):
        for start in range(0, 2 * len(event), step):
            writer.write((event + event)[start : start + step])
            await asyncio.sleep(0)
        for _ in range(2):
            assert await read_event(reader) == ("pong", {"text": "here"})


@pytest.mark.parametrize(
    "data",
    [
        b"hello\n",
        b"[]\n",
        b"\n",
        b"{}\n",
        b'{"type": 7}\n',
        b'{"type": "ping", "data": 7}\n',
        b'{"type": "ping", "data_length": -1}\n',
        b'{"type": "ping", "data_length": 1e999}\n',
        b'{"type": "ping", "data_length": true}\n',
        b'{"type": "ping", "data_length": 99999999999999999999}\n',
        b'{"type": "ping", "data_length": 65537}\n',
        b'{"type": "ping", "payload_length": 65537}\n',
        b'{"type": "' + b"p" * 200 + b'"}\n',
        b"\xff\xfe\n",
        b"[" * 60_000 + b"\n",
        b'{"type": "ping", "data": ' + b"[" * 50_000 + b"\n",
        b"x" * 70_000,
        b'{"type": "ping", "data_length": 2}\n[]',
        b'{"type": "synthesize", "data": {"text": "a"}, "data_length": 3}\n\xff\xff\xff',
    ],
    ids=lambda data: repr(data[:30]),
)
async def test_what_cannot_be_read_is_one_error_and_the_end(data: bytes) -> None:
    """The server says what was wrong and closes; it neither waits for more nor keeps anything."""
    async with wyoming() as speaking:
        async with line_to(speaking) as (reader, writer):
            writer.write(data)
            kind, error = await read_event(reader)
            assert kind == "error" and error["text"] and error["code"]
            assert await asyncio.wait_for(reader.read(), 5) == b""
        await eventually(lambda: not speaking.server.num_connections)


async def test_half_an_event_holds_nothing_once_its_client_is_gone() -> None:
    """A connection that ends in mid-event is over."""
    async with wyoming() as speaking:
        async with line_to(speaking) as (_, writer):
            writer.write(PING_BEHIND[:-3])
        await eventually(lambda: not speaking.server.num_connections)


@pytest.mark.parametrize(
    "begun",
    [
        b"{",
        PING[:-1],
        PING_BEHIND[:-1],
        b'{"type": "ping", "data_length": 16}\n',
        b'{"type": "ping", "payload_length": 5}\n',
        b'{"type": "ping", "payload_length": 5}\n1234',
    ],
)
async def test_an_event_that_does_not_end_closes_the_connection(
    begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has begun must come in time, whether nothing more comes or a byte now and then."""
    monkeypatch.setattr(message_reader, "MESSAGE_TIMEOUT_S", 0.1)
    async with wyoming() as speaking, line_to(speaking) as (reader, writer):
        writer.write(PING + begun)
        said = [await read_event(reader)]
        while said[-1][0] != "error":
            said.append(await read_event(reader))
        assert "in time" in str(said[-1][1]["text"])
        assert await reader.read() == b""


async def test_events_that_end_in_time_may_come_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each event has the time to itself."""
    monkeypatch.setattr(message_reader, "MESSAGE_TIMEOUT_S", 0.3)
    async with wyoming() as speaking, line_to(speaking) as (reader, writer):
        for _ in range(5):
            writer.write(PING[:9])
            await asyncio.sleep(0.1)
            writer.write(PING[9:])
            assert await read_event(reader) == ("pong", {"text": "here"})


@pytest.mark.parametrize("event", [PING, PING_BEHIND, PING_LOADED])
@pytest.mark.parametrize("num_bytes", [1, 9, -7, -1])
async def test_packets_may_end_in_mid_event_for_long(
    event: bytes, num_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of an event begins with it, also if the packet that ends one holds the first bytes of the next."""
    monkeypatch.setattr(message_reader, "MESSAGE_TIMEOUT_S", 0.3)
    async with wyoming() as speaking, line_to(speaking) as (reader, writer):
        writer.write(event[:num_bytes])
        for _ in range(5):
            await asyncio.sleep(0.1)
            writer.write(event[num_bytes:] + event[:num_bytes])
            assert await read_event(reader) == ("pong", {"text": "here"})


@pytest.mark.parametrize("num_bytes", [65_536, 1000])
async def test_payloads_are_read_at_the_rate_of_messages(
    num_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They cost what texts cost, although nobody looks at them."""
    paused_s: list[float] = []

    async def note(_event: LightEvent, timeout_s: float) -> None:
        paused_s.append(timeout_s)
        await asyncio.sleep(0)

    monkeypatch.setattr(LightEvent, "wait_for", note)
    event = b'{"type": "ping", "payload_length": %d}\n' % num_bytes + b"x" * num_bytes
    num_events = 12 * 65_536 // num_bytes
    async with wyoming() as speaking, line_to(speaking) as (reader, writer):
        writer.write(event * num_events)
        for _ in range(num_events):
            assert (await read_event(reader))[0] == "pong"
    longest_s = max(paused_s)  # nobody waited, so that the debt of all of them has added up
    assert longest_s == pytest.approx((10 * 65_536) / 32_768, rel=0.2)
