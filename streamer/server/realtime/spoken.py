"""What is spoken, and how: the settings of a session, and the text of a conversation's items."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from streamer.audio.formats import DEFAULT_RATE_HZ, AudioFormat, default_rate_hz
from streamer.errors import InvalidParameterError
from streamer.server.openai_names import find_voice
from streamer.server.realtime.messages import FORMATS, Format, Item, Settings, VoiceId
from streamer.server.service import Service
from streamer.speech.settings import SpeechSettings

DELTA_MS: Final = 40
"""How much sound one event holds: fifty events of JSON a second would be many."""
PCM: Final = Format()
"""The format of a session that asks for none."""
_TEXTS: Final = ("input_text", "text")
_OF_THE_PREVIEW: Final = {
    "modalities": "output_modalities",
    "voice": "audio.output.voice",
    "output_audio_format": "audio.output.format",
}
"""Settings of the API's preview, and what they are called now. Its clients know the sound by another name, too."""


@dataclass(frozen=True, slots=True)
class SpokenAs:
    """The voice, the encoding and the speed of what is spoken. `voice` is the client's word for it."""

    voice: str | None = None
    format: Format = PCM
    speed: float = 1.0

    def changed(self, settings: Settings) -> SpokenAs:
        """Return this with what the client sets. Raises `InvalidParameterError`."""
        for name, now in _OF_THE_PREVIEW.items():
            if getattr(settings, name) is not None:
                message = f"{name} belongs to the preview of this API, which is over; it is {now} now"
                raise InvalidParameterError(message, param=name)
        if settings.output_modalities is not None and "audio" not in settings.output_modalities:
            message = "output_modalities without `audio`: this server speaks, and writes nothing"
            raise InvalidParameterError(message, param="output_modalities")
        output = settings.audio.output if settings.audio is not None else None
        if output is None:
            return self
        voice = output.voice.id if isinstance(output.voice, VoiceId) else output.voice
        changed = replace(
            self,
            voice=voice or self.voice,
            format=output.format or self.format,
            speed=output.speed or self.speed,
        )
        if changed.format.rate not in (None, changed.rate_hz):
            message = (
                f"{changed.format.type} of {changed.format.rate} Hz is not offered, only {changed.rate_hz} Hz"
            )
            raise InvalidParameterError(message, param="audio.output.format.rate")
        return changed

    @property
    def rate_hz(self) -> int:
        """The sampling rate of the format."""
        return DEFAULT_RATE_HZ if self.format.type == "audio/pcm" else default_rate_hz("mulaw")

    @property
    def audio_format(self) -> AudioFormat:
        """The format as the server encodes it."""
        return AudioFormat(FORMATS[self.format.type], self.rate_hz, DELTA_MS)

    def described(self, default: str) -> dict[str, Any]:
        """Return `audio.output` as the server reports it; `default` is the voice of who asks for none."""
        rate = {"rate": self.rate_hz} if self.format.type == "audio/pcm" else {}
        return {
            "format": {"type": self.format.type} | rate,
            "voice": self.voice or default,
            "speed": self.speed,
        }

    def settings(self, service: Service, mapping: Mapping[str, str]) -> SpeechSettings:
        """Return how an utterance is spoken. Raises `VoiceNotFoundError`."""
        voice = find_voice(self.voice, mapping, service.synthesizer.info, service.default_voice)
        return service.settings(voice, speed=self.speed)


def text_of(item: Item) -> str | None:
    """Return what is to be spoken of an item, None for one that is only context: what a user's message says is spoken.

    Raises `InvalidParameterError` for what cannot be.
    """
    if item.type != "message":
        raise InvalidParameterError(
            f"an item of type {item.type!r}: only messages are spoken", param="item.type"
        )
    if item.role not in ("user", "system", "assistant"):
        raise InvalidParameterError("role is `user`, `system` or `assistant`", param="item.role")
    if item.role != "user":
        return None
    for part in item.content:
        if part.type not in _TEXTS or part.text is None:
            message = f"content of type {part.type!r} cannot be spoken: send `input_text` with `text`"
            raise InvalidParameterError(message, param="item.content")
    return "".join(part.text or "" for part in item.content)


def joined(texts: Iterable[str | None]) -> str:
    """Return the texts of several items as one: each is a paragraph."""
    return "\n\n".join(text for text in texts if text)
