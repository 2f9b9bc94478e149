"""One port for WebSocket and HTTP: the first bytes of a connection decide who reads the rest.

`websockets` answers GET and HEAD but drops a request that has a body without a word. So a connection
whose first line begins with another method goes to `HttpRequestReader`, which reads the body too.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Response

from streamer.server.http import refusal

Respond = Callable[[str, str, bytes], Response]
"""Method, path with query, body -> answer."""
MAX_HEAD_BYTES: Final = 16_384
MAX_BODY_BYTES: Final = 1_048_576
_METHOD_LETTERS: Final = 8
_LEFT_TO_WEBSOCKETS: Final = (b"GET ", b"HEAD ")
_REQUEST_LINE: Final = re.compile(rb"([A-Z]{1,16}) ([\x21-\x7e]{1,8192}) HTTP/1\.[01]")


class FirstBytesConnection(ServerConnection):
    """A connection that becomes a WebSocket or a plain HTTP one when its first bytes have come."""

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
        if len(self._first_bytes) < _METHOD_LETTERS and b" " not in self._first_bytes:
            return
        self._decided()
        if self._first_bytes.startswith(_LEFT_TO_WEBSOCKETS):
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
        self._received = bytearray()
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
        head, separator, rest = bytes(self._received).partition(b"\r\n\r\n")
        if not separator:
            too_long = len(self._received) > MAX_HEAD_BYTES
            return _refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE) if too_long else None
        request_line, *lines = head.split(b"\r\n")
        match = _REQUEST_LINE.fullmatch(request_line)
        if match is None or len(head) > MAX_HEAD_BYTES:
            return _refuse(HTTPStatus.BAD_REQUEST)
        names = [line.partition(b":")[0].strip().lower() for line in lines]
        if b"transfer-encoding" in names:
            return _refuse(HTTPStatus.LENGTH_REQUIRED)
        lengths = {
            line.partition(b":")[2].strip()
            for name, line in zip(names, lines, strict=True)
            if name == b"content-length"
        }
        if len(lengths) > 1 or not all(length.isdigit() and len(length) < 16 for length in lengths):
            return _refuse(HTTPStatus.BAD_REQUEST)
        num_body_bytes = int(next(iter(lengths), b"0"))
        if num_body_bytes > MAX_BODY_BYTES:
            return _refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if b"100-continue" in head.lower() and not rest and num_body_bytes:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if len(rest) < num_body_bytes:
            return None
        method, path = match.group(1).decode(), match.group(2).decode()
        return self._respond(method, path, rest[:num_body_bytes])


def _refuse(status: HTTPStatus) -> Response:
    return refusal(status, "bad_request", status.phrase)
