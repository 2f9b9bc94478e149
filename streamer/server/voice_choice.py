"""Which of the model's voices speaks for a client that knows voices by other names."""

from __future__ import annotations

from collections.abc import Collection

from streamer.config import SpeechConfig
from streamer.errors import ConfigError, VoiceNotFoundError
from streamer.synthesis import ModelInfo
from streamer.voices.presets import language_of


def default_voice(info: ModelInfo, speech: SpeechConfig) -> str:
    """Return the voice of a client that asks for none: the model's own, unless the settings name one that is there."""
    return speech.voice if speech.voice is not None and speech.voice in info.voices else info.default_voice


def check_default_voice(speech: SpeechConfig, voices: Collection[str]) -> None:
    """Raise `ConfigError` if the settings name a voice that the model does not have."""
    if speech.voice is not None and speech.voice not in voices:
        message = f"voice {speech.voice!r}: the model has {', '.join(voices)}"
        raise ConfigError(message, param="voice")


def find_voice(asked: str | None, info: ModelInfo, speech: SpeechConfig, param: str = "voice") -> str:
    """Return the model's voice of this name, and the default one if none is asked for.

    Not every client can put a slash into an address: `v2_en_speaker_6` and `en_speaker_6` are `v2/en_speaker_6` too.
    Raises `VoiceNotFoundError`, in which `param` is the name of the field.
    """
    if asked is None:
        return default_voice(info, speech)
    if asked in info.voices:
        return asked
    for voice in info.voices:
        if asked in names_of(voice):
            return voice
    raise VoiceNotFoundError(f"no voice is named {asked[:64]!r}; /v1/voices lists them", param=param)


def names_of(voice: str) -> tuple[str, str, str]:
    """Return the names that stand for a voice of the model, its own first."""
    return voice, voice.replace("/", "_"), voice.rpartition("/")[2]


def stand_in(info: ModelInfo, speech: SpeechConfig, language: str | None) -> str:
    """Return the voice that speaks where a client asks for one of another vendor.

    That is the default voice, unless another one speaks the `language` and the default one does not.
    """
    default = default_voice(info, speech)
    if language in (None, language_of(default, info.languages)):
        return default
    return next((name for name in info.voices if language_of(name, info.languages) == language), default)
