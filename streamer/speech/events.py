"""What comes out of `pipeline.speak`: the events of an utterance, in the order of its sound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from streamer.voices.voice import Voice


@dataclass(frozen=True, slots=True)
class WordTime:
    """When a word is heard, in ms of the utterance's sound."""

    text: str
    start_ms: int
    end_ms: int
    char_start: int
    char_end: int


@dataclass(frozen=True, slots=True)
class SentenceStarted:
    """Comes before a sentence's first packet. Character positions are those of the utterance's whole text.

    `known_s`: when its text was there to be spoken, by `time.monotonic`. `voice`: who speaks it. `expected_words`:
    when its words are heard, as far as that can be told when it is called.
    """

    index: int
    text: str
    char_start: int
    char_end: int
    start_ms: int
    text_ready_s: float = 0.0
    voice: str = ""
    expected_words: Callable[[], tuple[WordTime, ...]] = field(default=tuple, compare=False)


@dataclass(frozen=True, slots=True)
class AudioPacket:
    """A piece of sound, packed.

    `timestamp`, `duration`: samples at 48 kHz, counted from the first sample after pre-skip. `is_first`:
    holds the beginning of a sentence. `is_last`: the end of the utterance; the payload may then be empty.
    """

    payload: bytes
    timestamp: int
    duration: int
    is_first: bool = False
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class WordTimes:
    """The words of a sentence, whole, or those begun before it was cut; `is_estimated`: by `word_times`."""

    index: int
    words: tuple[WordTime, ...]
    is_estimated: bool = True


@dataclass(frozen=True, slots=True)
class SentenceEnded:
    """Comes after a sentence's last packet. `spoken_as`: its tokens, where the settings ask for them."""

    index: int
    end_ms: int
    spoken_as: Voice | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Flushed:
    """All text before the flush with this `ref` has come out as sound."""

    ref: str | None


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The last event. `generation_s`: the time that was spent waiting for the synthesizer."""

    audio_ms: int
    num_sentences: int
    truncated: bool
    generation_s: float


@dataclass(frozen=True, slots=True)
class PlaybackDelayed:
    """The first packet is not sent yet, so that play can go on unbroken; `wait_ms`: probably for so long."""

    wait_ms: int


@dataclass(frozen=True, slots=True)
class SpeechWarning:
    """Something was not done as it was asked for; speech goes on. `index`: the sentence, `seed`: its new one."""

    code: str
    message: str
    param: str | None = None
    index: int | None = None
    seed: int | None = None


SpeechEvent = (
    SentenceStarted
    | AudioPacket
    | WordTimes
    | SentenceEnded
    | Flushed
    | PlaybackDelayed
    | SpeechWarning
    | SpeechEnded
)
