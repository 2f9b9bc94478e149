"""The requests of a connection: each gets a proper answer, in order, whole or in pieces, within bounds."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace
from http import HTTPStatus

import pytest

from streamer.errors import EngineError, InvalidParameterError
from streamer.server import http_connection
from streamer.server.client_protocol import ClientProtocol
from streamer.server.connection import READ_BYTES
from streamer.server.http import Answer, Exchange, Request, json_answer
from streamer.server.service import Service
from streamer.server.upgrade import Upgrade
from tests.server.speaking import Running, configured, eventually, figure, read_answer, running

BODY = b'{"input": "Hello."}'
GET = b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n"
HANDSHAKE = (
    b"GET /v1/stream HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def _post(path: str, *headers: str, body: bytes = BODY) -> bytes:
    length = f"Content-Length: {len(body)}"
    lines = [f"POST {path} HTTP/1.1", "Host: test", *(headers or (length,))]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))


def _echo(server: Running) -> None:
    """Have `/echo` answer with what it was sent."""

    async def echo(exchange: Exchange) -> None:
        request = exchange.request
        await exchange.answer(
            json_answer(HTTPStatus.OK, [request.method, request.query, request.body.decode()])
        )

    server.server.routes.add("POST", "/echo", echo)
    server.server.routes.add("GET", "/echo", echo)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (_post("/v1/nowhere"), 404),
        (_post("/livez"), 405),
        (_post("/livez").replace(b"POST", b"GET"), 200),
        (_post("/livez", "Transfer-Encoding: chunked", body=_chunked(BODY)).replace(b"POST", b"GET"), 200),
        (b"GET http://other/livez HTTP/1.1\r\nHost: test\r\n\r\n", 421),
        (b"GET http://test/livez HTTP/1.1\r\nHost: other\r\n\r\n", 200),
        (b"GET http://test:80/livez HTTP/1.1\r\nHost: test\r\n\r\n", 200),
        (b"GET http://a@test/livez HTTP/1.1\r\nHost: test\r\n\r\n", 400),
        (b"OPTIONS http://other/livez HTTP/1.1\r\nHost: test\r\n\r\n", 421),
        (b"GET /livez HTTP/1.1\r\nHost: test:8000\r\n\r\n", 200),
        (b"GET /livez HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n", 200),
        (b"GET /livez HTTP/1.1\r\nHost: [::1]evil.test\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: [127.0.0.1]\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a@test\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: test/x\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: test:80:80\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: t\xc3\xa9st\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: evil.test\r\n\r\n", 421),
        (b"GET /livez HTTP/2.0\r\nHost: test\r\n\r\n", 505),
        (b"GET /livez HTTP/3.0\r\nHost: test\r\n\r\n", 505),
        (b"GET /livez HTTP/0.9\r\nHost: test\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"POST /echo HTTP/2.0\r\nHost: test\r\nContent-Length: 9\r\n\r\n", 505),
        (b"GET /livez HTTP/1.2\r\nHost: test\r\n\r\n", 200),
        (HANDSHAKE.replace(b"HTTP/1.1", b"HTTP/1.0"), 426),
        (HANDSHAKE.replace(b"HTTP/1.1", b"HTTP/2.0"), 505),
        (HANDSHAKE.replace(b"/v1/stream", b"http://other/v1/stream"), 421),
        (b"GET http://[::1]/livez HTTP/1.1\r\nHost: test\r\n\r\n", 200),
        (b"GET http://[::1/livez HTTP/1.1\r\nHost: test\r\n\r\n", 400),
        (b"GET http://other]/livez HTTP/1.1\r\nHost: test\r\n\r\n", 400),
        (b"GET //[/livez HTTP/1.1\r\nHost: test\r\n\r\n", 404),
        (b"OPTIONS http://[ HTTP/1.1\r\nHost: test\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n", 404),
        (b"CONNECT other:443 HTTP/1.1\r\nHost: test\r\n\r\n", 404),
        (b"GET /livez HTTP/1.0\r\n\r\n", 200),
        (b"GET /livez HTTP/1.1\r\n\r\n", 400),
        (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: test\r\n\r\n", 431),
        (b"get /livez HTTP/1.1\r\nHost: test\r\n\r\n", 405),
        (b"GET /livez\r\n\r\n", 400),
        (b"GET /v1/stream HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n", 426),
        (b"GET /v1/stream HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", 200),
        (_post("/v1/stream"), 405),
        (b"DELETE /livez HTTP/1.1\r\nHost: test\r\n\r\n", 405),
        (b"OPTIONS /nowhere HTTP/1.1\r\nHost: test\r\n\r\n", 404),
        (b"OPTIONS /livez HTTP/1.1\r\nHost: test\r\n\r\n", 204),
        (_post("/echo", "Content-Length: 99999999"), 413),
        (_post("/echo", "Transfer-Encoding: chunked", body=_chunked(b"x" * 40_000, b"x" * 40_000)), 413),
        (_post("/echo", "Transfer-Encoding: gzip"), 501),
        (_post("/echo", "Transfer-Encoding: chunked", body=b"zz\r\nxx\r\n"), 400),
        (_post("/echo", "Content-Length: 1", "Content-Length: 2"), 400),
        (_post("/echo", "Content-Length: 5", "Transfer-Encoding: chunked", body=_chunked(b"hello")), 400),
        (_post("/echo", "Content-Length: -1"), 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 \r\n\r\n", 400),
        (b"POST " + b"/" * 9000 + b" HTTP/1.1\r\nHost: test\r\n\r\n", 405),
        (b"POST " + b"/a" * 4000 + b"/ HTTP/1.1\r\nHost: test\r\n\r\n", 404),
        (b"POST /x HTTP/1.1\r\n" + b"A: b\r\n" * 4000, 431),
        (b"GET /livez HTTP/1.1\r\nHost: test\r\nHost: test\r\n\r\n", 400),
        (_post("/echo", "Content-Length : 5"), 400),
        (b"GET /livez HTTP/1.1\nHost: test\n\n", 200),
        (b"GET /livez HTTP/1.1\r\nHost: test\r\nB\xc3\xa4d: x\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: test\r\nBad Name: x\r\n\r\n", 400),
        (
            b"GET /v1/stream HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nContent-Length: 99999999\r\n\r\n",
            413,
        ),
        (
            b"GET /v1/stream HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nTransfer-Encoding: gzip\r\n\r\n",
            501,
        ),
    ],
)
async def test_a_request_is_answered(request_bytes: bytes, status: int) -> None:
    """Whatever is not a handshake gets a status, never a dropped connection; an error is JSON with code and message."""
    async with running() as server:
        _echo(server)
        answered, head, body = await server.http(request_bytes)
        assert answered == status
        assert b"x-content-type-options: nosniff" in head.lower()
        if status >= 400 and b"application/json" in head:
            assert set(json.loads(body)["error"]) >= {"code", "message"}


async def test_no_answer_to_head_has_a_body() -> None:
    """HEAD is answered with the length that GET would have, also if nothing is found, or only a WebSocket."""
    async with running() as server:
        for path, expected in (("/", 200), ("/nowhere", 404), ("/v1/stream", 426)):
            async with server.line() as (reader, writer):
                writer.write(f"HEAD {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
                answer = await reader.read()
            head, _, body = answer.partition(b"\r\n\r\n")
            assert (int(head.split()[1]), body) == (expected, b"") and b"Content-Length: 0" not in head


async def test_a_connection_serves_one_request_after_another() -> None:
    """The connection stays open after an answer, a refusal included, until the client asks to close it."""
    async with running() as server, server.line() as (reader, writer):
        _echo(server)
        for request, status in ((GET, 200), (_post("/nowhere"), 404), (_post("/echo"), 200), (GET, 200)):
            writer.write(request)
            assert (await read_answer(reader))[0] == status
        writer.write(GET.replace(b"Host", b"Connection: close\r\nHost"))
        status, head, _ = await read_answer(reader)
        assert status == 200 and b"connection: close" in head.lower()
        assert await reader.read() == b""


async def test_requests_that_are_sent_ahead_are_answered_in_order() -> None:
    """Pipelined requests wait for each other; what follows one that asks to close is not answered."""
    async with running() as server, server.line() as (reader, writer):
        _echo(server)
        requests = [_post("/echo", body=b"%d" % number) for number in range(20)]
        last = _post("/echo", "Content-Length: 1", "Connection: close", body=b"z")
        writer.write(b"".join(requests) + last + requests[0])
        answers = [json.loads((await read_answer(reader))[2])[2] for _ in range(21)]
        assert answers == [*map(str, range(20)), "z"]
        assert await reader.read() == b""


async def test_only_so_much_is_read_ahead() -> None:
    """What is kept of later requests has one bound, not one for each request that was answered meanwhile."""
    kept_bytes: list[int] = []

    async def answer_slowly(exchange: Exchange) -> None:
        for _ in range(50):
            await asyncio.sleep(0)
        kept_bytes.append(len(exchange._http.trailing_data[0]))
        await exchange.answer(json_answer(HTTPStatus.OK, ""))

    async with running() as server, server.line() as (reader, writer):
        server.server.routes.add("GET", "/slow", answer_slowly)
        writer.write(GET.replace(b"livez", b"slow") * 20_000)
        for _ in range(40):
            assert (await read_answer(reader))[0] == 200
        writer.transport.abort()
    longest = http_connection.MAX_PIPELINED_BYTES + READ_BYTES
    assert READ_BYTES < max(kept_bytes) <= longest


async def test_a_request_that_was_sent_with_its_end_is_answered() -> None:
    """A client may close its side at once, as `nc -N` does, if the answer needs no waiting."""
    async with running() as server, server.line() as (reader, writer):
        writer.write(GET)
        writer.write_eof()
        assert (await read_answer(reader))[0] == 200
        assert await reader.read() == b""


async def test_a_body_may_come_in_chunks() -> None:
    """The route sees a chunked body as any other."""
    async with running() as server:
        _echo(server)
        request = _post("/echo?a=b", "Transfer-Encoding: chunked", body=_chunked(b"He", b"llo", b"."))
        assert json.loads((await server.http(request))[2]) == ["POST", "a=b", "Hello."]


async def test_a_client_that_waits_to_send_its_body_is_told_to() -> None:
    """`Expect: 100-continue` is answered once, and then the request; or only with what is wrong with its head."""
    async with running() as server:
        _echo(server)
        async with server.line() as (reader, writer):
            waiting = (f"Content-Length: {len(BODY)}", "Expect: 100-continue")
            writer.write(_post("/echo", *waiting, body=b""))
            assert (await read_answer(reader))[0] == 100
            for position in range(len(BODY)):
                writer.write(BODY[position : position + 1])
                await writer.drain()
            status, _, body = await read_answer(reader)
            assert (status, json.loads(body)[2]) == (200, BODY.decode())
            writer.write(_post("/nowhere", *waiting, body=b""))
            assert (await read_answer(reader))[0] == 404
            assert await reader.read() == b""


async def test_a_request_may_come_byte_by_byte() -> None:
    """No piece is too small, whatever the request turns out to be."""
    async with running() as server:
        _echo(server)
        for request in (_post("/echo"), GET):
            async with server.line() as (reader, writer):
                for position in range(len(request)):
                    writer.write(request[position : position + 1])
                    await writer.drain()
                assert (await read_answer(reader))[0] == 200


@pytest.mark.parametrize("beginning", [b"", b"PO", b"POST /x HTTP/1.1\r\n", b"GET / HT", _post("/echo")[:-1]])
async def test_a_slow_request_is_cut(beginning: bytes) -> None:
    """A connection that says nothing is closed; one that never finishes its request is told so with 408."""
    async with running(configured(auth_timeout_s=0.1)) as server, server.line() as (reader, writer):
        _echo(server)
        writer.write(beginning)
        status, head, _ = await read_answer(reader)
        assert status == (408 if beginning else 0)
        assert not beginning or b"connection: close" in head.lower()
        assert await reader.read() == b""


@pytest.mark.parametrize("beginning", [b"G", b"GET /livez HTTP/1.1\r\n", GET[:-1]])
async def test_a_slow_request_behind_another_is_cut(beginning: bytes) -> None:
    """A request that began in the same piece as the one before has no more time than others."""
    async with running(configured(auth_timeout_s=0.1)) as server, server.line() as (reader, writer):
        writer.write(GET + beginning)
        assert (await read_answer(reader))[0] == 200
        assert (await read_answer(reader))[0] == 408


async def test_a_handshake_that_comes_whole_after_the_stop_is_refused() -> None:
    """A session that began behind the drain's back would be cut at its end without a close."""
    handshake = (
        "GET /v1/stream HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nContent-Length: 2\r\n\r\n"
    )
    async with running(configured(drain_timeout_s=5.0)) as server, server.line() as (reader, writer):
        writer.write(handshake.encode() + b"a")
        await eventually(lambda: [http.state for http in server.server.conversations] == ["exchange"])
        server.server.stop()
        writer.write(b"b")
        assert (await read_answer(reader))[0] == 503


