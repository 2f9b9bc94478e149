"""The addresses of ElevenLabs' speech API."""

from __future__ import annotations

import contextlib
from typing import Final

from streamer.errors import InvalidParameterError
from streamer.server.access import read_bearer
from streamer.server.elevenlabs import lists
from streamer.server.elevenlabs.messages import shape_error, without_scheme
from streamer.server.elevenlabs.protocol import many_contexts, one_context
from streamer.server.elevenlabs.requested import read_query
from streamer.server.elevenlabs.speech import Timestamps, speech_handle
from streamer.server.http import Request
from streamer.server.routes import list_access
from streamer.server.routing import Access, Routes
from streamer.server.service import Service

KEY_FIELD: Final = "xi-api-key"
"""The header field with the key, by which ElevenLabs' clients are known where others ask the same address."""
SPEECH_PATH: Final = "/v1/text-to-speech/{voice:path}"
_SPEECH: Final[tuple[tuple[str, Timestamps], ...]] = (
    ("/stream/with-timestamps", "stream"),
    ("/with-timestamps", "whole"),
    ("/stream", "none"),
    ("", "none"),
)
"""What follows the voice in an address. The voice may have slashes, so that the longest come first."""


def add_routes(routes: Routes, service: Service) -> None:
    """Add the WebSockets, what speaks over HTTP, and the lists."""
    routes.websocket(
        f"{SPEECH_PATH}/multi-stream-input", many_contexts, credentials=read_key, key_may_follow=True
    )
    routes.websocket(f"{SPEECH_PATH}/stream-input", one_context, credentials=read_key, key_may_follow=True)
    for ending, timestamps in _SPEECH:
        handle = speech_handle(service, timestamps)
        routes.add("POST", SPEECH_PATH + ending, handle, credentials=read_key, shape_error=shape_error)
    readers = list_access(service.config.server)
    lists_at: tuple[tuple[str, lists.Describe, Access, str | None], ...] = (
        ("/v1/voices", lists.voices, readers, KEY_FIELD),
        ("/v1/models", lists.models, readers, KEY_FIELD),
        ("/v2/voices", lists.found_voices, readers, None),
        ("/v1/voices/settings/default", lists.default_settings, readers, None),
        ("/v1/voices/{voice:path}/settings", lists.voice_settings, readers, None),
        ("/v1/voices/{voice:path}", lists.one_voice, readers, None),
        ("/v1/user", lists.user, "key", None),
        ("/v1/user/subscription", lists.subscription, "key", None),
    )
    for path, describe, access, header in lists_at:
        handle = lists.list_handle(service, describe)
        routes.add(
            "GET", path, handle, credentials=read_key, access=access, shape_error=shape_error, header=header
        )


def read_key(request: Request) -> str | None:
    """Find a key in `xi-api-key`, in the query's `authorization`, or where every client may have it."""
    if keys := request.headers.get_all(KEY_FIELD):
        return keys[0].strip()
    with contextlib.suppress(InvalidParameterError):  # which is told later
        if (key := read_query(request.query).get("authorization")) is not None:
            return without_scheme(key)
    return read_bearer(request)
