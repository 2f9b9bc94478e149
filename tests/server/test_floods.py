"""A client that asks without end keeps nobody waiting: the event loop has its turn between any two of its requests."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import h11
import pytest
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from streamer.server import places, websocket
from streamer.server.request_reader import BODY_EVENTS, MAX_FIELDS
from tests.server.speaking import Running, configured, eventually, figure, read_answer, running

HANDSHAKE = (
    b"GET /v1/stream HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
NUM_REQUESTS = 300
EVENTS_PER_TURN = 2 * BODY_EVENTS
"""A turn may end one request and begin the next, and each is a few events."""


def _request(line: str, *fields: str, body: bytes = b"") -> bytes:
    return "\r\n".join((line + " HTTP/1.1", *(fields or ("Host: test",)), "", "")).encode() + body


FLOODS = {
    "livez": _request("GET /livez") * NUM_REQUESTS,
    "page": _request("GET /") * NUM_REQUESTS,
    "404": _request("GET /x") * NUM_REQUESTS,
    "405": _request("DELETE /") * NUM_REQUESTS,
    "426": _request("GET /v1/stream") * NUM_REQUESTS,
    "421": _request("GET /", "Host: evil.test") * NUM_REQUESTS,
    "OPTIONS": _request("OPTIONS /") * NUM_REQUESTS,
    "HEAD": _request("HEAD /livez") * NUM_REQUESTS,
    "a bad body": _request("POST /v1/audio/speech", "Host: test", "Content-Length: 2", body=b"{}")
    * NUM_REQUESTS,
    "a vendor's errors": _request("POST /v1/speak", "Host: test", "Content-Length: 2", body=b"{}")
    * NUM_REQUESTS,
    "offers": _request("POST /v1/whep", "Host: test", "Content-Length: 2", body=b"{}") * NUM_REQUESTS,
    "chunks": _request(
        "POST /v1/audio/speech", "Host: test", "Transfer-Encoding: chunked", body=b"1\r\nx\r\n" * 9000
    ),
    "chunks of a refused one": _request(
        "POST /x", "Host: test", "Transfer-Encoding: chunked", body=b"1\r\nx\r\n" * 9000
    ),
}


@contextlib.asynccontextmanager
async def _counted(monkeypatch: pytest.MonkeyPatch, kind: type, method: str) -> AsyncIterator[Counter[int]]:
    """Count the calls of a method in each turn of the event loop."""
    calls: Counter[int] = Counter()
    turn = 0

    async def take_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    called: Callable[..., Any] = getattr(kind, method)

    def count(*arguments: Any) -> Any:
        calls[turn] += 1
        return called(*arguments)

    monkeypatch.setattr(kind, method, count)
    turns = asyncio.create_task(take_turns())
    try:
        yield calls
    finally:
        turns.cancel()


async def _flood(server: Running, data: bytes, until: Callable[[], bool]) -> None:
    async with server.line() as (reader, writer):
        reading = asyncio.create_task(reader.read())
        writer.write(data)
        await eventually(until)
        writer.transport.abort()
        await asyncio.wait([reading])
        reading.exception()


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("has_keys", [False, True], ids=["open", "keys"])
async def test_others_have_their_turn_between_requests(
    flood: str, has_keys: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the answers are, and although all of the requests have come already."""
    monkeypatch.setattr(places, "REQUESTS_PER_S", 100_000)
    monkeypatch.setattr(places, "ADDRESS_REQUESTS_PER_S", 100_000)
    options = {}
    if has_keys:
        (tmp_path / "keys").write_text("secret\n")
        options = {"api_keys_file": tmp_path / "keys"}
    async with running(configured(server=options)) as server:
        async with _counted(monkeypatch, h11.Connection, "next_event") as calls:
            await _flood(
                server,
                FLOODS[flood],
                lambda: calls.total() > 3 * BODY_EVENTS or (has_keys and calls.total() > 2),
            )
        assert max(calls.values()) <= EVENTS_PER_TURN


async def test_a_head_has_only_so_many_fields() -> None:
    """Thousands of short fields fit into its bytes, and are refused before they are taken apart."""
    async with running() as server:
        for num_fields, status in ((MAX_FIELDS, 200), (MAX_FIELDS + 1, 431), (2000, 431)):
            fields = ("Host: test", *(f"A{number}:" for number in range(num_fields - 1)))
            assert (await server.http(_request("GET /livez", *fields)))[0] == status
            pipelined = _request("GET /livez") * 60 + _request("GET /livez", *fields)
            async with server.line() as (reader, writer):
                writer.write(pipelined)
                answers = [(await read_answer(reader))[0] for _ in range(61)]
            assert answers == [200] * 60 + [status]


async def test_requests_of_a_connection_are_answered_at_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the burst the others wait, refused ones too, and another connection is answered."""
    monkeypatch.setattr(places, "REQUESTS_PER_S", 0.001)
    monkeypatch.setattr(places, "REQUESTS_BURST", 5)
    async with running() as server:
        for request, status in (
            (_request("GET /livez"), 200),
            (_request("GET /x"), 404),
            (_request("PUT /"), 405),
        ):
            async with server.line() as (reader, writer):
                writer.write(request * 20)
                assert [(await read_answer(reader))[0] for _ in range(5)] == [status] * 5
                assert (await server.get("/livez"))[0] == 200
                assert not reader._buffer  # type: ignore[attr-defined]
                writer.transport.abort()


async def test_tiny_chunks_count_like_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body of them is not read to its end for nothing; the request has the usual time to come."""
    monkeypatch.setattr(places, "REQUESTS_PER_S", 0.001)
    monkeypatch.setattr(places, "REQUESTS_BURST", 5)
    async with running(configured(auth_timeout_s=0.2)) as server:
        assert (await server.http(FLOODS["chunks"]))[0] == 408


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.PING, Opcode.BINARY, Opcode.PONG])
async def test_others_have_their_turn_behind_a_close(
    opcode: Opcode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a client still sends when its session has ended is taken apart in slices, too."""
    monkeypatch.setattr(websocket, "FRAMES_PER_S", 100_000)
    monkeypatch.setattr(websocket, "CLOSE_TIMEOUT_S", 60.0)
    (tmp_path / "keys").write_text("secret\n")
    flood = Frame(opcode, b"x").serialize(mask=True) * 9000
    async with running(configured(server={"api_keys_file": tmp_path / "keys"})) as server:
        async with _counted(monkeypatch, ServerProtocol, "receive_data") as calls:
            text = Frame(Opcode.TEXT, b"{}").serialize(mask=True)  # which should have been `auth`
            await _flood(server, HANDSHAKE + text + flood, lambda: calls.total() > 30)
        assert max(calls.values()) <= 2
    assert not figure(server.server, "tts_connections")
