"""A listening socket that drops the connections of those who connect too often, before anything is made for them."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any, Final

TURN: Final = 64
"""What is done in one turn of the event loop: so many connections are dropped, or a part of them is accepted."""
ACCEPTED_COST: Final = 4
"""How many connections are dropped in the time that it takes to accept one."""
_RESET: Final = struct.pack("ii", 1, 0)
"""A close without a handshake, after which the kernel keeps nothing of the connection (`SO_LINGER`)."""


class LimitedListener(socket.socket):
    """Takes over a listening socket. asyncio accepts from it until it blocks, which it also does to end a turn."""

    def __init__(self, listening: socket.socket, may_connect: Callable[[object], bool]) -> None:
        """`may_connect` is asked for each connection, by the name of its peer."""
        super().__init__(fileno=listening.detach())
        self._may_connect = may_connect
        self._rest = TURN

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection that may be. Raises `BlockingIOError` if there is none, or it is others' turn."""
        while self._rest > 0:
            try:
                accepted, peer = super().accept()
            except OSError:
                self._rest = TURN
                raise
            if self._may_connect(peer):
                self._rest -= ACCEPTED_COST
                return accepted, peer
            self._rest -= 1
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            accepted.close()
        self._rest = TURN
        raise BlockingIOError
