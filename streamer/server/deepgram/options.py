"""What a client asks for in the query of `/v1/speak`, over WebSocket and HTTP alike."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from streamer.audio.containers import wav_header
from streamer.audio.formats import DEFAULT_RATE_HZ, AudioFormat, checked_bitrate, default_rate_hz
from streamer.errors import InvalidParameterError, VoiceNotFoundError
from streamer.server.service import Service
from streamer.server.voice_choice import find_voice, stand_in
from streamer.speech.settings import SpeechSettings, checked_speed

_SAMPLES: Final = {"linear16": "pcm_s16le", "mulaw": "mulaw", "alaw": "alaw"}
"""The encodings of samples, as they are called here."""
_FILES: Final = {"mp3": "mp3", "flac": "flac", "aac": "aac", "opus": "ogg_opus"}
"""The encodings of files, which HTTP alone has."""
_DEFAULT_BITRATES: Final = {"mp3": 48_000, "aac": 48_000}
_CONTAINERS: Final = {"opus": ("ogg",), **dict.fromkeys(_SAMPLES, ("wav", "none"))}
"""The containers of each encoding, the default one first; the other encodings have none."""
_DEEPGRAM_VOICE: Final = re.compile(r"(?:aura|flux)(?:-\d+)?-[a-z]+-(?P<language>[a-z]{2})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SpeakOptions:
    """How a client's texts are spoken.

    `model` is what the client asked for, and `voice` what that meant when they did. `is_wav`:
    whether the samples are a WAV file. `remarks`: codes and texts about what is not done as it was asked for.
    """

    model: str | None
    voice: str
    audio_format: AudioFormat
    is_wav: bool
    speed: float = 1.0
    remarks: tuple[tuple[str, str], ...] = ()

    @property
    def header(self) -> bytes:
        """What stands before the sound."""
        audio_format = self.audio_format
        return wav_header(audio_format.sample_rate_hz, encoding=audio_format.encoding) if self.is_wav else b""

    def settings(self, service: Service) -> SpeechSettings:
        """Return the settings of one utterance, with a seed of its own.

        A voice that was removed meanwhile is still named: its utterance ends with the error that says so.
        """
        voice = self.voice
        with contextlib.suppress(VoiceNotFoundError):
            voice, _ = _voice(self.model, service)
        return service.settings(voice, speed=self.speed)


def read_options(query: str, service: Service, *, has_files: bool) -> SpeakOptions:
    """Read a query; what is not known in it is ignored. `has_files`: HTTP's encodings and defaults.

    Raises `InvalidParameterError` or `VoiceNotFoundError`.
    """
    given = dict(parse_qsl(query))
    if "callback" in given:
        message = "callback: this server calls no addresses; the sound is in the answer"
        raise InvalidParameterError(message, param="callback")
    offered = _SAMPLES | _FILES if has_files else _SAMPLES
    encoding = given.get("encoding", "mp3" if has_files else "linear16").lower()
    if encoding not in offered:
        message = f"encoding {encoding[:64]!r} is none of {', '.join(offered)}"
        raise InvalidParameterError(message, param="encoding")
    rate_hz = DEFAULT_RATE_HZ if encoding in _FILES else default_rate_hz(offered[encoding])
    bitrate = _DEFAULT_BITRATES.get(encoding, service.config.speech.bitrate)
    has_bitrate = encoding in ("mp3", "aac", "opus")
    voice, remarks = _voice(given.get("model"), service)
    return SpeakOptions(
        given.get("model"),
        voice,
        AudioFormat(
            offered[encoding],
            _whole(given, "sample_rate", rate_hz),
            bitrate=checked_bitrate(_whole(given, "bit_rate", bitrate), "bit_rate")
            if has_bitrate
            else bitrate,
        ),
        is_wav=_container(given.get("container"), encoding, has_files=has_files) == "wav",
        speed=checked_speed(_number(given, "speed", 1.0)),
        remarks=remarks,
    )


def _voice(model: str | None, service: Service) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return the voice for a model's name, and a remark if it is one of Deepgram's, for which another one speaks."""
    info, speech = service.synthesizer.info, service.config.speech
    try:
        return find_voice(model, info, speech), ()
    except VoiceNotFoundError:
        if model is None or (known := _DEEPGRAM_VOICE.fullmatch(model)) is None:
            raise
        voice = stand_in(info, speech, known["language"].lower())
        return voice, (("voice_replaced", f"{model!r} is a voice of Deepgram's; {voice!r} speaks instead"),)


def _container(asked: str | None, encoding: str, *, has_files: bool) -> str:
    offered = _CONTAINERS.get(encoding, ("none",)) if has_files else ("none",)
    if asked is not None and asked.lower() not in offered:
        message = f"container {asked[:64]!r}: {encoding} may have {' or '.join(offered)}"
        raise InvalidParameterError(message, param="container")
    return (asked or offered[0]).lower()


def _number(given: Mapping[str, str], name: str, default: float) -> float:
    try:
        return float(given.get(name, default))
    except ValueError:
        raise InvalidParameterError(f"{name} {given[name][:64]!r} is no number", param=name) from None


def _whole(given: Mapping[str, str], name: str, default: int) -> int:
    """Read a whole number, which Deepgram's library may write as `24000.0`."""
    number = _number(given, name, default)
    if not number.is_integer():
        raise InvalidParameterError(f"{name} {given[name][:64]!r} is no whole number", param=name)
    return int(number)
