"""An exchange: the status, a body that waits for its client, and the ways in which it may break off."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus

import pytest

from streamer.errors import (
    AuthenticationError,
    EngineError,
    InvalidParameterError,
    OverloadedError,
    RateLimitedError,
    StreamerError,
)
from streamer.server import connection
from streamer.server.connection import ClientGoneError
from streamer.server.http import Exchange, error_answer
from tests.server.speaking import Running, configured, eventually, figure, read_answer, running

GET = b"GET /test HTTP/1.1\r\nHost: test\r\n\r\n"


@contextlib.asynccontextmanager
async def _answering(
    handle: Callable[[Exchange], Awaitable[None]], *, may_log_failures: bool = False, **limits: float
) -> AsyncIterator[Running]:
    async with running(configured(**limits), may_log_failures=may_log_failures) as server:
        server.server.routes.add("GET", "/test", handle)
        yield server


async def test_a_body_is_streamed_in_chunks() -> None:
    """Each piece arrives when it is written, and the end is told apart from a break."""
    goes_on = asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        await exchange.start(HTTPStatus.OK, (("Content-Type", "audio/wav"),))
        await exchange.write(b"one")
        await goes_on.wait()
        await exchange.write(b"")
        await exchange.write(b"two")

    async with _answering(handle) as server:
        async with server.line() as (reader, writer):
            writer.write(GET)
            assert b"Transfer-Encoding: chunked" in await reader.readuntil(b"\r\n\r\n")
            assert await reader.readuntil(b"one\r\n") == b"3\r\none\r\n"
            goes_on.set()
            assert await reader.readuntil(b"0\r\n\r\n") == b"3\r\ntwo\r\n0\r\n\r\n"
        status, head, body = await server.http(b"GET /test HTTP/1.0\r\n\r\n")
        assert (status, body) == (200, b"onetwo") and b"chunked" not in head


async def test_an_answer_may_take_longer_than_a_request() -> None:
    """No time-out of the request's ends its answer."""

    async def handle(exchange: Exchange) -> None:
        await exchange.start(HTTPStatus.OK)
        for _ in range(6):
            await asyncio.sleep(0.1)
            await exchange.write(b"x" * 1000)

    async with _answering(handle, auth_timeout_s=0.1) as server:
        assert (await server.http(GET))[2] == b"x" * 6000


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidParameterError("voice 'x' is none of tone", param="voice"), 400),
        (AuthenticationError("no"), 401),
        (RateLimitedError("too fast", retry_after_s=2.5), 429),
        (OverloadedError("full", retry_after_s=0.1), 503),
        (EngineError("broken"), 500),
    ],
)
async def test_an_error_before_the_status_becomes_the_answer(error: StreamerError, status: int) -> None:
    """Each error has its status, code and message, the parameter at fault if there is one, and a time to come back."""

    async def handle(_exchange: Exchange) -> None:
        raise error

    async with _answering(handle) as server, server.line() as (reader, writer):
        for _ in range(2):  # the connection stays usable
            writer.write(GET)
            answered, head, body = await read_answer(reader)
            assert answered == status == error_answer(error).status
            told = json.loads(body)["error"]
            assert (told["code"], told["message"], told.get("param")) == (
                error.code,
                error.message,
                error.param,
            )
            assert (b"Retry-After" in head) == (error.retry_after_s is not None)
        assert figure(server.server, "tts_errors_total", code=error.code) == 2


@pytest.mark.parametrize("error", [EngineError("broken"), RuntimeError("a bug")])
async def test_an_error_after_the_status_breaks_the_body_off(error: Exception) -> None:
    """A client can tell a broken body from a whole one: the last chunk is missing; and it is counted."""

    async def handle(exchange: Exchange) -> None:
        await exchange.start(HTTPStatus.OK)
        await exchange.write(b"one")
        await asyncio.sleep(0.01)
        raise error

    async with _answering(handle, may_log_failures=True) as server, server.line() as (reader, writer):
        writer.write(GET)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await read_answer(reader)
        code = "engine_failed" if isinstance(error, EngineError) else "internal_error"
        await eventually(lambda: figure(server.server, "tts_errors_total", code=code) == 1)


