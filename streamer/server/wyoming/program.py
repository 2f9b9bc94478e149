"""What the server tells a Wyoming client about itself, and which voice a client's wish stands for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wyoming.info import Attribution, Info, TtsProgram, TtsVoice

from streamer.errors import InvalidParameterError
from streamer.server.service import Service, package_version
from streamer.server.voice_choice import find_voice
from streamer.server.wyoming.messages import Voice, encode
from streamer.synthesis import ModelInfo
from streamer.text.scripts import base_language
from streamer.voices.presets import language_of

_BARK: Final = Attribution(name="Suno's Bark", url="https://github.com/suno-ai/bark")


def describe(info: ModelInfo) -> bytes:
    """Return the event `info`: one program with all of the model's voices."""
    voices = [
        TtsVoice(
            name=name,
            attribution=_BARK,
            installed=True,
            description=name,
            version=None,
            languages=list(_languages(name, info)),
        )
        for name in info.voices
    ]
    program = TtsProgram(
        name="streamer",
        attribution=_BARK,
        installed=True,
        description=f"streamer with the model {info.name}",
        version=package_version(),
        voices=voices,
        supports_synthesize_streaming=True,
    )
    return encode(Info(tts=[program]).event())


def choose_voice(wish: Voice, service: Service) -> str:
    """Return the voice of a client's wish; the default one if there is none.

    A language may have a region, which does not matter. Raises `VoiceNotFoundError`, or `InvalidParameterError` for a
    language or a speaker that no voice has.
    """
    if wish.speaker is not None:
        message = f"no voice has speakers such as {wish.speaker!r}: ask for the voice alone"
        raise InvalidParameterError(message, param="speaker")
    info = service.synthesizer.info
    if wish.name is not None or wish.language is None:
        return find_voice(wish.name, info, service.config.speech)
    language = base_language(wish.language)
    for name in (service.default_voice, *info.voices):
        if language in _languages(name, info):
            return name
    spoken = ", ".join(info.languages)
    message = f"no voice speaks {wish.language!r}: ask for one of {spoken}"
    raise InvalidParameterError(message, param="language")


def _languages(voice: str, info: ModelInfo) -> Sequence[str]:
    """The languages of a voice: all of the model's if its name does not say."""
    language = language_of(voice, info.languages)
    return list(info.languages) if language is None else [language]
