"""`POST /v1/speak`: a text in, its sound out, as samples or as a file."""

from __future__ import annotations

from typing import Final

from streamer.server.deepgram.messages import REQUEST_ID_FIELD, model_uuid, read_text
from streamer.server.deepgram.options import SpeakOptions, read_options
from streamer.server.http import Exchange, Fields
from streamer.server.routing import Handle
from streamer.server.service import Service
from streamer.server.speech_exchange import MIN_SOUND_S, Body, speak_into

WARNING_FIELD: Final = "dg-warning"
"""The header field that tells what is not done as it was asked for."""


def speak_handle(service: Service) -> Handle:
    """Return what answers the route."""

    async def handle(exchange: Exchange) -> None:
        exchange.ends_on_failure = True
        options = read_options(exchange.request.query, service, has_files=True)
        text = read_text(exchange.request.body, service.config.limits.max_text_chars)
        body = Body(
            content_type="audio/wav" if options.is_wav else None,
            id_field=REQUEST_ID_FIELD,
            begin=options.header,
            min_sound_s=MIN_SOUND_S,
        )
        settings, headers = options.settings(service), _headers(options, text)
        await speak_into(exchange, service, text, settings, options.audio_format, headers, body)

    return handle


def _headers(options: SpeakOptions, text: str) -> Fields:
    remarks = tuple((WARNING_FIELD, remark) for _, remark in options.remarks)
    return (
        ("dg-model-name", options.voice),
        ("dg-model-uuid", model_uuid(options.voice)),
        ("dg-char-count", str(len(text))),
        *remarks,
    )
