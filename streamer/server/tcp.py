"""A conversation on a port that a protocol has for itself: one session over plain TCP, without HTTP, TLS or keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from websockets.datastructures import Headers

from streamer.errors import OverloadedError, StreamerError
from streamer.server.accepting import State
from streamer.server.client_connection import ClientConnection
from streamer.server.client_protocol import ClientProtocol
from streamer.server.connection import Connection
from streamer.server.places import FULL_MESSAGES, Place
from streamer.server.routing import TcpRoute
from streamer.server.service import Service
from streamer.server.upgrade import Upgrade

ServeSession = Callable[[ClientConnection, Upgrade, ClientProtocol, StreamerError | None], Awaitable[None]]
"""Serves a session; with an error, only to report it."""


class TcpConversation:
    """Implements `accepting.Conversation`. Who reaches the port may speak, and is counted by their address."""

    def __init__(
        self,
        route: TcpRoute,
        service: Service,
        connection: Connection,
        place: Place,
        *,
        is_ready: Callable[[], bool],
        serve_session: ServeSession,
    ) -> None:
        self.state: State = "idle"
        self._route = route
        self._service = service
        self._connection = connection
        self._place = place
        self._is_ready = is_ready
        self._serve_session = serve_session

    async def serve(self) -> None:
        self.state = "session"
        address = self._connection.address
        upgrade = Upgrade("", "", Headers(), address, key_name=address, protocol=self._route.protocol)
        try:
            connection = self._route.create_connection(self._connection, self._service.config.limits)
            protocol = self._route.create_protocol(upgrade, self._service)
            await self._serve_session(connection, upgrade, protocol, self._refusal())
        finally:
            self.state = "idle"
            self._connection.abort()

    def _refusal(self) -> StreamerError | None:
        """Return why the client may not come in now, None if they may."""
        has_key = not self._service.keys.are_required
        reason = self._place.claim(has_key=has_key) if self._is_ready() else "not_ready"
        if reason is None:
            return None
        self._service.metrics.connections_rejected.labels(reason).inc()
        message = "the server is not ready" if reason == "not_ready" else FULL_MESSAGES[reason]
        return OverloadedError(message, retry_after_s=1.0)
