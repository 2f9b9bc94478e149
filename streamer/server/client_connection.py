"""What a session needs of a connection: frames go out, and come in until there are no more."""

from __future__ import annotations

from typing import Protocol

from streamer.server.flow_control import Writable


class ClientConnection(Writable, Protocol):
    """One client's connection; `server/websocket` implements it, and so does a protocol with a port of its own."""

    @property
    def close_code(self) -> int | None: ...

    async def recv(self) -> str | bytes:
        """The next frame; raises `websockets.exceptions.ConnectionClosed` when there is none any more."""
        ...

    async def rest(self, pause_s: float) -> None:
        """Return after this time, after which the next frame is taken, or at once if the connection ends."""
        ...

    async def close(self, code: int = 1000, reason: str = "") -> None: ...
