"""What a worker needs of a connection, so that it can serve over whatever accepts connections."""

from __future__ import annotations

from typing import Protocol


class FrameConnection(Protocol):
    """A connection that carries binary frames; a server adapts its own to it."""

    async def receive(self) -> bytes | None:
        """Return the next frame, or None as soon as the connection is closed, for whatever reason."""
        ...

    async def send(self, frame: bytes) -> None:
        """Send a frame, and wait while too much is unsent. Raises `ConnectionError` once the connection is closed."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Close the connection; a second call does nothing."""
        ...
