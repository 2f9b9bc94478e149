"""What a client asks for in a request: the voice, the format of the sound, and how the text is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from streamer.audio.containers import wav_header
from streamer.audio.formats import AudioFormat, checked_bitrate
from streamer.errors import InvalidParameterError, VoiceNotFoundError
from streamer.server.cartesia.messages import GenerationRequest, OutputFormat, Voice
from streamer.server.service import Service
from streamer.server.voice_choice import find_voice, stand_in
from streamer.speech.settings import SpeechSettings
from streamer.text.language_detection import AUTO
from streamer.text.reading import TextOptions
from streamer.text.scripts import base_language

RATES_HZ: Final = (8000, 16000, 22050, 24000, 44100, 48000)
ENCODINGS: Final[Mapping[str, str]] = {
    "pcm_s16le": "pcm_s16le",
    "pcm_f32le": "pcm_f32le",
    "pcm_mulaw": "mulaw",
    "pcm_alaw": "alaw",
}
"""The encodings of samples, as they are called here."""
_DEFAULT_BITRATE: Final = 128_000
_CHUNK_MS: Final = 60
"""The length of a piece of the sound. Each is a message of JSON, of which fifty a second would be many."""
_SPEEDS: Final = {"slow": 0.8, "normal": 1.0, "fast": 1.25}
"""What older versions call `speed`."""
_CARTESIA_VOICE: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
"""Cartesia's own voices are UUIDs."""


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """How a request is spoken. `is_wav`: whether the samples are a WAV file. `remark`: what is not as it was asked."""

    settings: SpeechSettings
    audio_format: AudioFormat
    is_wav: bool
    remark: str | None = None

    @property
    def header(self) -> bytes:
        """What stands before the sound."""
        audio_format = self.audio_format
        return wav_header(audio_format.sample_rate_hz, encoding=audio_format.encoding) if self.is_wav else b""


def read_options(request: GenerationRequest, service: Service, containers: tuple[str, ...]) -> SpeechOptions:
    """Read a request. Raises `InvalidParameterError` or `VoiceNotFoundError`."""
    if request.add_phoneme_timestamps:
        message = "add_phoneme_timestamps: this server knows the times of words only; leave it out"
        raise InvalidParameterError(message, param="add_phoneme_timestamps")
    info = service.synthesizer.info
    audio_format = _audio_format(request, containers)
    language = _language(request)
    voice, remark = _voice(request.voice, language, service)
    delay_ms = request.max_buffer_delay_ms
    reading = TextOptions(
        language=language if language is not None and language in info.languages else AUTO,
        normalizes=False if request.normalization == "off" else None,
    )
    settings = service.settings(voice, speed=_speed(request), reading=reading)
    if delay_ms is not None:
        settings = replace(settings, max_buffer_ms=max(1, delay_ms))
    is_wav = request.output_format is not None and request.output_format.container == "wav"
    return SpeechOptions(settings, audio_format, is_wav, remark)


def _audio_format(request: GenerationRequest, containers: tuple[str, ...]) -> AudioFormat:
    asked = request.output_format
    if asked is None:
        message = (
            f"output_format is missing: say container ({', '.join(containers)}), encoding and sample_rate"
        )
        raise InvalidParameterError(message, param="output_format")
    _check("container", asked.container, containers)
    _check("sample_rate", asked.sample_rate, RATES_HZ)
    assert asked.sample_rate is not None
    config = request.generation_config
    gain = config.volume if config is not None and config.volume is not None else 1.0
    if asked.container == "mp3":
        bitrate = _DEFAULT_BITRATE if asked.bit_rate is None else asked.bit_rate
        checked_bitrate(bitrate, "output_format.bit_rate")
        return AudioFormat("mp3", asked.sample_rate, bitrate=bitrate, gain=gain)
    return AudioFormat(_encoding(asked), asked.sample_rate, _CHUNK_MS, gain=gain)


def _encoding(asked: OutputFormat) -> str:
    _check("encoding", asked.encoding, tuple(ENCODINGS))
    assert asked.encoding is not None
    return ENCODINGS[asked.encoding]


def _check(name: str, value: object, offered: tuple[object, ...]) -> None:
    if value not in offered:
        offers = ", ".join(map(str, offered))
        shown = repr(value[:64]) if isinstance(value, str) else str(value)
        problem = f"is missing: it may be {offers}" if value is None else f"{shown} is none of {offers}"
        message = f"output_format.{name} {problem}"
        raise InvalidParameterError(message, param=f"output_format.{name}")


def _speed(request: GenerationRequest) -> float:
    config, speed = request.generation_config, request.speed
    if config is not None and config.speed is not None:
        return config.speed
    if speed is None or isinstance(speed, float | int):
        return float(speed or 1.0)
    if speed not in _SPEEDS:
        raise InvalidParameterError(f"speed {speed[:64]!r} is none of {', '.join(_SPEEDS)}", param="speed")
    return _SPEEDS[speed]


def _language(request: GenerationRequest) -> str | None:
    """Return the language that is asked for, without its region."""
    asked = request.language or request.locale
    return base_language(asked) if asked else None


def _voice(asked: Voice | str | None, language: str | None, service: Service) -> tuple[str, str | None]:
    """Return the voice, and a remark if it is one of Cartesia's own, for which another one speaks."""
    info, speech = service.synthesizer.info, service.config.speech
    if isinstance(asked, Voice):
        if asked.mode not in (None, "id"):
            message = f"voice.mode {asked.mode[:64]!r}: this server knows voices by their id only"
            raise InvalidParameterError(message, param="voice.mode")
        if asked.id is None and asked.embedding is not None:  # as versions of 2024 write it
            message = "voice.embedding: this server knows voices by their id only"
            raise InvalidParameterError(message, param="voice.embedding")
        asked = asked.id
    try:
        return find_voice(asked, info, speech), None
    except VoiceNotFoundError:
        if asked is None or not _CARTESIA_VOICE.fullmatch(asked):
            raise
        voice = stand_in(info, speech, language)
        return voice, f"the voice {asked} is one of Cartesia's; {voice} speaks instead"
