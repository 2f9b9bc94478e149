"""The table from paths to what answers there, filled by `routes` and the adapters, asked by `http_connection`."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Literal
from urllib.parse import unquote

from websockets.datastructures import Headers

from streamer.config import LimitsConfig
from streamer.errors import OverloadedError
from streamer.server.access import Credentials, read_bearer
from streamer.server.client_connection import ClientConnection
from streamer.server.client_protocol import ClientProtocol, CreateProtocol
from streamer.server.connection import Connection
from streamer.server.http import (
    NOTHING_HERE,
    Answer,
    Exchange,
    RefusedError,
    Request,
    error_answer,
    refusal,
)
from streamer.server.upgrade import Upgrade

Handle = Callable[[Exchange], Awaitable[None]]
ShapeError = Callable[[Request, Answer], Answer]
"""Makes the answer that refuses a request, as `http.refusal` writes it, one that the clients of another protocol
understand."""
Access = Literal["key", "public", "probe", "metrics", "admin"]
"""Which requests are answered.

`key`: those with a key that may speak, if keys are needed. `public`: all. `probe`: all, even when the server is full.
`metrics` and `admin`: the same, and where keys have scopes only those whose key has the scope of this name.
"""
BeginSession = Callable[[ClientConnection, Upgrade, ClientProtocol, Callable[[], object]], None]
"""Begins a session, and calls the last of its arguments when it is over. Raises `OverloadedError`."""
_NO_HEADERS: Final = Headers()
_SLASHES: Final = re.compile("/{2,}")
_PARAMETER: Final = re.compile(r"\{(\w+)(:path)?\}")


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """What answers a plain HTTP request. `protocol`: the folder of its adapter."""

    handle: Handle
    credentials: Credentials
    access: Access
    shape_error: ShapeError
    protocol: str


@dataclass(frozen=True, slots=True)
class WebSocketRoute:
    """What is spoken over a WebSocket. `key_may_follow`: the protocol has a message for the key; `protocol`: the folder
    of its adapter."""

    create_protocol: CreateProtocol
    credentials: Credentials
    shape_error: ShapeError
    subprotocols: tuple[str, ...]
    key_may_follow: bool
    protocol: str


@dataclass(frozen=True, slots=True)
class TcpRoute:
    """What is spoken on a port of its own, by a protocol that knows neither HTTP nor keys.

    `option_prefix`: what the names of the options for host and port begin with. `create_connection` reads messages from
    a connection and writes them. `announce` is given the port and entered while it is open and the server is ready.
    """

    host: str
    port: int
    option_prefix: str
    create_connection: Callable[[Connection, LimitsConfig], ClientConnection]
    create_protocol: CreateProtocol
    announce: Callable[[int], AbstractAsyncContextManager[None]]

    @property
    def protocol(self) -> str:
        """The folder of its adapter, after which the options are named."""
        return self.option_prefix.rstrip("_")


def unshaped(_request: Request, answer: Answer) -> Answer:
    """Leave an error's answer as it is."""
    return answer


@dataclass(slots=True)
class _Place:
    """A path pattern and what is there."""

    pattern: re.Pattern[str]
    methods: dict[str, HttpRoute] = field(default_factory=dict)
    by_header: dict[tuple[str, str], HttpRoute] = field(default_factory=dict)
    """Routes for a method and requests with a certain header field."""
    websocket: WebSocketRoute | None = None

    @property
    def allowed(self) -> str:
        """The value of an `Allow` header."""
        methods = sorted({*self.methods, "OPTIONS"} | ({"GET"} if self.websocket else set()))
        return ", ".join(methods)


