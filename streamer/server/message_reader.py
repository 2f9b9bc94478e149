"""Reads from a connection what messages are made of; the rest of one that has begun must come in time."""

from __future__ import annotations

import asyncio
from typing import Final

from streamer.server.connection import Connection

MESSAGE_TIMEOUT_S: Final = 10.0
"""How long the rest of a message that has begun is waited for."""


class MessageReader:
    """Reads for a protocol that knows where its messages end, and tells it so with `begin`.

    Only the time that is spent waiting here counts.
    """

    __slots__ = ("_connection", "_waited_s")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waited_s = 0.0

    def begin(self) -> None:
        """Give the next message all of its time: the one before it was taken whole."""
        self._waited_s = 0.0

    async def read(self, *, has_begun: bool) -> bytes:
        """Return what came, nothing at the end of the connection; cancelling it loses nothing.

        `has_begun`: whether a part of a message is there. Raises `TimeoutError` if its rest does not come.
        """
        if not has_begun:
            return await self._connection.read()
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            async with asyncio.timeout(MESSAGE_TIMEOUT_S - self._waited_s):
                return await self._connection.read()
        finally:
            self._waited_s += loop.time() - began_s
