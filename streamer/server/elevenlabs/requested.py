"""What a client asks for in an address or a body: the output format, and how the text is read."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from streamer.audio.formats import SAMPLE_RATES_HZ, UNCOMMON_RATES_HZ, AudioFormat
from streamer.config import SpeechConfig
from streamer.errors import InvalidParameterError, VoiceNotFoundError
from streamer.server.voice_choice import find_voice, names_of, stand_in
from streamer.speech.settings import checked_speed
from streamer.synthesis import ModelInfo
from streamer.text.language_detection import AUTO
from streamer.text.reading import AS_IT_IS, TextOptions
from streamer.text.scripts import base_language

logger = logging.getLogger(__name__)

DEFAULT_FORMAT: Final = "mp3_44100_128"
MAX_INACTIVITY_S: Final = 180.0
"""The longest `inactivity_timeout` that ElevenLabs allows, in seconds; longer ones are cut to it."""
DEFAULT_INACTIVITY_S: Final = 20.0
_MAX_SEED: Final = 2**32 - 1
_MAX_FIELDS: Final = 64
_SAMPLES_MS: Final = 60
"""The length of a packet of samples. A packet is a message of JSON, of which fifty a second would be many."""
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}
_ELEVENLABS_VOICE: Final = re.compile(r"[A-Za-z0-9]{20}")
"""ElevenLabs' own voices have ids of twenty letters and digits."""
_NORMALIZES: Final = {"auto": None, "on": True, "off": False}


def _formats() -> dict[str, AudioFormat]:
    formats = {}
    for rate_hz in sorted(SAMPLE_RATES_HZ + UNCOMMON_RATES_HZ):
        formats[f"pcm_{rate_hz}"] = AudioFormat("pcm_s16le", rate_hz, _SAMPLES_MS)
        formats[f"wav_{rate_hz}"] = AudioFormat("wav", rate_hz, _SAMPLES_MS)
    formats["ulaw_8000"] = AudioFormat("mulaw", 8_000, _SAMPLES_MS)
    formats["alaw_8000"] = AudioFormat("alaw", 8_000, _SAMPLES_MS)
    formats["mp3_22050_32"] = AudioFormat("mp3", 22_050, bitrate=32_000)
    formats["mp3_24000_48"] = AudioFormat("mp3", 24_000, bitrate=48_000)
    formats["mp3_44100"] = AudioFormat("mp3", 44_100, bitrate=128_000)
    for kbps in (32, 64, 96, 128, 192):
        formats[f"mp3_44100_{kbps}"] = AudioFormat("mp3", 44_100, bitrate=kbps * 1000)
        # Opus is always decoded to 48 kHz; what the encoder is given, the decoder need not know.
        formats[f"opus_48000_{kbps}"] = AudioFormat("ogg_opus", bitrate=kbps * 1000)
    return formats


FORMATS: Final[Mapping[str, AudioFormat]] = _formats()
"""What each `output_format` is here."""


@dataclass(frozen=True, slots=True)
class Requested:
    """What the query of a WebSocket's address asks for. `language_code` is as the client wrote it.

    `uses_context_clock`: whether alignments count from the beginning of the context (`sync_alignment`), rather than
    from the alignment before. `is_auto`: whether each text is a whole sentence or phrase (`auto_mode`).
    """

    audio_format: AudioFormat
    language_code: str | None = None
    reading: TextOptions = AS_IT_IS
    seed: int | None = None
    inactivity_s: float = DEFAULT_INACTIVITY_S
    uses_context_clock: bool = False
    is_auto: bool = False


