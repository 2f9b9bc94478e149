"""What a connection needs of the server that accepted it; `app` makes one for each port that speaks HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from streamer.server.client_protocol import ClientProtocol
from streamer.server.routing import Routes
from streamer.server.service import Service
from streamer.server.upgrade import Upgrade
from streamer.server.websocket import WebSocket


@dataclass(frozen=True, slots=True)
class Host:
    """A server, as its connections see it.

    `name`: what the port listens on. `is_private`: whether only programs of this machine reach the port, without a key.
    """

    name: str
    is_private: bool
    service: Service
    routes: Routes
    is_ready: Callable[[], bool]
    is_stopping: Callable[[], bool]
    serve_websocket: Callable[[WebSocket, Upgrade, ClientProtocol], Awaitable[None]]
