"""Which of the model's voices speaks for a client that knows voices by other names."""

from __future__ import annotations

from streamer.config import SpeechConfig
from streamer.errors import VoiceNotFoundError
from streamer.synthesis import ModelInfo
from streamer.voices.presets import language_of


def find_voice(asked: str | None, info: ModelInfo, speech: SpeechConfig, param: str = "voice") -> str:
    """Return the model's voice of this name, and the default one if none is asked for.

    Not every client can put a slash into an address: `v2_en_speaker_6` and `en_speaker_6` are `v2/en_speaker_6` too.
    Raises `VoiceNotFoundError`, in which `param` is the name of the field.
    """
    if asked is None:
        return speech.voice or info.default_voice
    if asked in info.voices:
        return asked
    for voice in info.voices:
        if asked in (voice.replace("/", "_"), voice.rpartition("/")[2]):
            return voice
    raise VoiceNotFoundError(f"no voice is named {asked[:64]!r}; /v1/voices lists them", param=param)


def stand_in(info: ModelInfo, speech: SpeechConfig, language: str | None) -> str:
    """Return the voice that speaks where a client asks for one of another vendor.

    That is the default voice, unless another one speaks the `language` and the default one does not.
    """
    default = speech.voice or info.default_voice
    if language in (None, language_of(default, info.languages)):
        return default
    return next((name for name in info.voices if language_of(name, info.languages) == language), default)
