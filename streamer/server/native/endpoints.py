"""The addresses at which the native protocol is spoken."""

from __future__ import annotations

from typing import Final

from streamer.server.access import read_key
from streamer.server.native.handshake import create_protocol
from streamer.server.native.messages import PROTOCOL
from streamer.server.native.speech import speech_handle
from streamer.server.native.tickets import tickets_handle
from streamer.server.native.whep import add_whep
from streamer.server.routing import Routes
from streamer.server.service import Service

STREAM_PATH: Final = "/v1/stream"
SPEECH_PATH: Final = "/v1/speech"
TICKETS_PATH: Final = "/v1/tickets"


def add_routes(routes: Routes, service: Service) -> None:
    """Add the WebSocket, WebRTC, one text in one request, and tickets for pages."""
    routes.websocket(STREAM_PATH, create_protocol, subprotocols=(PROTOCOL,), key_may_follow=True)
    add_whep(routes, service)
    routes.add("POST", SPEECH_PATH, speech_handle(service))
    routes.add("POST", TICKETS_PATH, tickets_handle(service), credentials=read_key)
