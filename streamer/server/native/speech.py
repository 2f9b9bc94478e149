"""`POST /v1/speech`: the protocol's `speak` over plain HTTP, JSON in and sound out."""

from __future__ import annotations

from typing import Final

from streamer.errors import InvalidMessageError, InvalidParameterError
from streamer.sampling import draw_seed
from streamer.server.http import Exchange
from streamer.server.json_messages import check_text
from streamer.server.native.decoding import parse_object, read_message
from streamer.server.native.defaults import StreamDefaults
from streamer.server.native.messages import Speak
from streamer.server.routing import Handle
from streamer.server.service import Service
from streamer.server.speech_exchange import check_encoding, speak_into

SEED_FIELD: Final = "Streamer-Seed"
"""The header field for the seed, with which the same request gives the same sound."""
DEFAULT_ENCODING: Final = "ogg_opus"
_OF_SESSIONS: Final = frozenset(
    {"type", "id", "ref", "after", "interrupt", "lead_ms", "max_buffer_ms", "start"}
)
"""The fields of `speak` that mean nothing without a session."""


def speech_handle(service: Service) -> Handle:
    """Return what answers the route."""

    async def handle(exchange: Exchange) -> None:
        message = _read(exchange.request.body)
        limits = service.config.limits
        check_text(message.text, "text", limits.max_text_chars)
        info, speech = service.synthesizer.info, service.config.speech
        asked = StreamDefaults.of_server(lambda: info, speech).merged(message)
        settings = asked.settings(limits.max_audio_s, draw_seed)
        headers = ((SEED_FIELD, str(settings.params.seed)),)
        await speak_into(exchange, service, message.text, settings, asked.audio_format(), headers)

    return handle


def _read(body: bytes) -> Speak:
    """Decode a request. There is no way to warn of a field that is not known, so that it is a mistake."""
    try:
        fields, mistakes = parse_object(body.decode())
    except UnicodeDecodeError:
        raise InvalidMessageError("the body is not UTF-8") from None
    if mistakes:
        raise InvalidMessageError(f"the body is not JSON: {mistakes[0]}")
    if meaningless := sorted(_OF_SESSIONS & fields.keys()):
        name = meaningless[0]
        raise InvalidParameterError(f"{name!r} means nothing here: it belongs to a session", param=name)
    if fields.get("encoding") is None:
        fields["encoding"] = DEFAULT_ENCODING
    check_encoding(fields["encoding"])
    message, unknown = read_message(fields | {"type": "speak", "id": "-"})
    if unknown:
        raise InvalidParameterError(f"unknown field {unknown[0]!r}", param=unknown[0])
    assert isinstance(message, Speak)
    return message
