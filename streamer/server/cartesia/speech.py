"""`POST /tts/bytes` and `POST /tts/sse`: a text in, its sound out, as a body or as server-sent events."""

from __future__ import annotations

import json
import secrets
from typing import Final

from streamer.errors import StreamerError
from streamer.server.cartesia import messages
from streamer.server.cartesia.errors import error_message
from streamer.server.cartesia.messages import GenerationRequest, read_request
from streamer.server.cartesia.options import read_options
from streamer.server.cartesia.version import read_version
from streamer.server.cartesia.wire import Steps
from streamer.server.http import Exchange, Fields
from streamer.server.routing import Handle
from streamer.server.sent_words import SentWords
from streamer.server.service import Service
from streamer.server.speech_exchange import MIN_SOUND_S, WARNING_FIELD, Body, speak_into
from streamer.speech.events import SpeechEvent

BYTES_CONTAINERS: Final = ("raw", "wav", "mp3")
SSE_CONTAINERS: Final = ("raw",)


def bytes_handle(service: Service) -> Handle:
    """Return what answers `/tts/bytes`."""

    async def handle(exchange: Exchange) -> None:
        exchange.ends_on_failure = True
        request, text = read_request(exchange.request.body, service.config.limits.max_text_chars)
        options = read_options(request, service, BYTES_CONTAINERS)
        body = Body(
            content_type="audio/wav" if options.is_wav else None,
            begin=options.header,
            min_sound_s=MIN_SOUND_S,
        )
        headers = _warning(options.remark)
        await speak_into(exchange, service, text, options.settings, options.audio_format, headers, body)

    return handle


def sse_handle(service: Service) -> Handle:
    """Return what answers `/tts/sse`."""

    async def handle(exchange: Exchange) -> None:
        exchange.ends_on_failure = True
        request, text = read_request(exchange.request.body, service.config.limits.max_text_chars)
        options = read_options(request, service, SSE_CONTAINERS)
        version = read_version(exchange.request.query, exchange.request.headers)
        events = _Events(request, is_structured=version.has_structured_errors)
        body = Body(
            content_type="text/event-stream; charset=utf-8",
            wrap=events.chunk,
            tell=events.timestamps,
            end=events.end,
            min_sound_s=MIN_SOUND_S,
        )
        headers = _warning(options.remark)
        await speak_into(exchange, service, text, options.settings, options.audio_format, headers, body)

    return handle


class _Events:
    """The events of one speech. Times of words are sent with the sound in which the words begin."""

    def __init__(self, request: GenerationRequest, *, is_structured: bool) -> None:
        self._names = {} if request.context_id is None else {"context_id": request.context_id}
        self._words = SentWords() if request.add_timestamps else None
        self._is_structured = is_structured
        self._steps = Steps()

    def chunk(self, payload: bytes) -> bytes:
        return _event("chunk", messages.chunk(payload, self._steps.next_ms(), **self._names))

    def timestamps(self, event: SpeechEvent) -> bytes:
        words = self._words.told(event) if self._words is not None else ()
        return _event("timestamps", messages.timestamps(words, **self._names)) if words else b""

    def end(self, _audio_ms: int, error: StreamerError | None) -> bytes:
        if error is None:
            return _event("done", messages.done(**self._names))
        request_id = secrets.token_hex(8)
        report = error_message(error, request_id, is_structured=self._is_structured, **self._names)
        return _event("error", json.dumps(report))


def _warning(remark: str | None) -> Fields:
    return () if remark is None else ((WARNING_FIELD, remark),)


def _event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()