async def test_a_bug_before_the_status_is_told_without_its_details() -> None:
    """The client gets 500 and the log the rest."""

    async def handle(_exchange: Exchange) -> None:
        raise RuntimeError("secret")

    async with _answering(handle, may_log_failures=True) as server:
        status, _, body = await server.http(GET)
        assert status == 500 and json.loads(body)["error"]["code"] == "internal_error"
        assert b"secret" not in body


@pytest.mark.parametrize("has_started", [False, True])
async def test_a_client_that_vanishes_cancels_the_answer(has_started: bool) -> None:
    """Also while nothing is being written to it."""
    ended: list[str] = []

    async def handle(exchange: Exchange) -> None:
        try:
            if has_started:
                await exchange.start(HTTPStatus.OK)
                await exchange.write(b"one")
            ended.append("begun")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async with _answering(handle) as server:
        async with server.line() as (_, writer):
            writer.write(GET)
            await eventually(lambda: ended == ["begun"])
        await eventually(lambda: ended == ["begun", "cancelled"])
        await eventually(lambda: not server.server.num_connections)


async def test_a_slow_reader_is_waited_for_and_then_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write returns when the client has taken what came before; a client that takes nothing is dropped."""
    monkeypatch.setattr(connection, "SEND_BUFFER_BYTES", 4096)
    num_written, ends = 0, []

    async def handle(exchange: Exchange) -> None:
        nonlocal num_written
        await exchange.start(HTTPStatus.OK)
        try:
            for _ in range(1000):
                await exchange.write(b"x" * 10_000)
                num_written += 10_000
        except ClientGoneError:
            ends.append(num_written)
            raise

    async with _answering(handle, write_timeout_s=0.5) as server:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", server.server.port))
        await asyncio.get_running_loop().sock_sendall(sock, GET)
        await eventually(lambda: num_written > 0)
        before = num_written
        for _ in range(100):
            await asyncio.get_running_loop().sock_recv(sock, 10_000)
        await eventually(lambda: num_written > before)
        await eventually(lambda: len(ends) == 1)
        assert ends[0] < 1_500_000
        assert figure(server.server, "tts_slow_client_closed_total") == 1
        sock.close()


@pytest.mark.parametrize(
    ("drain_timeout_s", "num_stops", "is_whole"), [(60.0, 1, True), (0.0, 1, False), (60.0, 2, False)]
)
async def test_open_answers_are_drained(
    drain_timeout_s: float, num_stops: int, is_whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a stop an answer may finish until the drain's time is up, or a second stop comes; then it is cut."""
    monkeypatch.setattr("streamer.server.app.LAST_WORDS_S", 0.1)
    is_begun, may_end = asyncio.Event(), asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        await exchange.start(HTTPStatus.OK)
        await exchange.write(b"one")
        is_begun.set()
        await may_end.wait()
        await exchange.write(b"two")

    async with (
        _answering(handle, drain_timeout_s=drain_timeout_s) as server,
        server.line() as (reader, writer),
        server.line() as (idle, _),
    ):
        writer.write(GET)
        await is_begun.wait()
        for _ in range(num_stops):
            server.server.stop()
        if is_whole:
            assert (await server.get("/readyz"))[0] == 503
            assert (await server.http(GET))[0] == 503
            may_end.set()
            assert (await read_answer(reader))[2] == b"onetwo"
            assert await reader.read() == b""
        else:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await read_answer(reader)
        with contextlib.suppress(ConnectionError):
            assert await idle.read() == b""


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("plain", "plain"),
        ("gr\u00fc\u00dfe", "gr??e"),
        ("aura-a\u017fteria-en", "aura-a?teria-en"),
        ("one\r\nSet-Cookie: two", "one??Set-Cookie: two"),
        ("tab\tand\x00null\x7f", "tab?and?null?"),
        ("\ud800 alone", "? alone"),
        (" around ", "around"),
    ],
)
async def test_a_header_field_holds_printable_ascii_alone(value: str, sent: str) -> None:
    """What a client or an operator wrote can neither add a field nor make the answer fail."""

    async def handle(exchange: Exchange) -> None:
        await exchange.start(HTTPStatus.OK, (("X-Quoted", value),))

    async with _answering(handle) as server:
        status, head, _ = await server.http(GET)
    assert status == 200 and f"\r\nX-Quoted: {sent}\r\n".encode() in head and b"\r\nSet-Cookie" not in head
