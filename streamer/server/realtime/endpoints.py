"""The addresses of the realtime APIs."""

from __future__ import annotations

from typing import Final

from streamer.server.access import read_bearer
from streamer.server.client_protocol import ClientProtocol
from streamer.server.http import Request
from streamer.server.routing import Routes
from streamer.server.service import Service
from streamer.server.upgrade import Upgrade

_KEY_PROTOCOL: Final = "openai-insecure-api-key."
"""What the subprotocol begins with in which OpenAI's clients in browsers send their key."""


def add_routes(routes: Routes, service: Service) -> None:  # noqa: ARG001
    """Add both; what is behind them is imported with the first client."""
    routes.websocket("/v1/realtime", _create_realtime, credentials=_read_key, subprotocols=("realtime",))
    routes.websocket("/v1/audio/speech/websocket", _create_text_buffer)


def _create_realtime(upgrade: Upgrade, service: Service) -> ClientProtocol:
    from streamer.server.realtime.protocol import RealtimeProtocol

    return RealtimeProtocol(upgrade, service)


def _create_text_buffer(upgrade: Upgrade, service: Service) -> ClientProtocol:
    from streamer.server.realtime.text_buffer import TextBufferProtocol

    return TextBufferProtocol(upgrade, service)


def _read_key(request: Request) -> str | None:
    """Find a key in the header, or among the subprotocols; browsers can set nothing else."""
    names = ",".join(request.headers.get_all("Sec-WebSocket-Protocol")).split(",")
    keys = [
        name.strip().removeprefix(_KEY_PROTOCOL) for name in names if name.strip().startswith(_KEY_PROTOCOL)
    ]
    return read_bearer(request) or (keys[0] if keys else None)
