"""How an utterance is spoken: its voice, its sampling and how its text is read; the input of `pipeline.speak`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from streamer.errors import InvalidParameterError
from streamer.sampling import SamplingParams
from streamer.text.reading import AS_IT_IS, TextOptions

MIN_TEMPO: Final = 0.25
MAX_TEMPO: Final = 4.0
"""How slow and how fast sound is made, as OpenAI has it. `audio/tempo` makes it; its module loads FFmpeg, which servers
whose clients ask for no speed do without."""
MIN_SPEED: Final = 0.5
MAX_SPEED: Final = 2.0
"""The speeds at which speech stays easy to follow: our own clients are offered these."""
Continuity = Literal["preset", "chain", "preset+chain"]
"""What a sentence continues: its voice, the voice's last sentence, or both."""


@dataclass(frozen=True, slots=True)
class SpeechSettings:
    """How an utterance is spoken; how its sound is encoded is an `AudioFormat`."""

    voice: str
    params: SamplingParams
    reading: TextOptions = AS_IT_IS
    max_buffer_ms: int | None = 500
    """A pause of the writer after which unfinished text is spoken; None: it never is, unless it is flushed."""
    max_audio_s: float = 3600.0
    """The longest sound of the utterance, which is cut there."""
    continuity: Continuity = "preset"
    speakers: Mapping[str, str] = field(default_factory=dict)
    """Labels in the text, such as `Alice` of `Alice: Hello.`, and the voices that speak what follows them."""
    speed: float = 1.0
    """How much faster than usual it is spoken, at the same pitch. Pauses that the text asks for keep their length."""
    include_history: bool = False
    """Whether `SentenceEnded` carries the tokens of the spoken sentence."""
    is_held: bool = False
    """Whether a sentence is heard only once all of it is made, so that nothing depends on when it is heard."""

    def __post_init__(self) -> None:
        """Raise `InvalidParameterError` for a speed that cannot be had."""
        checked_speed(self.speed)


def checked_speed(speed: float, param: str = "speed") -> float:
    """Return `speed`; raises `InvalidParameterError`, which names the field `param`, if it cannot be had."""
    if not MIN_TEMPO <= speed <= MAX_TEMPO:
        message = f"{param} {speed:g} is not from {MIN_TEMPO:g} to {MAX_TEMPO:g}"
        raise InvalidParameterError(message, param=param)
    return speed