class Routes:
    """A fixed table. Nothing that a client sends ever becomes the name of a file.

    A path pattern is a path in which `{name}` stands for one segment and `{name:path}` for one or more; patterns are
    tried in the order in which they were added. A path with doubled slashes, or one at its end, is the same as without:
    clients join addresses carelessly.
    """

    def __init__(self) -> None:
        self.are_complete = True
        """Whether all routes were added; until then an address that is not known may yet become one."""
        self.protocol = ""
        """The folder of the adapter that is adding its routes."""
        self.begin_session: BeginSession
        """Begins a session for a client that is connected in a way of its own; the server sets it."""
        self.tcp: list[TcpRoute] = []
        """What is spoken on ports of their own."""
        self._places: dict[str, _Place] = {}

    def add(
        self,
        method: str,
        path_pattern: str,
        handle: Handle,
        *,
        credentials: Credentials = read_bearer,
        access: Access = "key",
        shape_error: ShapeError = unshaped,
        header: str | None = None,
    ) -> None:
        """Have `handle` answer `method`, and also HEAD if that is GET.

        With a `header` it answers only requests with this field, by which a protocol's clients are known, and leaves
        the others to what else is at the address.
        """
        route = HttpRoute(handle, credentials, access, shape_error, self.protocol)
        place = self._place(path_pattern)
        for name in (method, "HEAD") if method == "GET" else (method,):
            if header is None:
                place.methods[name] = route
            else:
                place.by_header[name, header] = route

    def websocket(
        self,
        path_pattern: str,
        create_protocol: CreateProtocol,
        *,
        credentials: Credentials = read_bearer,
        shape_error: ShapeError = unshaped,
        subprotocols: tuple[str, ...] = (),
        key_may_follow: bool = False,
    ) -> None:
        """Have WebSockets speak the protocol that `create_protocol` makes."""
        self._place(path_pattern).websocket = WebSocketRoute(
            create_protocol, credentials, shape_error, subprotocols, key_may_follow, self.protocol
        )

    def find_websocket(self, path: str) -> tuple[WebSocketRoute, Mapping[str, str]] | None:
        """Return what is spoken at this path and the path's parameters; None if no WebSocket is."""
        path = _tidied(path)
        for place in self._places.values():
            if place.websocket is not None and (match := place.pattern.fullmatch(path)):
                return place.websocket, _parameters(match)
        return None

    def find(
        self, method: str, path: str, headers: Headers = _NO_HEADERS
    ) -> tuple[HttpRoute, Mapping[str, str]]:
        """Return what answers a request and the path's parameters. Raises `RefusedError`: 404, 405 or 426."""
        place, parameters = self._find_any(path)
        for (for_method, header), for_these in place.by_header.items():
            if for_method == method and header in headers:
                return for_these, parameters
        if (route := place.methods.get(method)) is not None:
            return route, parameters
        allow = ("Allow", place.allowed)
        if place.websocket is not None and method in ("GET", "HEAD"):
            status, code = HTTPStatus.UPGRADE_REQUIRED, "upgrade_required"
            message = "this address speaks WebSocket; connect with a WebSocket client"
            raise RefusedError(refusal(status, code, message, headers=(("Upgrade", "websocket"), allow)))
        status, code = HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed"
        message = f"{method[:16]} is not allowed at this address, only {place.allowed}"
        raise RefusedError(refusal(status, code, message, headers=(allow,)))

    def allowed(self, path: str) -> str:
        """Return the methods of a path for an `Allow` header. Raises `RefusedError`: 404."""
        return self._find_any(path)[0].allowed

    def _place(self, path_pattern: str) -> _Place:
        return self._places.setdefault(path_pattern, _Place(_compiled(path_pattern)))

    def _find_any(self, path: str) -> tuple[_Place, Mapping[str, str]]:
        path = _tidied(path)
        for place in self._places.values():
            if match := place.pattern.fullmatch(path):
                return place, _parameters(match)
        if not self.are_complete:
            raise RefusedError(error_answer(OverloadedError("the model is loading", retry_after_s=1.0)))
        raise RefusedError(NOTHING_HERE)


def _tidied(path: str) -> str:
    return _SLASHES.sub("/", path).rstrip("/") or "/"


def _parameters(match: re.Match[str]) -> Mapping[str, str]:
    return {name: unquote(value) for name, value in match.groupdict().items()}


def _compiled(path_pattern: str) -> re.Pattern[str]:
    pieces, end = [], 0
    for parameter in _PARAMETER.finditer(path_pattern):
        pieces.append(re.escape(path_pattern[end : parameter.start()]))
        pieces.append(f"(?P<{parameter[1]}>{'.+' if parameter[2] else '[^/]+'})")
        end = parameter.end()
    return re.compile("".join(pieces) + re.escape(path_pattern[end:]))
