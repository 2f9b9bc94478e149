"""Answers the handshake of a WebSocket by `websockets`' sans-I/O protocol; `http_connection` has checked the client."""

from __future__ import annotations

from collections.abc import Sequence

from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol


def handshake(path: str, headers: Headers, subprotocols: Sequence[str]) -> Response:
    """Answer a handshake: status 101, or an answer of another status that says what is wrong with it.

    The first of `subprotocols` that the client offers is agreed on; a client that offers none of them is welcome, too.
    """

    def select(_protocol: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        return next((Subprotocol(name) for name in subprotocols if name in offered), None)

    protocol = ServerProtocol(
        subprotocols=[Subprotocol(name) for name in subprotocols] or None, select_subprotocol=select
    )
    return protocol.accept(Request(path, headers))
