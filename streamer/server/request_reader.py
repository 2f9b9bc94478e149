"""Reads the requests of a connection, bounded in bytes and time; h11 knows HTTP/1.1, and what is no request."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import h11
from websockets.datastructures import Headers

from streamer.config import LimitsConfig
from streamer.server.connection import Connection
from streamer.server.http import RefusedError, Request, refusal

MAX_HEAD_BYTES: Final = 16_384
"""The most bytes of a request's line and header fields."""
_MEANINGS: Final = {
    HTTPStatus.BAD_REQUEST: "this is not HTTP/1.1",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: f"the request's head is longer than {MAX_HEAD_BYTES} bytes",
    HTTPStatus.NOT_IMPLEMENTED: "of the transfer encodings only `chunked` is known",
}


class RequestReader:
    """Reads one request after another; `http` is shared with the `Exchange` that answers each."""

    def __init__(self, connection: Connection, limits: LimitsConfig) -> None:
        self.http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._connection = connection
        self._limits = limits

    @property
    def is_at_end(self) -> bool:
        """Whether the request that was begun has been read whole."""
        return self.http.their_state not in (h11.IDLE, h11.SEND_BODY, h11.ERROR)

    async def read_head(self, idle_s: float) -> Request | None:
        """Read a request without its body; None if none has begun for `idle_s`, or the connection has ended.

        Raises `RefusedError` for what is no request, or comes too slowly.
        """
        try:
            event = await self._read_event(idle_s)
        except h11.RemoteProtocolError as error:
            raise _refused(error) from None
        except TimeoutError:
            if not self.http.trailing_data[0]:
                return None
            raise self._too_slow() from None
        return _request(event, self._connection.address) if isinstance(event, h11.Request) else None

    async def read_body(self, request: Request) -> bytes:
        """Read the body of the request. Raises `RefusedError` if it is too long, broken, or comes too slowly."""
        lengths = request.headers.get_all("Content-Length")
        if lengths and "Transfer-Encoding" in request.headers:
            message = "a request has a Content-Length or a Transfer-Encoding, never both"
            raise RefusedError(refusal(HTTPStatus.BAD_REQUEST, "bad_request", message))
        try:
            async with asyncio.timeout(self._limits.auth_timeout_s):
                return await self._read_body(int(lengths[0]) if lengths else 0)
        except h11.RemoteProtocolError as error:
            raise _refused(error) from None
        except TimeoutError:
            raise self._too_slow() from None

    async def _read_event(self, idle_s: float) -> h11.Event:
        has_begun = self.http.trailing_data[0] != b""  # behind the request before
        async with asyncio.timeout(self._limits.auth_timeout_s if has_begun else idle_s) as deadline:
            while not isinstance(event := self.http.next_event(), h11.Request | h11.ConnectionClosed):
                data = await self._connection.read()
                if not has_begun:
                    has_begun = True
                    deadline.reschedule(asyncio.get_running_loop().time() + self._limits.auth_timeout_s)
                self.http.receive_data(data)
        return event

    async def _read_body(self, num_bytes: int) -> bytes:
        longest, body = self._limits.max_message_bytes, bytearray()
        while max(num_bytes, len(body)) <= longest:
            event = self.http.next_event()
            if isinstance(event, h11.EndOfMessage):
                return bytes(body)
            if isinstance(event, h11.Data):
                body += event.data
                continue
            if self.http.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
                self._connection.write(self.http.send(go_on))
            self.http.receive_data(await self._connection.read())
        message = f"a body of more than {longest} bytes: send a shorter text"
        raise RefusedError(refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", message))

    def _too_slow(self) -> RefusedError:
        message = f"a request's head, and then its body, must come within {self._limits.auth_timeout_s:g} s"
        return RefusedError(refusal(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", message))


def _refused(error: h11.RemoteProtocolError) -> RefusedError:
    status = HTTPStatus(error.error_status_hint)
    return RefusedError(refusal(status, "bad_request", f"{_MEANINGS.get(status, status.phrase)} ({error})"))


def _request(head: h11.Request, address: str) -> Request:
    target = head.target.decode("ascii")
    if not target.startswith("/"):  # `http://host/path`, as a client sends it to a proxy
        try:
            url = urlsplit(target)
        except ValueError as error:
            message = f"{target[:64]!r} is no address ({error})"
            raise RefusedError(refusal(HTTPStatus.BAD_REQUEST, "bad_request", message)) from None
        target = f"{url.path or '/'}?{url.query}"
    path, _, query = target.partition("?")
    headers = Headers((name.decode(), value.decode("latin-1")) for name, value in head.headers)
    return Request(head.method.decode(), path, query, headers, address)
