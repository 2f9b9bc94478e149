"""OpenAI's names of voices and models, and what they stand for here; for the adapters that speak OpenAI's APIs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from streamer.errors import ConfigError, InvalidParameterError, VoiceNotFoundError
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
MODEL_ALIASES: Final = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
"""OpenAI's models, for which the server's own stands in; `gpt-4o-mini-tts-2025-12-15` is one of them, too."""
REALTIME_ALIASES: Final = (
    "gpt-realtime",
    "gpt-4o-realtime",
    "gpt-4o-mini-realtime",
    "gpt-audio",
    *MODEL_ALIASES,
)
"""The models of OpenAI's realtime API for which it stands in, too, with whatever is behind these names."""


class ModelNotFoundError(InvalidParameterError):
    """The model that is asked for is neither the server's nor one that it stands in for."""

    code = "model_not_found"


def read_mapping(pairs: Iterable[str]) -> Mapping[str, str]:
    """Read the operator's mapping, `alloy=v2/en_speaker_6`. Raises `ConfigError`."""
    mapping = {}
    for pair in pairs:
        name, equals, voice = (part.strip() for part in pair.partition("="))
        if not equals or not voice or name not in NAMES:
            message = f"openai_voices: {pair!r} is not NAME=VOICE with a name of {', '.join(NAMES)}"
            raise ConfigError(message, param="openai_voices")
        mapping[name] = voice
    return mapping


def check_mapping(mapping: Mapping[str, str], voices: Collection[str]) -> None:
    """Raise `ConfigError` if a name is mapped to a voice that the model does not have."""
    for voice in mapping.values():
        if voice not in voices:
            message = f"openai_voices: no voice is named {voice!r}; the model has {', '.join(voices)}"
            raise ConfigError(message, param="openai_voices")


def find_voice(asked: str | None, mapping: Mapping[str, str], info: ModelInfo, default: str) -> str:
    """Return the model's voice for what the client asked for; `default` if they asked for none.

    A voice of the model comes before OpenAI's of the same name. A name whose mapped voice has been removed is spread
    like those that are not mapped. Raises `VoiceNotFoundError`.
    """
    voice = default if asked is None else asked
    if voice not in info.voices and asked in NAMES:
        mapped = mapping.get(asked)
        voice = mapped if mapped is not None and mapped in info.voices else _spread(info, default)[asked]
    if voice not in info.voices:
        message = f"no voice is named {voice!r}; /v1/audio/voices lists them"
        raise VoiceNotFoundError(message, param="voice")
    return voice


def describe_model(name: str, created_s: int) -> dict[str, object]:
    """Return a model as OpenAI's library reads it; `created_s` counts from 1970."""
    return {"id": name, "object": "model", "created": created_s, "owned_by": "streamer"}


def check_model(name: str | None, installed: str, aliases: Sequence[str] = MODEL_ALIASES) -> None:
    """Raise `ModelNotFoundError` for a model that this server neither has nor stands in for."""
    if not name or name == installed or f"{name}-".startswith(tuple(f"{alias}-" for alias in aliases)):
        return
    known = ", ".join((installed, *aliases))
    raise ModelNotFoundError(f"the model {name[:64]!r} is none of {known}", param="model")


def _spread(info: ModelInfo, default: str) -> Mapping[str, str]:
    """Spread OpenAI's names over the voices that speak the default voice's language; the default one is the first.

    The voice without a history is left out, because it is another speaker in each sentence.
    """
    language = language_of(default, info.languages)
    others = (voice for voice in info.voices if voice not in (default, NO_HISTORY))
    voices = [default, *(voice for voice in others if language_of(voice, info.languages) == language)]
    return {name: voices[index % len(voices)] for index, name in enumerate(NAMES)}
