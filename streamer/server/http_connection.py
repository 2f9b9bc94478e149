"""The requests of one connection, one after another: read by h11, checked, and given to their routes.

A handshake for a WebSocket ends the HTTP; from then on the connection is a `WebSocket`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable
from dataclasses import replace
from http import HTTPStatus
from typing import Final

import h11
from websockets.datastructures import Headers

from streamer.errors import InternalError, StreamerError
from streamer.server.accepting import State
from streamer.server.access import Credentials, check_host, check_key, check_origin, check_place
from streamer.server.client_protocol import ClientProtocol
from streamer.server.connection import ClientGoneError, Connection
from streamer.server.handshakes import handshake
from streamer.server.host import Host
from streamer.server.http import Answer, Exchange, Fields, RefusedError, Request, error_answer, refusal
from streamer.server.places import Place
from streamer.server.request_reader import RequestReader
from streamer.server.routing import HttpRoute, WebSocketRoute
from streamer.server.upgrade import Upgrade
from streamer.server.websocket import WebSocket

logger = logging.getLogger(__name__)
MAX_PIPELINED_BYTES: Final = 65_536
"""The bytes of later requests beyond which no more are read while one is being answered."""
KEEP_ALIVE_S: Final = 75.0
"""How long a connection may stay without a request after an answer: longer than proxies keep theirs."""
MESSAGE_EXCESS: Final = 4
"""A WebSocket message up to this many times too large is still read, so that the answer can name its utterance."""
_ALLOWED_HEADERS: Final = "Authorization, Content-Type, X-API-Key"
_PREFLIGHT_MAX_AGE_S: Final = "600"
_FINAL: Final = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
"""Statuses after which a body is not read further."""


class HttpConnection:
    """Serves one connection from its first byte."""

    __slots__ = "_connection _fields _host _http _limits _place _reader _session state".split()

    def __init__(self, connection: Connection, place: Place, host: Host) -> None:
        self.state: State = "idle"
        self._connection = connection
        self._place = place
        self._host = host
        self._limits = host.service.config.limits
        self._reader = RequestReader(connection, self._limits, place, host.service.proxies)
        self._http = self._reader.http
        self._fields: Fields = ()  # of every answer to the request that is being read
        self._session: Awaitable[None] | None = None  # of the WebSocket that was let in

    async def serve(self) -> None:
        """Answer requests until either side has had enough. Cancelling it leaves an answer without its end."""
        try:
            idle_s = self._limits.auth_timeout_s
            while await self._serve_next(idle_s) and not self._host.is_stopping():
                self._http.start_next_cycle()
                self._place.rest()
                idle_s = KEEP_ALIVE_S
            if self._session is not None:
                await self._serve_session(self._session)
            await self._connection.close()
        except ClientGoneError:
            pass
        finally:
            self._connection.abort()

    async def _serve_session(self, session: Awaitable[None]) -> None:
        """Serve the session; it may last for an hour, in which nothing of its handshake is kept."""
        del self._reader, self._http, self._session
        self._place.forget_requests()
        self.state = "session"
        try:
            await session
        finally:
            self.state = "idle"

    async def _serve_next(self, idle_s: float) -> bool:
        """Serve a request; returns whether another may follow."""
        self._fields = ()
        request = None
        try:
            request = await self._reader.read_head(idle_s)
            if request is None:
                return False
            self.state = "exchange"
            if not self._host.service.keys.are_required:
                self._place.claim()  # if there is one; what is not for probes only is refused without
            if self._host.is_private:
                check_host(request, self._host.name, self._host.service.config.server.allowed_origins)
            # In HTTP/1.0 there is no `Upgrade` (RFC 9110, section 7.8).
            is_handshake = self._http.their_http_version != b"1.0" and _is_handshake(request)
            if is_handshake and (found := self._host.routes.find_websocket(request.path)):
                await self._upgrade(replace(request, parameters=found[1]), found[0])
                return False
            await self._answer(request)
        except RefusedError as refused:
            await self._refuse(request, refused)
        finally:
            self.state = "idle"
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    async def _answer(self, request: Request) -> None:
        """Have a plain request answered, unless something is wrong with it: then raise `RefusedError`."""
        if request.method == "OPTIONS":
            await self._preflight(request)
            return
        route, parameters = self._host.routes.find(request.method, request.path, request.headers)
        try:
            request = replace(await self._admit(request, route), parameters=parameters)
        except RefusedError as refused:
            raise RefusedError(route.shape_error(request, refused.answer), refused.reason) from None
        try:
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(self._watch_client())
                await self._run(route, self._exchange(request))
                watching.cancel()
        except* ClientGoneError:
            raise ClientGoneError from None

    async def _admit(self, request: Request, route: HttpRoute) -> Request:
        """Return the whole request, with the name of its key. Raises `RefusedError`."""
        key_name = None
        match route.access:
            case "key":
                key_name = self._check(request, route.credentials, is_key_needed=True)
            case "public":
                with contextlib.suppress(
                    RefusedError
                ):  # a program is answered, and only the page cannot read it
                    self._check_origin(request)
                self._check_place()
            case "metrics" | "admin" as scope:
                self._check_origin(request)
                keys = self._host.service.keys
                if keys.have_scopes:
                    key_name = check_key(request, keys, route.credentials, is_needed=True, scope=scope)
        body = await self._reader.read_body(request)
        return replace(request, body=body, key_name=key_name, protocol=route.protocol)

    async def _run(self, route: HttpRoute, exchange: Exchange) -> None:
        """Have the route answer. A failure after the status was sent cuts the connection, before the body's end, unless
        the exchange `ends_on_failure`."""
        try:
            await route.handle(exchange)
            await exchange.end()
            return
        except ClientGoneError:
            raise
        except StreamerError as failure:
            error = failure
        except Exception:
            logger.exception("an unexpected error", extra={"path": exchange.request.shown_path})
            error = InternalError("the request failed; the server's log says why")
        self._host.service.metrics.errors.labels(error.code).inc()
        answer = route.shape_error(exchange.request, error_answer(error))
        is_news = exchange.is_started or answer.status is HTTPStatus.INTERNAL_SERVER_ERROR
        if is_news and not exchange.is_recorded:
            about = {"path": exchange.request.shown_path, "code": error.code, "reason": error.message}
            logger.warning("an answer failed", extra=about)
        if exchange.is_started and not exchange.ends_on_failure:
            raise ClientGoneError  # now that nothing more may be said to it
        if not exchange.is_started:
            await exchange.answer(answer)
        await exchange.end()

    async def _watch_client(self) -> None:
        """Raise `ClientGoneError` when the client closes the connection; what it sends meanwhile waits its turn."""
        while len(self._http.trailing_data[0]) < MAX_PIPELINED_BYTES:
            data = await self._connection.read()
            if not data:
                raise ClientGoneError
            self._http.receive_data(data)
        await self._connection.lost.wait()
        raise ClientGoneError

    async def _preflight(self, request: Request) -> None:
        """Answer OPTIONS: what a browser asks before a page of another origin may send a request with a key."""
        allowed = self._host.routes.allowed(request.path)
        origin = self._check_origin(request)
        self._check_place()
        await self._reader.read_body(request)
        # OpenAI's library sends ten headers of its own.
        asked = request.headers.get_all("Access-Control-Request-Headers")
        fields: Fields = (("Allow", allowed),)
        if origin is not None:
            fields += (
                ("Access-Control-Allow-Methods", allowed),
                ("Access-Control-Allow-Headers", ", ".join(asked) or _ALLOWED_HEADERS),
                ("Access-Control-Max-Age", _PREFLIGHT_MAX_AGE_S),
            )
        exchange = self._exchange(request)
        await exchange.answer(Answer(HTTPStatus.NO_CONTENT, headers=fields))
        await exchange.end()

    async def _upgrade(self, request: Request, route: WebSocketRoute) -> None:
        """Let a WebSocket in, which is then to be served, or raise `RefusedError`."""
        await self._reader.read_body(request)
        # Nothing is waited for between the check and the session, or the session could begin after the server's stop.
        try:
            upgrade, protocol = self._let_in(request, route)
        except RefusedError as refused:
            raise RefusedError(route.shape_error(request, refused.answer), refused.reason) from None
        answer = handshake(request.path, request.headers, route.subprotocols)
        if answer.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            names = ("Allow", "Upgrade")
            fields = tuple((name, answer.headers[name]) for name in names if name in answer.headers)
            status = HTTPStatus(answer.status_code)
            raise RefusedError(Answer(status, bytes(answer.body or b""), headers=fields), "handshake")
        answer.headers["Server"] = "streamer"
        self._connection.write(answer.serialize())
        socket = WebSocket(
            self._connection,
            self._http.trailing_data[0],
            max_size=MESSAGE_EXCESS * self._limits.max_message_bytes,
            ping_interval_s=self._limits.ping_interval_s,
        )
        self._session = socket.serve(self._host.serve_websocket(socket, upgrade, protocol))

    def _let_in(self, request: Request, route: WebSocketRoute) -> tuple[Upgrade, ClientProtocol]:
        """Check a client and make its protocol. Raises `RefusedError`."""
        key_name = self._check(request, route.credentials, is_key_needed=not route.key_may_follow)
        upgrade = Upgrade.of(request, key_name, route.protocol)
        if not self._place.is_claimed:
            upgrade = replace(upgrade, claim=self._place.claim)
        try:
            return upgrade, route.create_protocol(upgrade, self._host.service)
        except StreamerError as error:
            raise RefusedError(error_answer(error), "handshake") from None

    def _check(self, request: Request, credentials: Credentials, *, is_key_needed: bool) -> str | None:
        """Return the name of the request's key; raises `RefusedError` if its client may not come in."""
        if not self._host.is_ready():
            answer = refusal(
                HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", "the server is not ready", retry_after_s=1.0
            )
            raise RefusedError(answer, "not_ready")
        self._check_origin(request)
        service = self._host.service
        key_name = check_key(
            request, service.keys, credentials, is_needed=is_key_needed, tickets=service.tickets
        )
        if key_name is not None:
            check_place(self._place)
        else:
            self._check_place()
        return key_name

    def _check_place(self) -> None:
        """Have a client that has shown no key take a place only where none is needed. Raises `RefusedError`."""
        if not self._host.service.keys.are_required:
            check_place(self._place)

    def _check_origin(self, request: Request) -> str | None:
        origin = check_origin(request, self._host.service.config.server.allowed_origins)
        if origin is not None:
            self._fields = (
                ("Access-Control-Allow-Origin", origin),
                ("Access-Control-Expose-Headers", "*"),
                ("Vary", "Origin"),
            )
        return origin

    async def _refuse(self, request: Request | None, refused: RefusedError) -> None:
        """Answer a request that is not served, or None for what was none; without its end, the connection ends."""
        if refused.reason is not None:
            self._host.service.metrics.connections_rejected.labels(refused.reason).inc()
        is_waiting = self._http.they_are_waiting_for_100_continue
        is_final = is_waiting or refused.answer.status in _FINAL
        if request is not None and not self._reader.is_at_end and not is_final:
            with contextlib.suppress(RefusedError):
                await self._reader.read_body(request)
        if not self._reader.is_at_end:
            self._fields = (*self._fields, ("Connection", "close"))
        exchange = self._exchange(request or Request("GET", "", "", Headers(), self._connection.address))
        await exchange.answer(refused.answer)
        await exchange.end()
        if not self._reader.is_at_end:
            await self._connection.linger()

    def _exchange(self, request: Request) -> Exchange:
        fields = self._fields
        if self._host.is_stopping() or not self._place.is_claimed:
            fields = (*fields, ("Connection", "close"))
        return Exchange(request, self._http, self._connection, fields)


def _is_handshake(request: Request) -> bool:
    protocols = ",".join(request.headers.get_all("Upgrade")).lower().split(",")
    return request.method == "GET" and "websocket" in (protocol.strip() for protocol in protocols)
