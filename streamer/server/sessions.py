"""The sessions of a server, whatever is spoken in them: how they begin, and how all of them are ended."""

from __future__ import annotations

from collections.abc import Awaitable

from streamer.errors import AuthenticationError, StreamerError
from streamer.server.client_connection import ClientConnection
from streamer.server.client_protocol import ClientProtocol
from streamer.server.ending import CloseRequest
from streamer.server.service import Service
from streamer.server.session import Session
from streamer.server.upgrade import Upgrade


class Sessions:
    """All sessions that are open."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._open: set[Session] = set()

    def __len__(self) -> int:
        return len(self._open)

    def serve(
        self,
        connection: ClientConnection,
        upgrade: Upgrade,
        protocol: ClientProtocol,
        refusal: StreamerError | None = None,
    ) -> Awaitable[None]:
        """Return the session, to be awaited; with a `refusal`, it only says so."""
        session = Session(connection, self._service, upgrade, protocol)
        if refusal is not None:
            session.end(CloseRequest(1013, refusal.message, error=refusal))
        self._open.add(session)
        return self._run(session)

    async def _run(self, session: Session) -> None:
        try:
            await session.run()
        finally:
            self._open.discard(session)

    def end(self, request: CloseRequest) -> None:
        """Ask all sessions to end."""
        for session in tuple(self._open):
            session.end(request)

    def end_without_key(self) -> None:
        """End the sessions whose keys were taken away, or have expired."""
        for session in tuple(self._open):
            if session.has_lost_key():
                error = AuthenticationError("this key is not valid any more")
                session.end(CloseRequest(4401, error.message, error=error))
