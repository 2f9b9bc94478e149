"""Which of the model's voices speaks where a client asks for one of OpenAI's."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from streamer.errors import ConfigError, VoiceNotFoundError
from streamer.synthesis import ModelInfo
from streamer.voices.library import NO_HISTORY
from streamer.voices.presets import language_of

NAMES: Final = (
    "alloy",
    "ash",
    "ballad",
    "cedar",
    "coral",
    "echo",
    "fable",
    "marin",
    "nova",
    "onyx",
    "sage",
    "shimmer",
    "verse",
)
"""OpenAI's voices. Some clients ask for no others."""


def read_mapping(pairs: Iterable[str], voices: Collection[str]) -> Mapping[str, str]:
    """Read the operator's mapping, `alloy=v2/en_speaker_6`, to some of the model's voices. Raises `ConfigError`."""
    mapping = {}
    for pair in pairs:
        name, equals, voice = (part.strip() for part in pair.partition("="))
        if not equals or not voice or name not in NAMES:
            message = f"openai_voices: {pair!r} is not NAME=VOICE with a name of {', '.join(NAMES)}"
            raise ConfigError(message, param="openai_voices")
        if voice not in voices:
            message = f"openai_voices: no voice is named {voice!r}; the model has {', '.join(voices)}"
            raise ConfigError(message, param="openai_voices")
        mapping[name] = voice
    return mapping


def find_voice(asked: str | None, mapping: Mapping[str, str], info: ModelInfo, default: str) -> str:
    """Return the model's voice for what the client asked for; `default` if they asked for none.

    A voice of the model comes before OpenAI's of the same name. Raises `VoiceNotFoundError`.
    """
    voice = default if asked is None else asked
    if voice not in info.voices and asked in NAMES:
        voice = mapping.get(asked) or _spread(info, default)[asked]
    if voice not in info.voices:
        message = f"no voice is named {voice!r}; /v1/audio/voices lists them"
        raise VoiceNotFoundError(message, param="voice")
    return voice


def _spread(info: ModelInfo, default: str) -> Mapping[str, str]:
    """Spread OpenAI's names over the voices that speak the default voice's language; the default one is the first.

    The voice without a history is left out, because it is another speaker in each sentence.
    """
    language = language_of(default, info.languages)
    others = (voice for voice in info.voices if voice not in (default, NO_HISTORY))
    voices = [default, *(voice for voice in others if language_of(voice, info.languages) == language)]
    return {name: voices[index % len(voices)] for index, name in enumerate(NAMES)}
