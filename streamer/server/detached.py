"""A session whose client is connected to no port of the server's, but by a way of its own that a request has begun."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from streamer.errors import OverloadedError
from streamer.server.accepting import Connections, State
from streamer.server.client_connection import ClientConnection
from streamer.server.client_protocol import ClientProtocol
from streamer.server.places import FULL_MESSAGES
from streamer.server.service import Service
from streamer.server.tcp import ServeSession
from streamer.server.upgrade import Upgrade


@dataclass(eq=False, slots=True)
class _Conversation:
    """Implements `accepting.Conversation`."""

    serve: Callable[[], Coroutine[None, None, None]]
    state: State = "session"


def begin_session(
    connections: Connections,
    service: Service,
    serve_session: ServeSession,
    connection: ClientConnection,
    upgrade: Upgrade,
    protocol: ClientProtocol,
    over: Callable[[], object],
) -> None:
    """Begin a session, which is counted, drained and closed like those over connections of ports.

    `over` is called when it has ended. Raises `OverloadedError` if there is no place for it.
    """

    async def serve() -> None:
        try:
            await serve_session(connection, upgrade, protocol, None)
        finally:
            over()
            await connection.close()

    place = service.admission.places.connect(upgrade.address)
    reason = place.claim()
    if reason is not None:
        place.leave()
        service.metrics.connections_rejected.labels(reason).inc()
        raise OverloadedError(FULL_MESSAGES[reason], retry_after_s=1.0)
    connections.add(_Conversation(serve), place)
