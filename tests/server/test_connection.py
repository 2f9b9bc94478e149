"""The one port for WebSocket and HTTP: every request gets a proper answer, also with a body, or in pieces."""

from __future__ import annotations

import asyncio

import pytest

from tests.server.speaking import configured, running

BODY = b'{"input": "Hello."}'


def _post(path: str, *headers: str, body: bytes = BODY) -> bytes:
    length = f"Content-Length: {len(body)}"
    lines = [f"POST {path} HTTP/1.1", "Host: test", *(headers or (length,))]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (_post("/v1/audio/speech"), 404),
        (_post("/livez"), 405),
        (_post("/livez").replace(b"POST", b"GET"), 200),
        (_post("/livez", "Transfer-Encoding: chunked").replace(b"POST", b"GET"), 411),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: test\r\n\r\n", 431),
        (b"get /livez HTTP/1.1\r\nHost: test\r\n\r\n", 400),
        (b"GET /v1/stream HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n", 426),
        (_post("/v1/stream"), 405),
        (b"DELETE /livez HTTP/1.1\r\nHost: test\r\n\r\n", 405),
        (b"OPTIONS /nowhere HTTP/1.1\r\nHost: test\r\n\r\n", 404),
        (_post("/x", "Transfer-Encoding: chunked"), 411),
        (_post("/x", "Content-Length: 99999999"), 413),
        (_post("/x", "Content-Length: 1", "Content-Length: 2"), 400),
        (_post("/x", "Content-Length: -1"), 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 \r\n\r\n", 400),
        (b"POST " + b"/" * 9000 + b" HTTP/1.1\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\n" + b"A: b\r\n" * 4000, 431),
    ],
)
async def test_a_request_is_answered(request_bytes: bytes, status: int) -> None:
    """A POST, a GET with a body, and whatever else is not a handshake gets a status, never a dropped connection."""
    async with running() as server:
        assert (await server.http(request_bytes))[0] == status


async def test_no_answer_to_head_has_a_body() -> None:
    """Also not where nothing is found, or the address is the stream's."""
    async with running() as server:
        for path, expected in (("/", 200), ("/nowhere", 404), ("/v1/stream", 426)):
            status, head, body = await server.http(f"HEAD {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
            assert (status, body) == (expected, b"") and b"Content-Length: 0" not in head


async def test_a_client_that_waits_to_send_its_body_is_told_to() -> None:
    """`Expect: 100-continue` is answered once, and then the request."""
    async with running() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
        writer.write(_post("/livez", f"Content-Length: {len(BODY)}", "Expect: 100-continue", body=b""))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        for position in range(len(BODY)):
            writer.write(BODY[position : position + 1])
            await writer.drain()
        assert (await reader.read()).startswith(b"HTTP/1.1 405")
        writer.close()
        await writer.wait_closed()


async def test_a_request_may_come_byte_by_byte() -> None:
    """The switch waits for as many bytes as it needs, for either side of it."""
    async with running() as server:
        for request, expected in (
            (_post("/livez"), b"405"),
            (b"GET /livez HTTP/1.1\r\nHost: t\r\n\r\n", b"200"),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
            for position in range(len(request)):
                writer.write(request[position : position + 1])
                await writer.drain()
            assert (await reader.read()).split()[1] == expected
            writer.close()
            await writer.wait_closed()


async def test_a_silent_connection_is_cut() -> None:
    """A connection that says nothing, or never finishes its request, does not stay."""
    async with running(configured(auth_timeout_s=0.1)) as server:
        for beginning in (b"", b"PO", b"POST /x HTTP/1.1\r\n", b"GET / HT"):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
            writer.write(beginning)
            try:
                async with asyncio.timeout(5):
                    assert await reader.read() == b""
            except ConnectionResetError:
                pass
            writer.close()
