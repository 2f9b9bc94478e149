"""The address at which Deepgram's text to speech is spoken, over WebSocket and HTTP."""

from __future__ import annotations

from typing import Final

from streamer.server.access import read_bearer
from streamer.server.deepgram.messages import shape_error
from streamer.server.deepgram.protocol import create_protocol
from streamer.server.deepgram.speech import speak_handle
from streamer.server.http import Request
from streamer.server.routing import Routes
from streamer.server.service import Service

PATH: Final = "/v1/speak"
SCHEMES: Final = ("token", "bearer")
"""The subprotocols behind which a browser sends its key, because it cannot set header fields."""


def add_routes(routes: Routes, service: Service) -> None:
    """Add the WebSocket, and one text in one request."""
    routes.websocket(
        PATH, create_protocol, credentials=read_key, shape_error=shape_error, subprotocols=SCHEMES
    )
    routes.add("POST", PATH, speak_handle(service), shape_error=shape_error)


def read_key(request: Request) -> str | None:
    """Find the key in a header field, or behind a subprotocol: `Sec-WebSocket-Protocol: token, KEY`."""
    key = read_bearer(request)
    protocols = ",".join(request.headers.get_all("Sec-WebSocket-Protocol")).split(",")
    if key is None and len(protocols) > 1 and protocols[0].strip().lower() in SCHEMES:
        return protocols[1].strip()
    return key
