"""One HTTP request and its answer: what a route's function is given, and how it answers.

`http_connection` makes an `Exchange` of each request; `h11` knows HTTP/1.1's rules.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

import h11
from websockets.datastructures import Headers

from streamer.errors import (
    AudioEncodeError,
    AuthenticationError,
    ConfigError,
    EngineError,
    InternalError,
    OverloadedError,
    RateLimitedError,
    StreamerError,
)
from streamer.server.connection import Connection

JSON: Final = "application/json; charset=utf-8"
TEXT: Final = "text/plain; charset=utf-8"
Fields = tuple[tuple[str, str], ...]
"""Header fields as names and values."""
_STATUSES: Final[tuple[tuple[type[StreamerError], HTTPStatus], ...]] = (
    (AuthenticationError, HTTPStatus.UNAUTHORIZED),
    (RateLimitedError, HTTPStatus.TOO_MANY_REQUESTS),
    (OverloadedError, HTTPStatus.SERVICE_UNAVAILABLE),
    (EngineError, HTTPStatus.INTERNAL_SERVER_ERROR),
    (InternalError, HTTPStatus.INTERNAL_SERVER_ERROR),
    (AudioEncodeError, HTTPStatus.INTERNAL_SERVER_ERROR),
    (ConfigError, HTTPStatus.INTERNAL_SERVER_ERROR),
    (StreamerError, HTTPStatus.BAD_REQUEST),
)
"""The status for each kind of error; the first that fits counts."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it was sent. `path` is neither decoded nor followed by the query.

    `key_name`: the name of the API key that came with it; `parameters`: what the route's path pattern matched, decoded;
    `protocol`: the folder of the adapter whose route it is.
    """

    method: str
    path: str
    query: str
    headers: Headers
    address: str
    body: bytes = b""
    key_name: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    protocol: str = ""

    @property
    def shown_path(self) -> str:
        """The path for a log: without what its pattern matched, which may be the name of a session, a secret."""
        path = self.path
        for name, value in self.parameters.items():
            path = path.replace(value, f"{{{name}}}") if value else path
        return path


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, whose body is small."""

    status: HTTPStatus
    body: bytes = b""
    content_type: str = TEXT
    headers: Fields = ()


class RefusedError(Exception):
    """A request is refused with this answer. `reason`: the label of the metric that counts it, if one does."""

    def __init__(self, answer: Answer, reason: str | None = None) -> None:
        super().__init__(answer.status.phrase)
        self.answer = answer
        self.reason = reason


def json_answer(status: HTTPStatus, value: object, headers: Fields = ()) -> Answer:
    """Return `value` as a JSON body."""
    return Answer(status, json.dumps(value).encode(), JSON, headers)


def refusal(
    status: HTTPStatus,
    code: str,
    message: str,
    *,
    param: str | None = None,
    retry_after_s: float | None = None,
    headers: Fields = (),
) -> Answer:
    """Return an error with the stable code that the WebSocket's errors use too."""
    error = {"code": code, "message": message} | ({"param": param} if param is not None else {})
    if retry_after_s is not None:
        headers = (*headers, ("Retry-After", str(max(1, round(retry_after_s)))))
    return json_answer(status, {"error": error}, headers)


NOTHING_HERE: Final = refusal(HTTPStatus.NOT_FOUND, "not_found", "there is nothing at this address")
"""The answer at an unknown address."""


def error_answer(error: StreamerError) -> Answer:
    """Return the answer for an error of ours."""
    status = next(status for kind, status in _STATUSES if isinstance(error, kind))
    headers = (("WWW-Authenticate", "Bearer"),) if status is HTTPStatus.UNAUTHORIZED else ()
    return refusal(
        status,
        error.code,
        error.message,
        param=error.param,
        retry_after_s=error.retry_after_s,
        headers=headers,
    )


class Exchange:
    """One request being answered: either `answer`, or `start`, some `write`, and the end when the route returns.

    A body without a `Content-Length` is chunked, and an exchange that fails leaves out the chunk that ends it,
    unless it `ends_on_failure`.
    """

    def __init__(
        self, request: Request, http: h11.Connection, connection: Connection, fields: Fields = ()
    ) -> None:
        """`fields`: header fields that every answer of this exchange has."""
        self.request = request
        self.trailers: Fields = ()
        """Fields that follow a chunked body, for what is known only then; other bodies have no place for them."""
        self.is_recorded = False
        """Whether a failure of the answer is in the log already."""
        self.ends_on_failure = False
        """Whether the body ends properly if the answer fails after its status: for clients that would otherwise ask
        for all of it again."""
        self._http = http
        self._connection = connection
        self._fields = fields
        self._has_body = request.method != "HEAD"

    @property
    def is_started(self) -> bool:
        """Whether the status has been sent."""
        return self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE)

    async def start(self, status: HTTPStatus, headers: Fields = ()) -> None:
        """Send the status and the header fields. Raises `ClientGoneError`.

        A `?` stands for what a field cannot hold: values may quote a client, or name an operator's voice.
        """
        fields = [
            ("Date", formatdate(usegmt=True)),
            ("Server", "streamer"),
            ("Cache-Control", "no-cache"),
            ("X-Content-Type-Options", "nosniff"),
            *((name, _printable(value)) for name, value in (*self._fields, *headers)),
        ]
        self._send(h11.Response(status_code=status.value, headers=fields, reason=status.phrase.encode()))
        await self._connection.drain()

    async def write(self, data: bytes) -> None:
        """Send a piece of the body, waiting while the client has not taken what came before.

        Raises `ClientGoneError` when the client is gone, or takes nothing for too long.
        """
        if data and self._has_body:
            self._send(h11.Data(data=data))
        await self._connection.drain()

    async def end(self) -> None:
        """End the answer; called when the route's function has returned. Raises `ClientGoneError`."""
        is_chunked = self._has_body and self._http.their_http_version != b"1.0"
        self._send(h11.EndOfMessage(headers=[*self.trailers] if is_chunked else []))
        await self._connection.drain()

    async def answer(self, answer: Answer) -> None:
        """Send a whole answer. Raises `ClientGoneError`."""
        fields = answer.headers
        if answer.status is not HTTPStatus.NO_CONTENT:
            length = str(len(answer.body))
            fields = (("Content-Type", answer.content_type), ("Content-Length", length), *fields)
        await self.start(answer.status, fields)
        await self.write(answer.body)

    def _send(self, event: h11.Event) -> None:
        if data := self._http.send(event):
            self._connection.write(data)


def _printable(value: str) -> str:
    """Return what a header field can hold of a value: printable ASCII, without white space around it."""
    return "".join(character if " " <= character <= "~" else "?" for character in value).strip()
