"""What one session tells another, for protocols whose clients steer what other clients hear."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Generic, TypeVar

MAX_MESSAGES: Final = 64
"""Messages that wait in a mailbox before its senders wait, too."""
_Message = TypeVar("_Message")


class Mailbox(Generic[_Message]):
    """A bounded queue to one session, which any other may put messages into; nothing is kept once it is closed."""

    def __init__(self) -> None:
        self._messages: deque[_Message] = deque()
        self._changed = asyncio.Event()
        self._is_closed = False

    async def put(self, message: _Message) -> None:
        """Add a message once there is room."""
        while len(self._messages) >= MAX_MESSAGES and not self._is_closed:
            self._changed.clear()
            await self._changed.wait()
        self.put_last(message)

    def put_last(self, message: _Message) -> None:
        """Add a message without waiting: the last one of a sender whose session is over."""
        if not self._is_closed:
            self._messages.append(message)
            self._changed.set()

    async def get(self) -> _Message:
        """Return the next message."""
        while not self._messages:
            self._changed.clear()
            await self._changed.wait()
        self._changed.set()  # there is room
        return self._messages.popleft()

    def close(self) -> None:
        """Drop what has not been read, and whatever comes later."""
        self._is_closed = True
        self._messages.clear()
        self._changed.set()