async def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an answer a connection may rest for a while, longer than a request may take to come, and no more."""
    monkeypatch.setattr(http_connection, "KEEP_ALIVE_S", 1.5)
    async with running(configured(auth_timeout_s=0.1)) as server, server.line() as (reader, writer):
        writer.write(GET)
        assert (await read_answer(reader))[0] == 200
        await asyncio.sleep(0.2)
        writer.write(GET)
        assert (await read_answer(reader))[0] == 200
        assert await reader.read() == b""


async def test_the_answer_to_an_oversized_body_arrives() -> None:
    """The client may continue to send what is not read, and still finds the answer."""
    async with running() as server, server.line() as (reader, writer):
        _echo(server)
        writer.write(_post("/echo", "Content-Length: 3000000", body=b"x" * 3_000_000))
        status, head, body = await read_answer(reader)
        assert (status, json.loads(body)["error"]["code"]) == (413, "body_too_large")
        assert b"65536" in body and b"connection: close" in head.lower()


async def test_plain_connections_take_places_like_sessions() -> None:
    """From the accepted connection on: open requests fill the server, and what finds no place is refused."""
    async with running(configured(max_connections=100, max_connections_per_address=100)) as server:
        _echo(server)
        lines = [await asyncio.open_connection("127.0.0.1", server.server.port) for _ in range(100)]
        for _, writer in lines:
            writer.write(_post("/echo")[:-1])
        await eventually(lambda: server.server.num_connections == 100)
        for path, expected in (
            ("/v1/voices", 503),
            ("/echo", 503),
            ("/livez", 200),
            ("/readyz", 200),
            ("/metrics", 200),
        ):
            status, head, _ = await server.get(path)
            assert status == expected and b"connection: close" in head.lower()
        assert (await server.http(b"OPTIONS /echo HTTP/1.1\r\nHost: t\r\n\r\n"))[0] == 503
        for reader, writer in lines:
            writer.write(BODY[-1:])
            assert (await read_answer(reader))[0] == 200
        lines[0][1].close()
        await eventually(lambda: server.server.num_connections == 99)
        assert (await server.get("/v1/voices"))[0] == 200
        for _, writer in lines:
            writer.close()
            await writer.wait_closed()


async def test_places_are_counted_by_address() -> None:
    """Connections that were let in count while they are idle; beyond their number only probes are answered."""
    async with (
        running(configured(max_connections_per_address=1)) as server,
        server.line() as (reader, writer),
    ):
        writer.write(GET)
        assert (await read_answer(reader))[0] == 200
        for path, status in (("/v1/voices", 429), ("/", 429), ("/livez", 200), ("/readyz", 200)):
            answered, head, _ = await server.get(path)
            assert answered == status and b"connection: close" in head.lower()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {}),
        ({"Origin": "https://good.example"}, {"access-control-allow-origin": "https://good.example"}),
        ({"Origin": "https://bad.example"}, None),
    ],
)
async def test_a_preflight_says_what_a_page_may_send(
    fields: dict[str, str], expected: dict[str, str] | None
) -> None:
    """OPTIONS of an allowed origin names methods and header fields; other origins are refused, programs see `Allow`."""
    async with running(configured(server={"allowed_origins": ("https://good.example",)})) as server:
        _echo(server)
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        request = f"OPTIONS /echo HTTP/1.1\r\nHost: test\r\n{lines}\r\n".encode()
        status, head, _ = await server.http(request)
        answered = dict(line.lower().split(": ", 1) for line in head.decode().strip().split("\r\n")[1:])
        if expected is None:
            assert status == 403 and "access-control-allow-origin" not in answered
        else:
            assert status == 204 and answered["allow"] == "get, head, options, post"
            assert expected.items() <= answered.items()
            assert ("access-control-allow-headers" in answered) == bool(expected)


@pytest.mark.parametrize(
    "asked", ["x-stainless-lang", "Authorization, X-Stainless-OS,x-stainless-retry-count"]
)
async def test_a_preflight_allows_the_fields_that_were_asked_for(asked: str) -> None:
    """Clients' libraries send fields of their own, without which a browser would not let them ask at all."""
    async with running(configured(server={"allowed_origins": ("*",)})) as server:
        fields = f"Origin: https://any.example\r\nAccess-Control-Request-Headers: {asked}\r\n"
        request = f"OPTIONS /v1/speech HTTP/1.1\r\nHost: test\r\n{fields}\r\n"
        status, head, _ = await server.http(request.encode())
    assert status == 204 and f"Access-Control-Allow-Headers: {asked}\r\n".encode() in head
    assert b"Access-Control-Expose-Headers: *\r\n" in head


