"""How an utterance sounds: its voice, its sampling and how its text is read; the input of `pipeline.speak`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from streamer.audio.packets import PacketEncoder, create_encoder
from streamer.synthesis import SamplingParams
from streamer.text.reading import AS_IT_IS, TextOptions

Continuity = Literal["preset", "chain", "preset+chain"]
"""What a sentence goes on from: its voice, the voice's last sentence, or both."""


@dataclass(frozen=True, slots=True)
class SpeechSettings:
    """How an utterance sounds and is packed. `max_buffer_ms` None: only finished text is spoken unasked."""

    voice: str
    params: SamplingParams
    encoding: str = "opus"
    sample_rate_hz: int = 24_000
    frame_ms: int = 20
    bitrate: int = 32_000
    reading: TextOptions = AS_IT_IS
    max_buffer_ms: int | None = 500
    max_audio_s: float = 3600.0
    starts_safely: bool = False
    """Hold the first packet until play can go on unbroken, where the machine is slower than speech."""
    continuity: Continuity = "preset"
    speakers: Mapping[str, str] = field(default_factory=dict)
    """Labels in the text, such as `Alice` of `Alice: Hello.`, and the voices that speak what follows them."""
    include_history: bool = False
    """Whether `SentenceEnded` is to tell what the sentence was spoken as."""

    def create_encoder(self) -> PacketEncoder:
        """A fresh encoder; raises `InvalidParameterError` where encoding and rate do not go together."""
        return create_encoder(
            self.encoding, sample_rate_hz=self.sample_rate_hz, frame_ms=self.frame_ms, bitrate=self.bitrate
        )
