"""One port for WebSocket and HTTP: the head of a connection's request decides who reads the rest.

`websockets` drops a request that has a body without a word. So only what asks for an upgrade goes to it,
every other request to `HttpRequestReader`, which reads the body too.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Response
from websockets.protocol import State

from streamer.server.http import refusal

Respond = Callable[[str, str, bytes], Response]
"""Method, path with query, body -> answer."""
MAX_HEAD_BYTES: Final = 16_384
MAX_BODY_BYTES: Final = 1_048_576
_END_OF_HEAD: Final = b"\r\n\r\n"
_HANDSHAKE: Final = re.compile(rb"GET .*\r\nupgrade:[^\r\n]*websocket", re.IGNORECASE | re.DOTALL)
_REQUEST_LINE: Final = re.compile(rb"([A-Z]{1,16}) ([\x21-\x7e]{1,8192}) HTTP/1\.[01]")


class HttpOrWebSocketConnection(ServerConnection):
    """A connection that becomes a WebSocket or a plain HTTP one when the head of its request has come."""

    def __init__(
        self,
        *args: Any,
        answer_request: Respond,
        send_buffer_bytes: int,
        first_bytes_timeout_s: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._answer_request = answer_request
        self._send_buffer_bytes = send_buffer_bytes
        self._first_bytes_timeout_s = first_bytes_timeout_s
        self._first_bytes = b""
        self._waiting_transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def try_send_all(self, messages: Sequence[str | bytes]) -> bool:
        """Send several messages if that needs no waiting; returns whether they were sent."""
        if self.paused or self.protocol.state is not State.OPEN:
            return False
        self._write_all(messages)
        self.send_data()
        return True

    async def send_all(self, messages: Sequence[str | bytes]) -> None:
        """Send several messages, and wait for room once. Raises what `send` raises."""
        async with self.send_context():
            self._write_all(messages)

    def _write_all(self, messages: Sequence[str | bytes]) -> None:
        for message in messages:
            if isinstance(message, str):
                self.protocol.send_text(message.encode())
            else:
                self.protocol.send_binary(message)

    def send_data(self) -> None:
        """As websockets does it, but what was written together goes to the kernel together."""
        pieces = self.protocol.data_to_send()
        if data := b"".join(pieces):
            self.transport.write(data)
        if b"" in pieces:  # so the library says that nothing will follow
            if self.transport.can_write_eof():
                with contextlib.suppress(OSError, RuntimeError):
                    self.transport.write_eof()
            else:
                self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        connection: socket.socket | None = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._send_buffer_bytes)
        self._waiting_transport = transport
        self._timer = self.loop.call_later(self._first_bytes_timeout_s, transport.abort)

    def data_received(self, data: bytes) -> None:
        transport = self._waiting_transport
        if transport is None:
            return super().data_received(data)
        self._first_bytes += data
        head, is_complete, _ = self._first_bytes.partition(_END_OF_HEAD)
        if not is_complete and len(head) <= MAX_HEAD_BYTES:
            return
        self._decided()
        if _HANDSHAKE.match(head):
            super().connection_made(transport)
            super().data_received(self._first_bytes)
        else:
            reader = HttpRequestReader(self._answer_request, self._first_bytes_timeout_s)
            transport.set_protocol(reader)
            reader.connection_made(transport)
            reader.data_received(self._first_bytes)

    def eof_received(self) -> None:
        if self._waiting_transport is None:
            super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting_transport is None:
            super().connection_lost(exc)
        else:
            self._decided()

    def _decided(self) -> None:
        self._waiting_transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class HttpRequestReader(asyncio.Protocol):
    """Reads one HTTP request with its body, bounded in size and time, answers it, and closes."""

    def __init__(self, respond: Respond, timeout_s: float) -> None:
        self._respond = respond
        self._timeout_s = timeout_s
        self._received = bytearray()  # the head, and once that was read the body
        self._head: RequestHead | None = None
        self._is_answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._timer = asyncio.get_running_loop().call_later(self._timeout_s, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._is_answered:
            return
        self._received += data
        answer = self._try_answer()
        if answer is not None:
            self._is_answered = True
            self._transport.write(answer.serialize())
            self._transport.close()

    def _try_answer(self) -> Response | None:
        """The answer once the request is complete or known to be wrong; None while more must come."""
        if self._head is None:
            text, is_complete, body = bytes(self._received).partition(_END_OF_HEAD)
            if len(text) > MAX_HEAD_BYTES:
                return _refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            if not is_complete:
                return None
            head = read_head(text)
            if isinstance(head, Response):
                return head
            self._head = head
            self._received = bytearray(body)
            if head.expects_continue and not self._received:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if len(self._received) < self._head.num_body_bytes:
            return None
        return self._respond(
            self._head.method, self._head.path, bytes(self._received[: self._head.num_body_bytes])
        )


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What is to be known of a request before its body."""

    method: str
    path: str
    num_body_bytes: int
    expects_continue: bool


def read_head(head: bytes) -> RequestHead | Response:
    """The head of a request, without the empty line at its end; an answer where it is wrong or too much."""
    request_line, *lines = head.split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(request_line)
    if match is None:
        return _refuse(HTTPStatus.BAD_REQUEST)
    fields = [
        (name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)
    ]
    if any(name == b"transfer-encoding" for name, _ in fields):
        return _refuse(HTTPStatus.LENGTH_REQUIRED)
    lengths = {value for name, value in fields if name == b"content-length"}
    if len(lengths) > 1 or not all(length.isdigit() and len(length) < 16 for length in lengths):
        return _refuse(HTTPStatus.BAD_REQUEST)
    num_body_bytes = int(next(iter(lengths), b"0"))
    if num_body_bytes > MAX_BODY_BYTES:
        return _refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    expects_continue = num_body_bytes > 0 and (b"expect", b"100-continue") in fields
    return RequestHead(match[1].decode(), match[2].decode(), num_body_bytes, expects_continue)


def _refuse(status: HTTPStatus) -> Response:
    return refusal(status, "bad_request", status.phrase)
