"""A client may leave at any moment: what it had begun is counted once, and everything that it held is free.

`running` checks the latter after each test here, as after every other.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest

from streamer.synthesis import Room
from tests.fakes.synthesizer import FakeSynthesizer
from tests.faults.conversations import for_all
from tests.server.deepgram import client as deepgram_client
from tests.server.speaking import Running, eventually, figure, running
from tests.server.wyoming.speaking import client_of

TEXT = "Hello there. How are you today?"
FULL = Room(num_listeners=4, max_listeners=4, num_unheard=0, num_short=0, max_short=0, mean_stay_s=2.0)
Leave = Callable[[Running, bool], Awaitable[None]]
"""Has something spoken, waits until the server has begun with it, or does not, and leaves without a word."""


async def _begun(server: Running) -> None:
    await eventually(lambda: figure(server.server, "tts_requests_running") == 1)


async def native(server: Running, is_patient: bool) -> None:
    async with server.client() as client:
        await client.say("speak", id="a", text=TEXT)
        if is_patient:
            await _begun(server)
        client.connection.transport.abort()


async def native_of_five(server: Running, is_patient: bool) -> None:
    async with server.client() as client:
        for name in "abcd":
            await client.say("start", id=name)
            await client.until("started")
        for name in "abcd":
            await client.say("cancel", id=name)
        await client.say("speak", id="e", text=TEXT)
        if is_patient:
            await eventually(lambda: figure(server.server, "tts_requests_total", outcome="cancelled") == 4)
            await _begun(server)
        client.connection.transport.abort()


async def http(server: Running, is_patient: bool) -> None:
    body = json.dumps({"text": TEXT}).encode()
    async with server.line() as (_, writer):
        writer.write(
            b"POST /v1/speech HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        if is_patient:
            await _begun(server)
        writer.transport.abort()


async def http_with_a_goodbye(server: Running, is_patient: bool) -> None:
    body = json.dumps({"model": "tts-1", "voice": "tone", "input": TEXT}).encode()
    head = b"POST /v1/audio/speech HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with server.line() as (_, writer):
        writer.write(head + body)
        if is_patient:
            await _begun(server)
        writer.write_eof()
        await eventually(lambda: not server.server.num_connections)


async def wyoming(server: Running, is_patient: bool) -> None:
    async with client_of(server) as client:
        data = json.dumps({"text": TEXT}).encode()
        header = json.dumps({"type": "synthesize", "data_length": len(data)}).encode()
        writer = client._writer
        writer.write(header + b"\n" + data)
        if is_patient:
            await _begun(server)
        writer.transport.abort()


async def deepgram(server: Running, is_patient: bool) -> None:
    async with deepgram_client.connected(server) as client:
        await client.speak(TEXT)
        await client.say("Flush")
        if is_patient:
            await _begun(server)
        client.connection.transport.abort()


EVERYBODY = (native, native_of_five, http, http_with_a_goodbye, wyoming, deepgram)
leaving = pytest.mark.parametrize("leave", EVERYBODY, ids=lambda leave: leave.__name__)


async def _gone(server: Running) -> float | None:
    """Wait until no connection is left; returns how many utterances had lost their client."""
    await eventually(lambda: not server.server.num_connections)
    return figure(server.server, "tts_requests_total", outcome="client_gone")


@leaving
async def test_a_client_leaves_before_anything_is_done_for_it(leave: Leave) -> None:
    """Whether its request was read before its end was noticed or not."""
    async with running(for_all(), FakeSynthesizer(speed=0.5)) as server:
        for _ in range(5):
            await leave(server, False)
        await _gone(server)


@leaving
async def test_a_client_leaves_while_it_is_being_served(leave: Leave) -> None:
    """Its sentences are given up."""
    async with running(for_all(), FakeSynthesizer(speed=0.5)) as server:
        await leave(server, True)
        assert await _gone(server) == 1


@leaving
async def test_a_client_leaves_while_its_rate_holds_it_back(
    leave: Leave, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for its start, of which there is one a second, and nobody else has to wait for it."""
    monkeypatch.setattr("asyncio_throttle.throttler.time", SimpleNamespace(monotonic=lambda: 1.0))
    num_starts = 5 if leave is native_of_five else 1  # the last of which the neighbour takes
    async with running(for_all(max_starts_per_s=num_starts), FakeSynthesizer()) as server:
        async with server.client() as neighbour:
            await neighbour.say("speak", id="a", text="Hi.")
            await neighbour.until("done")
        await leave(server, True)
        assert await _gone(server) == 1


@leaving
async def test_a_client_leaves_while_it_waits_for_room(leave: Leave) -> None:
    """It has a place in the queue, which is given up."""
    synthesizer = FakeSynthesizer()
    synthesizer.room = FULL
    async with running(for_all(max_start_wait_s=30.0), synthesizer) as server:
        await leave(server, True)
        assert await _gone(server) == 1
        assert figure(server.server, "tts_utterances_queued") == 0