def read_query(query: str) -> dict[str, str]:
    """Return the fields of a query. Raises `InvalidParameterError`."""
    try:
        return dict(parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict"))
    except (ValueError, UnicodeDecodeError):
        raise InvalidParameterError("the address's query cannot be read", param="query") from None


def read_requested(query: str, info: ModelInfo) -> Requested:
    """Read the query of a WebSocket's address. Unknown fields are ignored; raises `InvalidParameterError`."""
    given = read_query(query)
    return Requested(
        audio_format=find_format(given.get("output_format")),
        language_code=given.get("language_code"),
        reading=find_reading(given.get("language_code"), given.get("apply_text_normalization"), info),
        seed=_seed(given.get("seed")),
        inactivity_s=_inactivity_s(given.get("inactivity_timeout")),
        uses_context_clock=_boolean(given, "sync_alignment"),
        is_auto=_boolean(given, "auto_mode"),
    )


def find_format(name: str | None) -> AudioFormat:
    """Return what an `output_format` is. Raises `InvalidParameterError`."""
    name = name or DEFAULT_FORMAT
    if name not in FORMATS:
        message = f"output_format {name[:64]!r} is none of {', '.join(FORMATS)}"
        raise InvalidParameterError(message, param="output_format")
    return FORMATS[name]


def read_speed(speed: float | None) -> float:
    """Return the `speed` of voice settings, 1 if there is none. Raises `InvalidParameterError`."""
    return 1.0 if speed is None else checked_speed(speed, "voice_settings.speed")


def choose_voice(
    asked: str, language_code: str | None, info: ModelInfo, speech: SpeechConfig
) -> tuple[str, str | None]:
    """Return the model's voice, and a remark if it stands in for one of ElevenLabs' own.

    Clients that are told no voice ask for one of these. Raises `VoiceNotFoundError` for any other unknown name.
    """
    try:
        return find_voice(asked, info, speech, "voice_id"), None
    except VoiceNotFoundError:
        if not _ELEVENLABS_VOICE.fullmatch(asked):
            raise
        voice = stand_in(info, speech, _language(language_code))
        remark = f"the voice {asked} is one of ElevenLabs'; {voice} speaks instead"
        logger.info("another voice speaks", extra={"reason": remark})  # their WebSocket has no warnings
        return voice, remark


def goes_on_behind_voice(asked: str, info: ModelInfo) -> bool:
    """Whether `asked`, out of an address, begins with a voice and a slash, so that the address is what is unknown."""
    if "/" not in asked or asked in info.voices:
        return False
    names = (name for voice in info.voices for name in names_of(voice))
    is_ours = any(asked.startswith(f"{name}/") for name in names)
    return is_ours or _ELEVENLABS_VOICE.fullmatch(asked.partition("/")[0]) is not None


def _language(code: str | None) -> str | None:
    """Return the language of a code, without its region."""
    return base_language(code) if code else None


def find_reading(language_code: str | None, normalization: str | None, info: ModelInfo) -> TextOptions:
    """Return how a text is to be read. A language that the model does not speak is ignored, as ElevenLabs' models do.

    Raises `InvalidParameterError`.
    """
    if normalization is not None and normalization not in _NORMALIZES:
        message = f"apply_text_normalization {normalization[:64]!r} is none of {', '.join(_NORMALIZES)}"
        raise InvalidParameterError(message, param="apply_text_normalization")
    language = _language(language_code)
    return TextOptions(
        language=language if language is not None and language in info.languages else AUTO,
        normalizes=_NORMALIZES[normalization or "auto"],
    )


def _seed(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isdecimal() and len(text) <= 10 and int(text) <= _MAX_SEED):
        raise InvalidParameterError(f"seed {text[:64]!r} is not a number from 0 to {_MAX_SEED}", param="seed")
    return int(text)


def _inactivity_s(text: str | None) -> float:
    if text is None:
        return DEFAULT_INACTIVITY_S
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text) or not float(text):
        message = f"inactivity_timeout {text[:64]!r} is not a number of seconds above 0"
        raise InvalidParameterError(message, param="inactivity_timeout")
    return min(float(text), MAX_INACTIVITY_S)


def _boolean(given: Mapping[str, str], name: str) -> bool:
    text = given.get(name, "false")
    if text.lower() not in _BOOLEANS:
        raise InvalidParameterError(f"{name} {text[:64]!r} is neither true nor false", param=name)
    return _BOOLEANS[text.lower()]
