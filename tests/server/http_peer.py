"""A client over HTTP without a socket, whose server runs in a loop that is moved by hand; for the state machines."""

from __future__ import annotations

import asyncio
import functools
import re
from dataclasses import dataclass, field
from typing import Any, Final
from unittest import mock

from streamer.config import Config
from streamer.server.accepting import Connections
from streamer.server.adapters import add_adapters
from streamer.server.admission import Admission
from streamer.server.client_address import TrustedProxies
from streamer.server.connection import Connection
from streamer.server.detached import begin_session
from streamer.server.host import Host
from streamer.server.http_connection import HttpConnection
from streamer.server.keys import ApiKeys
from streamer.server.places import Places
from streamer.server.routing import Routes
from streamer.server.service import Service
from streamer.server.sessions import Sessions
from streamer.telemetry.metrics import Metrics
from tests.fakes.event_loop import HandMovedLoop
from tests.fakes.letters import HandFedSynthesizer

HIGH_WATER_BYTES: Final = 16_384
PEER: Final = "203.0.113.1"
"""The address of every `HttpPeer`."""


class HandTransport(asyncio.Transport):
    """A transport whose other end is `HttpPeer`, which may stop reading."""

    def __init__(self, loop: HandMovedLoop) -> None:
        super().__init__()
        self.written = bytearray()
        self.is_stalled = self.has_written_all = self._is_closing = self._is_lost = False
        self._num_unsent = 0
        self._loop = loop
        self.protocol: asyncio.Protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": (PEER, 1), "socket": mock.Mock()}.get(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return self._num_unsent

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.has_written_all
        self.written += data
        if self.is_stalled:
            self._num_unsent += len(data)
            if self._num_unsent > HIGH_WATER_BYTES:
                self.protocol.pause_writing()

    def read_on(self) -> None:
        self.is_stalled, self._num_unsent = False, 0
        self.protocol.resume_writing()
        if self._is_closing:
            self.lose()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.has_written_all = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True
        if not self._num_unsent:
            self.lose()

    def abort(self) -> None:
        self._is_closing = True
        self.lose()

    def lose(self) -> None:
        """The connection is over."""
        self._is_closing = True
        if not self._is_lost:
            self._is_lost = True
            self._loop.call_soon(self.protocol.connection_lost, None)


@dataclass
class HttpServer:
    """All of the server that answers requests, over a synthesizer that is fed by hand."""

    config: Config
    loop: HandMovedLoop = field(default_factory=HandMovedLoop)
    synthesizer: HandFedSynthesizer = field(default_factory=HandFedSynthesizer)
    is_stopping: bool = False

    def __post_init__(self) -> None:
        limits, self.metrics = self.config.limits, Metrics()
        proxies = TrustedProxies(self.config.server.trusted_proxies)
        self.service = Service(
            self.config, self.synthesizer, Admission(limits), ApiKeys(), self.metrics, proxies=proxies
        )
        self.service.admission.places = places = Places(limits, self.loop.time)
        self.connections = Connections(places, limits, self.metrics, proxies)
        self.sessions = Sessions(self.service)
        self.routes = Routes()
        self.routes.begin_session = functools.partial(
            begin_session, self.connections, self.service, self.sessions.serve
        )
        add_adapters(self.routes, self.service)
        self._host = Host(
            "0.0.0.0",
            False,
            self.service,
            self.routes,
            is_ready=lambda: not self.is_stopping,
            is_stopping=lambda: self.is_stopping,
            serve_websocket=self.sessions.serve,
        )

    def accept(self) -> HandTransport:
        """Have a client connect."""
        transport, write_timeout_s = HandTransport(self.loop), self.config.limits.write_timeout_s
        converse = functools.partial(HttpConnection, host=self._host)
        transport.protocol = Connection(
            accepted=functools.partial(self.connections._accept, converse, None),
            write_timeout_s=write_timeout_s,
            count_slow_client=self.metrics.slow_clients_closed.inc,
        )
        self.loop.call_soon(transport.protocol.connection_made, transport)
        self.loop.pass_time()
        return transport

    def check_nothing_is_held(self) -> None:
        """All clients are gone, and so is everything of theirs."""
        assert not len(self.connections) and not asyncio.all_tasks(self.loop)
        assert self.synthesizer.num_open == 0 and not self.synthesizer.waiting
        admission = self.service.admission
        assert not admission.places.num_taken and not admission.queue.num_waiting
        assert not any(quota.num_open or quota.num_waiting for quota in admission._quotas.values())
        assert not self.metrics.registry.get_sample_value("tts_requests_running")


@dataclass
class Answer:
    """An answer as far as it has come. `is_whole`: with its end."""

    status: int
    head: bytes
    body: bytes
    is_whole: bool


class HttpPeer:
    """One client's connection."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self.transport = server.accept()
        self.has_left = False

    @property
    def is_open(self) -> bool:
        return not self.transport.is_closing() and not self.transport.has_written_all

    def say(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self._server.loop.call_soon(self.transport.protocol.data_received, data)

    def leave(self, *, by_half: bool = False) -> None:
        """Close the connection, or only the way to the server."""
        self.has_left = True
        self._server.loop.call_soon(self._end if not by_half else self._end_half)

    def _end(self) -> None:
        if not self.transport.is_closing():
            self.transport.lose()

    def _end_half(self) -> None:
        if not self.transport.is_closing() and not self.transport.protocol.eof_received():
            self.transport.close()

    def answers(self) -> list[Answer]:
        """All answers so far, the last of which may lack its end (RFC 9112)."""
        found, data = list[Answer](), bytes(self.transport.written)
        while data:
            head, separator, rest = data.partition(b"\r\n\r\n")
            if not separator:
                break
            status = int(head.split(b" ")[1])
            if status == 100:
                data = rest
                continue
            body, end = _body(head.lower(), status, rest)
            found.append(Answer(status, head, body, end is not None))
            if end is None:
                break
            data = rest[end:]
        return found


def _body(head: bytes, status: int, data: bytes) -> tuple[bytes, int | None]:
    """The body, and where it ends, None if it does not yet."""
    if status in (204, 304):
        return b"", 0
    if (length := re.search(rb"\r\ncontent-length: (\d+)", head)) is not None:
        size = int(length[1])
        return data[:size], size if len(data) >= size else None
    assert b"\r\ntransfer-encoding: chunked" in head
    body, place = b"", 0
    while (match := re.match(rb"([0-9a-fA-F]+)\r\n", data[place:])) is not None:
        size, place = int(match[1], 16), place + match.end()
        if size == 0:
            end = data.find(b"\r\n\r\n", place - 2)
            return body, None if end < 0 else end + 4
        piece = data[place : place + size]
        body += piece
        if len(data) < place + size + 2:
            return body, None
        assert data[place + size : place + size + 2] == b"\r\n"
        place += size + 2
    return body, None


def request(method: str, path: str, body: bytes, *fields: str, is_chunked: bool = False) -> bytes:
    """A request whose body has its length, or comes in chunks."""
    head = [f"{method} {path} HTTP/1.1", "Host: test", *fields]
    head.append("Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {len(body)}")
    if is_chunked:
        pieces = [body[start : start + 7] for start in range(0, len(body), 7)]
        body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body
