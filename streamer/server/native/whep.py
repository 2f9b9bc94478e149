"""The native protocol over WebRTC, whose sessions begin and end by WHEP: docs/integrations/webrtc.md is the contract.

WHEP is draft-ietf-wish-whep-03, the sibling for players of WHIP (RFC 9725). Its draft says how a player asks for a
stream and not what the stream is to say: the native protocol's messages do, over a data channel or by HTTP.
"""

from __future__ import annotations

import asyncio
import importlib.util
import secrets
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from streamer.errors import InvalidMessageError, InvalidParameterError, OverloadedError
from streamer.server.client_protocol import Open
from streamer.server.http import Answer, Exchange, refusal
from streamer.server.native.handshake import create_protocol
from streamer.server.native.messages import Start
from streamer.server.native.protocol import NativeProtocol
from streamer.server.routing import Routes
from streamer.server.service import Service
from streamer.server.upgrade import Upgrade

if TYPE_CHECKING:
    from streamer.server.webrtc import WebRtcConnection

PATH: Final = "/v1/whep"
WEBRTC: Final = "streamer.server.webrtc"
SDP: Final = "application/sdp"
LINES: Final = "application/x-ndjson"
MAX_SESSIONS: Final = 128
"""How many sessions there may be at a time: each has UDP sockets of its own, and encrypts every packet by itself."""
MAX_SESSIONS_PER_CLIENT: Final = 32
"""How many of them one key may have, or one address without keys."""
LEAD_MS: Final = 80
"""How far ahead of its playback sound is sent. Players of WebRTC hold little more, and drop what comes much earlier."""


class TrackProtocol(NativeProtocol):
    """The native protocol of a session whose sound is one track of Opus, in which utterances follow each other."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options | {"is_framed": False})

    def _ask(self, message: Start) -> Open:
        opened = super()._ask(message)
        if opened.audio_format.encoding != "opus":
            message_text = f"encoding {opened.audio_format.encoding!r}: over WebRTC sound is `opus`"
            raise InvalidParameterError(message_text, param="encoding")
        return replace(opened, lead_ms=LEAD_MS)


class WhepSessions:
    """The sessions that are open, by the names in their addresses. A name is a secret: who knows it may speak."""

    def __init__(self, routes: Routes, service: Service) -> None:
        self._routes = routes
        self._service = service
        self._open: dict[str, WebRtcConnection] = {}
        self._clients: dict[str, str] = {}  # keys or addresses, by the same names

    async def begin(self, exchange: Exchange) -> None:
        """Answer an offer: 201, and `Location` with the address of the session."""
        request = exchange.request
        if importlib.util.find_spec("aiortc") is None:
            message = "WebRTC needs the package aiortc: pip install 'bark-streamer[webrtc]'"
            answer = refusal(HTTPStatus.NOT_IMPLEMENTED, "not_installed", message)
            return await exchange.answer(answer)
        content_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if content_type != SDP:
            message = f"an offer is SDP: send it as {SDP}, not as {content_type[:64]!r}"
            answer = refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "invalid_message", message)
            return await exchange.answer(answer)
        await asyncio.to_thread(importlib.import_module, WEBRTC)  # which takes most of a second, once
        from streamer.server.webrtc import WebRtcConnection

        client = request.key_name or request.address
        if len(self._open) >= MAX_SESSIONS:
            raise OverloadedError(f"{MAX_SESSIONS} WebRTC sessions are open", retry_after_s=5.0)
        if list(self._clients.values()).count(client) >= MAX_SESSIONS_PER_CLIENT:
            message = f"{MAX_SESSIONS_PER_CLIENT} WebRTC sessions of this client are open"
            raise OverloadedError(message, retry_after_s=5.0)
        connection, name = WebRtcConnection(), secrets.token_urlsafe(24)
        self._open[name], self._clients[name] = connection, client
        try:
            answered = await connection.answer(_text(request.body))
            upgrade = Upgrade.of(request, request.key_name, request.protocol)
            protocol = create_protocol(upgrade, self._service, TrackProtocol)
            self._routes.begin_session(connection, upgrade, protocol, lambda: self._forget(name))
        except BaseException:
            self._forget(name)
            await connection.close()
            raise
        location = ("Location", f"{request.path.rstrip('/')}/{name}")
        await exchange.answer(Answer(HTTPStatus.CREATED, answered.encode(), SDP, (location,)))

    async def say(self, exchange: Exchange) -> None:
        """Take a message on behalf of the client; the answer is what was said to it since the last one, a line each.

        What the message leads to at once is among it: an error, or `started`.
        """
        if (connection := await self._find(exchange)) is not None:
            connection.say(_text(exchange.request.body))
            await connection.caught_up()
            body = "".join(f"{message}\n" for message in connection.take_kept())
            await exchange.answer(Answer(HTTPStatus.OK, body.encode(), LINES))

    async def end(self, exchange: Exchange) -> None:
        """End a session: 200."""
        if (connection := await self._find(exchange)) is not None:
            connection.hang_up()
            await exchange.answer(Answer(HTTPStatus.OK))

    def _forget(self, name: str) -> None:
        self._open.pop(name, None)
        self._clients.pop(name, None)

    async def _find(self, exchange: Exchange) -> WebRtcConnection | None:
        connection = self._open.get(exchange.request.parameters["name"])
        if connection is None:
            message = "there is no such session, or it is over"
            await exchange.answer(refusal(HTTPStatus.NOT_FOUND, "not_found", message))
        return connection


def add_whep(routes: Routes, service: Service) -> None:
    """Add the address for offers, and those of the sessions; the package is imported with the first offer."""
    sessions = WhepSessions(routes, service)
    routes.add("POST", PATH, sessions.begin)
    for method, handle in (("POST", sessions.say), ("DELETE", sessions.end)):
        routes.add(method, f"{PATH}/{{name}}", handle, access="public")


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise InvalidMessageError("the body is not UTF-8") from None