@pytest.mark.parametrize(("ends", "rest"), [(True, b"4\r\nhalf\r\n0\r\n\r\n"), (False, b"4\r\nhalf\r\n")])
async def test_an_answer_may_end_its_body_where_it_fails(
    ends: bool, rest: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure is logged and counted either way, and after a proper end the next request is answered."""

    async def fail(exchange: Exchange) -> None:
        exchange.ends_on_failure = ends
        await exchange.start(HTTPStatus.OK)
        await exchange.write(b"half")
        raise EngineError("broken")

    async with running() as server, server.line() as (reader, writer):
        server.server.routes.add("POST", "/fail", fail)
        writer.write(_post("/fail"))
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(len(rest)) == rest
        assert figure(server.server, "tts_errors_total", code="engine_failed") == 1
        assert "an answer failed" in caplog.messages
        writer.write(_post("/v1/nowhere"))
        with contextlib.nullcontext() if ends else contextlib.suppress(ConnectionError):
            assert (await read_answer(reader))[0] == (404 if ends else 0)


async def test_a_route_shapes_its_errors() -> None:
    """Those of its own, and those of requests that do not reach it."""

    async def fail(_exchange: Exchange) -> None:
        raise InvalidParameterError("no", param="x")

    def shape(request: Request, answer: Answer) -> Answer:
        return Answer(HTTPStatus.IM_A_TEAPOT, request.query.encode() + b" " + answer.body)

    async with running() as server:
        server.server.routes.add("POST", "/fail", fail, shape_error=shape)
        for request in (
            _post("/fail?my"),
            _post("/fail?my", "Content-Length: 99999999"),
            _post("/fail?my", "Origin: http://x"),
        ):
            status, _, body = await server.http(request)
            assert status == 418 and body.startswith(b'my {"error"')


async def test_a_protocol_may_refuse_a_handshake() -> None:
    """Its errors are answers in the route's shape, like those of clients that are not let in at all."""

    def refuse(upgrade: Upgrade, _service: Service) -> ClientProtocol:
        raise InvalidParameterError(f"no {upgrade.query}", param="x")

    def shape(_request: Request, answer: Answer) -> Answer:
        return replace(answer, headers=(("X-Error", json.loads(answer.body)["error"]["code"]),))

    async with running() as server:
        server.server.routes.websocket("/refuse", refuse, shape_error=shape)
        for field, status, code in (
            ("Host: test", 400, b"invalid_parameter"),
            ("Host: test\r\nOrigin: http://x", 403, b"origin"),
        ):
            handshake = (
                f"GET /refuse?thanks HTTP/1.1\r\n{field}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            answered, head, _ = await server.http(handshake.encode())
            assert answered == status and b"x-error: " + code in head.lower()
        assert server.server.num_sessions == 0


async def test_answers_name_the_origin_that_may_read_them() -> None:
    """Refusals too, or the page could not tell why; lists are readable to listed origins only."""
    async with running(configured(server={"allowed_origins": ("https://good.example",)})) as server:
        _echo(server)
        for method, path, origin, status, is_readable in (
            ("POST", "/echo", "https://good.example", 200, True),
            ("POST", "/echo", "https://bad.example", 403, False),
            ("GET", "/v1/voices", "https://good.example", 200, True),
            ("GET", "/v1/voices", "https://bad.example", 200, False),
        ):
            request = (
                f"{method} {path} HTTP/1.1\r\nHost: test\r\nOrigin: {origin}\r\nContent-Length: 0\r\n\r\n"
            )
            answered, head, _ = await server.http(request.encode())
            assert (answered, f"Access-Control-Allow-Origin: {origin}".encode() in head) == (
                status,
                is_readable,
            )
