"""Reads the requests of a connection, bounded in bytes and time; h11 knows HTTP/1.1, and what is no request."""

from __future__ import annotations

import asyncio
import ipaddress
import re
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import h11
from websockets.datastructures import Headers

from streamer.config import LimitsConfig
from streamer.server.client_address import TrustedProxies, peer_of
from streamer.server.connection import ClientGoneError, Connection
from streamer.server.http import RefusedError, Request, refusal
from streamer.server.places import Place

MAX_HEAD_BYTES: Final = 16_384
"""The most bytes of a request's line and header fields."""
MAX_FIELDS: Final = 100
"""The most header fields of a request: taking thousands of short ones apart would keep everything else waiting."""
BODY_EVENTS: Final = 32
"""How many pieces of a body are taken at once; they count like one request."""
_HOST: Final = re.compile(r"(?:\[(?P<ipv6>[^\[\]]*)\]|[\w.~!$&'()*+,;=%-]*)(?::\d*)?", re.ASCII)
"""What may stand in `Host` (RFC 9110, section 7.2)."""
_HEAD_END: Final = re.compile(rb"\n\r?\n")
_MEANINGS: Final = {
    HTTPStatus.BAD_REQUEST: "this is not HTTP/1.1",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: f"the request's head is longer than {MAX_HEAD_BYTES} bytes",
    HTTPStatus.NOT_IMPLEMENTED: "of the transfer encodings only `chunked` is known",
}


class RequestReader:
    """Reads one request after another; `http` is shared with the `Exchange` that answers each.

    Others have their turn between two requests, and within a long body, although all of it may have come already.
    """

    def __init__(
        self, connection: Connection, limits: LimitsConfig, place: Place, proxies: TrustedProxies
    ) -> None:
        """`place` is the connection's, which each request of a proxy is counted by as its client's."""
        self.http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._connection = connection
        self._limits = limits
        self._place = place
        self._proxies = proxies
        self._proxy = peer if proxies.trust(peer := peer_of(connection.peer_name)) else None
        if self._proxy is not None:
            place.share()

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
        address = self._connection.address
        if self._proxy is not None and isinstance(event, h11.Request):
            address = self._proxies.client_of(self._proxy, _headers(event))
            self._place.count_as(address)
        await self._rest()
        return _request(event, address) if isinstance(event, h11.Request) else None

    async def read_body(self, request: Request) -> bytes:
        """Read the body of the request. Raises `RefusedError` if it is too long, broken, or comes too slowly."""
        lengths = request.headers.get_all("Content-Length")
        if lengths and "Transfer-Encoding" in request.headers:
            message = "a request has a Content-Length or a Transfer-Encoding, never both"
            raise RefusedError(refusal(HTTPStatus.BAD_REQUEST, "bad_request", message))
        if not lengths and "Transfer-Encoding" not in request.headers:
            self.http.next_event()  # the end, for which no timer is needed
            return b""
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
            while not isinstance(event := self._next_event(), h11.Request | h11.ConnectionClosed):
                data = await self._connection.read()
                if not has_begun:
                    has_begun = True
                    deadline.reschedule(asyncio.get_running_loop().time() + self._limits.auth_timeout_s)
                self.http.receive_data(data)
        return event

    def _next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Raises `RefusedError` for a head of too many fields, before it is taken apart."""
        received = self.http.trailing_data[0]
        if received.count(b"\n") > MAX_FIELDS:
            end = _HEAD_END.search(received)
            num_lines = received.count(b"\n", 0, None if end is None else end.start() + 1)
            if num_lines - 1 > MAX_FIELDS:
                message = f"a request has more than {MAX_FIELDS} header fields"
                status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
                raise RefusedError(refusal(status, "bad_request", message))
        return self.http.next_event()

    async def _rest(self) -> None:
        """Let others have their turn, and longer if this connection or its address asks for more than its share.

        Raises `ClientGoneError` if the connection is lost, or ends while it has to wait.
        """
        pause_s = self._place.spend()
        await self._connection.ended.wait_for(pause_s)
        if self._connection.lost.is_set() or (pause_s > 0 and self._connection.ended.is_set()):
            raise ClientGoneError

    async def _read_body(self, num_bytes: int) -> bytes:
        longest, body = self._limits.max_message_bytes, bytearray()
        num_events = 0
        while max(num_bytes, len(body)) <= longest:
            num_events += 1
            if num_events % BODY_EVENTS == 0:
                await self._rest()
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
    if not head.http_version.startswith(b"1."):
        message = f"HTTP/{head.http_version.decode()} is not spoken here, only HTTP/1.1 and HTTP/1.0"
        raise RefusedError(refusal(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "bad_request", message))
    target = head.target.decode("ascii")
    headers = _headers(head)
    if not target.startswith("/"):  # `http://host/path`, as a client sends it to a proxy
        try:
            url = urlsplit(target)
        except ValueError as error:
            message = f"{target[:64]!r} is no address ({error})"
            raise RefusedError(refusal(HTTPStatus.BAD_REQUEST, "bad_request", message)) from None
        target = f"{url.path or '/'}?{url.query}"
        if url.netloc:  # which counts, and not the field (RFC 9112, section 3.2.2)
            del headers["Host"]
            headers["Host"] = url.netloc
    path, _, query = target.partition("?")
    for host in headers.get_all("Host"):
        if not _is_host(host):
            message = f"{host[:64]!r} is no host: it is a name or an address, with a port or without"
            raise RefusedError(refusal(HTTPStatus.BAD_REQUEST, "bad_request", message))
    return Request(head.method.decode(), path, query, headers, address)


def _headers(head: h11.Request) -> Headers:
    return Headers((name.decode(), value.decode("latin-1")) for name, value in head.headers)


def _is_host(value: str) -> bool:
    match = _HOST.fullmatch(value)
    if match is None or match["ipv6"] is None:
        return match is not None
    try:
        return isinstance(ipaddress.ip_address(match["ipv6"]), ipaddress.IPv6Address)
    except ValueError:
        return False
