"""`POST /v1/text-to-speech/{voice}` and its kin: a text in, its sound out, and the times of its characters."""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from msgspec import Struct

from streamer.errors import StreamerError
from streamer.server.elevenlabs.alignment import AlignedChars, WordAligner
from streamer.server.elevenlabs.messages import read_request, shape_error
from streamer.server.elevenlabs.requested import (
    choose_voice,
    find_format,
    find_reading,
    goes_on_behind_voice,
    read_query,
    read_speed,
)
from streamer.server.http import JSON, NOTHING_HERE, Exchange, Fields
from streamer.server.routing import Handle
from streamer.server.service import Service
from streamer.server.speech_exchange import MIN_SOUND_S, WARNING_FIELD, Body, speak_into
from streamer.speech.events import SentenceStarted, SpeechEvent

Timestamps = Literal["none", "stream", "whole"]
"""Which times of characters an answer has: none, or a line of JSON for each piece of the sound, or one JSON for all."""
CHARACTERS_FIELD: Final = "character-cost"
"""The header field that tells how many characters a text has."""


class CharacterTimes(Struct, frozen=True):
    """When characters are heard, in seconds of the sound."""

    characters: list[str]
    character_start_times_seconds: list[float]
    character_end_times_seconds: list[float]


class TimedAudio(Struct, frozen=True):
    """A piece of the sound in base64, and the characters that begin in it."""

    audio_base64: bytes
    alignment: CharacterTimes | None
    normalized_alignment: CharacterTimes | None


def speech_handle(service: Service, timestamps: Timestamps) -> Handle:
    """Return what answers a route."""

    async def handle(exchange: Exchange) -> None:
        exchange.ends_on_failure = timestamps != "whole"
        info, config = service.synthesizer.info, service.config
        asked = exchange.request.parameters["voice"]
        if goes_on_behind_voice(asked, info):
            await exchange.answer(shape_error(exchange.request, NOTHING_HERE))
            return
        request = read_request(exchange.request.body, config.limits.max_buffered_chars)
        speed = read_speed(request.voice_settings.speed if request.voice_settings else None)
        output_format = read_query(exchange.request.query).get("output_format")
        audio_format = find_format(output_format)
        voice, remark = choose_voice(asked, request.language_code, info, config.speech)
        reading = find_reading(request.language_code, request.apply_text_normalization, info)
        settings = service.settings(voice, speed=speed, reading=reading, seed=request.seed)
        headers: Fields = ((CHARACTERS_FIELD, str(len(request.text))),)
        if remark is not None:
            headers = (*headers, (WARNING_FIELD, remark))
        body = _body(timestamps, request.text)
        await speak_into(exchange, service, request.text, settings, audio_format, headers, body)

    return handle


def _body(timestamps: Timestamps, text: str) -> Body:
    if timestamps == "none":
        return Body(min_sound_s=MIN_SOUND_S)
    timed = _TimedBody(text)
    if timestamps == "stream":
        return Body(
            "application/x-ndjson",
            wrap=timed.line,
            tell=timed.hear,
            end=timed.last_line,
            min_sound_s=MIN_SOUND_S,
        )
    return Body(JSON, wrap=timed.keep, tell=timed.hear, end=timed.whole, min_sound_s=MIN_SOUND_S)


class _TimedBody:
    """The body of an answer with timestamps, which all count from the beginning of the sound."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._aligner = WordAligner()
        self._chars = AlignedChars()
        self._audio: list[bytes] = []

    def hear(self, event: SpeechEvent) -> bytes:
        """Note which characters are heard; a packet is told before it is wrapped."""
        if isinstance(event, SentenceStarted):
            self._aligner.begin(event, self._text[event.char_end : event.char_end + 1])
        else:
            self._chars.extend(self._aligner.told(event))
        return b""

    def line(self, payload: bytes) -> bytes:
        """Return a line of the stream."""
        return _encoded(payload, self._take()) + b"\n"

    def last_line(self, _audio_ms: int, _error: StreamerError | None) -> bytes:
        """Return a line for words that no sound follows, if there are any."""
        return self.line(b"") if self._chars.chars else b""

    def keep(self, payload: bytes) -> bytes:
        """Put a piece aside for the whole."""
        self._audio.append(payload)
        return b""

    def whole(self, _audio_ms: int, _error: StreamerError | None) -> bytes:
        """Return the answer that is not streamed."""
        return _encoded(b"".join(self._audio), self._take())

    def _take(self) -> AlignedChars:
        taken, self._chars = self._chars, AlignedChars()
        return taken


def _encoded(payload: bytes, chars: AlignedChars) -> bytes:
    times = None
    if chars.chars:
        starts_s = [start_ms / 1000 for start_ms in chars.starts_ms]
        times = CharacterTimes(chars.chars, starts_s, [end_ms / 1000 for end_ms in chars.ends_ms])
    return msgspec.json.encode(TimedAudio(payload, times, times))
