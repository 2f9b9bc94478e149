"""What comes out of `pipeline.speak`: the events of an utterance, in the order of its sound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from streamer.audio.packets import Packet
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

    `text_ready_s` is when its text was there to be spoken, by `time.monotonic`. `expected_words` estimates when its
    words are heard, as far as that is known when it is called.
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
class WordTimes:
    """The words of a whole sentence, or those that were begun before it was cut."""

    index: int
    words: tuple[WordTime, ...]
    is_estimated: bool = True


@dataclass(frozen=True, slots=True)
class SentenceEnded:
    """Comes after a sentence's last packet. `spoken_as` are its tokens, if the settings ask for them."""

    index: int
    end_ms: int
    spoken_as: Voice | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Flushed:
    """All text before the flush with this `ref` has come out as sound."""

    ref: str | None


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The last event. `generation_s` is the time that was spent waiting for the synthesizer."""

    audio_ms: int
    num_sentences: int
    truncated: bool
    generation_s: float


@dataclass(frozen=True, slots=True)
class PlaybackDelayed:
    """The first packet is held, for about `wait_ms`, so that playback will not stop."""

    wait_ms: int


@dataclass(frozen=True, slots=True)
class Queued:
    """The utterance waits until the synthesizer has room, at this place of the server's queue, counted from 1."""

    place: int


@dataclass(frozen=True, slots=True)
class SpeechWarning:
    """Something is not done as it was asked for; speech continues.

    `param` names what the warning is about, `index` the sentence, `seed` what the sentence was made with instead.
    """

    code: str
    message: str
    param: str | None = None
    index: int | None = None
    seed: int | None = None


SpeechEvent = (
    SentenceStarted
    | Packet
    | WordTimes
    | SentenceEnded
    | Flushed
    | PlaybackDelayed
    | Queued
    | SpeechWarning
    | SpeechEnded
)
