"""`POST /v1/audio/speech`: a text in, its sound out, as a file or as server-sent events."""

from __future__ import annotations

from typing import Final

from streamer.audio.formats import DEFAULT_RATE_HZ, AudioFormat
from streamer.server.http import Exchange, Fields
from streamer.server.openai.messages import (
    SpeechRequest,
    VoiceId,
    audio_delta,
    audio_done,
    read_request,
)
from streamer.server.openai_names import check_mapping, check_model, find_voice, read_mapping
from streamer.server.routing import Handle
from streamer.server.service import Service
from streamer.server.speech_exchange import MIN_SOUND_S, WARNING_FIELD, Body, speak_into

ENCODINGS: Final = {
    "mp3": "mp3",
    "opus": "ogg_opus",
    "aac": "aac",
    "flac": "flac",
    "wav": "wav",
    "pcm": "pcm_s16le",
}
"""What each `response_format` is here."""
DEFAULT_FORMAT: Final = "mp3"
FILE_BITRATE: Final = 64_000
"""Bits per second of MP3 and AAC: with a sampling rate of 24 kHz more is not heard."""
FILE: Final = Body(min_sound_s=MIN_SOUND_S)


def speech_handle(service: Service) -> Handle:
    """Return what answers the route. Raises `ConfigError` for a mapping of voices that is none."""
    mapping = read_mapping(service.config.speech.openai_voices)
    check_mapping(mapping, service.synthesizer.info.voices)

    async def handle(exchange: Exchange) -> None:
        exchange.ends_on_failure = True
        request, info = read_request(exchange.request.body), service.synthesizer.info
        check_model(request.model, info.name)
        asked = request.voice.id if isinstance(request.voice, VoiceId) else request.voice
        audio_format = _audio_format(request, service.config.speech.bitrate)
        voice = find_voice(asked, mapping, info, service.default_voice)
        settings = service.settings(voice, speed=request.speed or 1.0)
        headers = _headers(request, audio_format)
        body = _events(request, service) if request.stream_format == "sse" else FILE
        await speak_into(exchange, service, request.input, settings, audio_format, headers, body)

    return handle


def _events(request: SpeechRequest, service: Service) -> Body:
    num_tokens = service.synthesizer.count_tokens(request.input)
    return Body(
        content_type="text/event-stream; charset=utf-8",
        wrap=audio_delta,
        end=lambda audio_ms, _error: audio_done(num_tokens, audio_ms),
        min_sound_s=MIN_SOUND_S,
    )


def _audio_format(request: SpeechRequest, opus_bitrate: int) -> AudioFormat:
    encoding = ENCODINGS[request.response_format or DEFAULT_FORMAT]
    bitrate = FILE_BITRATE if encoding in ("mp3", "aac") else opus_bitrate
    return AudioFormat(encoding, DEFAULT_RATE_HZ, bitrate=bitrate)


def _headers(request: SpeechRequest, audio_format: AudioFormat) -> Fields:
    fields: Fields = (("X-Sample-Rate", str(audio_format.sample_rate_hz)),)
    if request.instructions:
        fields += ((WARNING_FIELD, "instructions are not followed: the voice alone decides how it sounds"),)
    return fields
