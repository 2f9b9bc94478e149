"""The addresses of Cartesia's text to speech."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from streamer.server.access import read_bearer
from streamer.server.cartesia.errors import shape_error
from streamer.server.cartesia.protocol import create_protocol
from streamer.server.cartesia.speech import bytes_handle, sse_handle
from streamer.server.cartesia.voices import list_handle, voice_handle
from streamer.server.http import Request
from streamer.server.routes import list_access
from streamer.server.routing import Routes
from streamer.server.service import Service

_KEY_PARAMETERS: Final = ("api_key", "access_token")
"""Where a browser puts the key of a WebSocket, because it cannot set header fields."""


def add_routes(routes: Routes, service: Service) -> None:
    """Add the WebSocket, two routes that speak, and the lists of voices."""
    access = list_access(service.config.server)
    routes.websocket("/tts/websocket", create_protocol, credentials=read_key, shape_error=shape_error)
    routes.add("POST", "/tts/bytes", bytes_handle(service), shape_error=shape_error)
    routes.add("POST", "/tts/sse", sse_handle(service), shape_error=shape_error)
    routes.add("GET", "/voices", list_handle(service), access=access, shape_error=shape_error)
    routes.add("GET", "/voices/{id:path}", voice_handle(service), access=access, shape_error=shape_error)


def read_key(request: Request) -> str | None:
    """Find the key of a WebSocket, in a header field or in the query."""
    keys = [
        value for name, value in parse_qsl(request.query, keep_blank_values=True) if name in _KEY_PARAMETERS
    ]
    return keys[-1] if keys else read_bearer(request)
