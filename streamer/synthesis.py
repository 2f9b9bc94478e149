"""The port between the pipeline and what makes the sound: a sentence goes in, chunks of PCM come out.

`speech` and `server` know only this module. Behind it stand the engine of this machine (`backends/local`), a fake in
the tests, or a cluster.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from streamer.audio.samples import Samples
from streamer.sampling import BARK_COARSE_LIMITS, BARK_PARAMS, CoarseLimits, SamplingParams
from streamer.voices.voice import Voice


@dataclass(frozen=True, slots=True)
class SentenceRequest:
    """One sentence to be spoken; `text` is what is said.

    `request_id` names the sentence in every log line. `sentence_index` counts from 0 within its utterance and keys the
    noise with the seed.
    """

    request_id: str
    text: str
    voice: str
    params: SamplingParams
    sentence_index: int = 0
    speed: float = 1.0
    """How much faster than it is made the sound will be played; it is made as usual, and needed so much earlier."""
    utterance_id: str = ""
    """Sentences of one utterance are heard one after the other, so later ones are less urgent. Empty: the sentence is
    an utterance of its own."""
    history: Voice | None = None
    """What the sentence continues instead of the named voice: for instance, what an earlier one was spoken as."""
    keeps_voice: bool = False
    """Whether the named voice stands before `history`, which is shortened so that neither crowds out the other."""
    wants_history: bool = False
    """Whether the last chunk is to bring what the sentence was spoken as."""
    is_preferred: bool = False
    """Whether the sentence goes before those of clients that have more of the synthesizer than its own."""
    traceparent: str = ""
    """The span that the sentence is made in, as in W3C's Trace Context; empty if nothing is recorded of it."""


@dataclass(frozen=True, slots=True)
class SaidWord:
    """The word `text[char_start:char_end]` of a sentence, and when it is heard, in seconds of the sentence's sound."""

    char_start: int
    char_end: int
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class PcmChunk:
    """A piece of a sentence's sound.

    `truncated` is set on the last chunk of a sentence that the model did not end by itself and that was cut at its cap.
    """

    samples: Samples
    is_last: bool = False
    truncated: bool = False
    history: Voice | None = None
    """On the last chunk, if it was asked for: the sentence's own tokens, a voice that others may continue. None also if
    the sentence has no sound."""
    words: tuple[SaidWord, ...] | None = None
    """The words, from the first one on, whose places in the sound are known by now; None if the model does not tell."""
    unspoken: str = ""
    """On the last chunk of a sentence that was cut: the words that were not spoken, if the model can tell."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a client may need to know about the loaded model."""

    name: str
    sample_rate_hz: int
    default_voice: str
    voices: Sequence[str]
    languages: Sequence[str]
    tags: Sequence[str]
    max_text_tokens: int
    default_params: SamplingParams = BARK_PARAMS
    """The model's own parameters; the seed is drawn for every utterance."""
    coarse_limits: CoarseLimits = BARK_COARSE_LIMITS
    note: str | None = None
    """What a listener should know of this model."""
    normalizes_text: bool = False
    """Whether numbers, abbreviations and the like have to be written out in a sentence's text."""
    phones: Sequence[str] = ()
    """The phones in which a text may give words, as `text/phones` writes them; most models have none."""
    tells_words: bool = False
    """Whether chunks bring the words that are heard in them."""
    chunk_schedule: str | None = None
    """The schedule of the fine stage's chunks, which decides how a seed sounds; None if the model has none."""


@dataclass(frozen=True, slots=True)
class StageStats:
    """One stage since the start: its steps, their time and their rows.

    `step_borders_s` are the upper ends of the ranges of duration that `step_counts` counts in; one more count is of
    longer steps.
    """

    step_borders_s: tuple[float, ...]
    step_counts: tuple[int, ...]
    step_seconds: float
    num_rows: int


@dataclass(frozen=True, slots=True)
class EngineStats:
    """What an engine does, for the operator's figures.

    `load` is the part of its time that the present listeners take; beyond `max_listeners` new ones wait. None if
    that is not known, or if no listener waits.
    """

    stages: Mapping[str, StageStats]
    num_slots: int
    num_running: int
    num_waiting: int
    num_listeners: int
    load: float | None = None
    max_listeners: int | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """Who is being served, and how many can be: what decides whether another listener may begin now.

    Of the `num_listeners` with unfinished sentences, `num_unheard` have no sound yet, and `num_short` (these included)
    have so little ahead that a new one could make their playback underrun; `max_short` may be so at once.
    A listener is served for `mean_stay_s`.
    """

    num_listeners: int
    max_listeners: int
    num_unheard: int
    num_short: int
    max_short: int
    mean_stay_s: float

    def is_enough(self, num_arriving: int = 0) -> bool:
        """Whether another listener may begin, with this many on their way who are not counted yet."""
        return (
            self.num_listeners + num_arriving < self.max_listeners
            and self.num_short + num_arriving < self.max_short
        )


@dataclass(frozen=True, slots=True)
class WorkerHealth:
    """One of a front end's workers, at an address that the operator chose.

    `problem` says why it takes no new sentences, and is empty if it does. `num_sentences` of this front end are open
    there; of its own listeners, those of other front ends included, it serves `num_listeners`, and at most
    `max_listeners`. The counts since the start: `num_asked` for a sentence, `num_refusals` for lack of room,
    `num_retries` of sentences that another worker made because this one was lost, `num_losses` of the worker itself.
    """

    address: str
    is_answering: bool
    problem: str
    num_sentences: int
    num_listeners: int | None
    max_listeners: int | None
    num_asked: int
    num_refusals: int
    num_retries: int
    num_losses: int

    @property
    def is_ready(self) -> bool:
        """Whether it takes new sentences."""
        return not self.problem


@dataclass(frozen=True, slots=True)
class WorkersHealth:
    """The workers that a front end was given."""

    each: tuple[WorkerHealth, ...]

    @property
    def num_all(self) -> int:
        """How many there are."""
        return len(self.each)

    @property
    def num_answering(self) -> int:
        """How many of them answer."""
        return sum(worker.is_answering for worker in self.each)

    @property
    def num_ready(self) -> int:
        """How many of them take new sentences."""
        return sum(worker.is_ready for worker in self.each)


TOLD_LATE_S: Final = 0.25
"""How old a worker's status may be when a front end decides by it."""


@dataclass(frozen=True, slots=True)
class Health:
    """`alive`: steps are made whenever there is something to do. `ready`: warm, and accepting sentences.

    `expected_speed`: seconds of sound made per second if there were one listener more; None if that is not known.
    `room`: None if listeners are not limited. `room_soon`: what it will be at the least `TOLD_LATE_S` from now, for
    those who learn of it late; None if that is not known. `is_loaded`: whether the model has been read. `step_age_s`:
    how long the step in progress has taken so far. `workers`: None if the engine is in this process.
    """

    alive: bool
    ready: bool
    reason: str | None = None
    engine: EngineStats | None = None
    expected_speed: float | None = None
    room: Room | None = None
    room_soon: Room | None = None
    is_loaded: bool = True
    step_age_s: float = 0.0
    workers: WorkersHealth | None = None


class Synthesizer(Protocol):
    """Speaks sentences. Many may be open at once; each ends by itself, by an error, or by being closed."""

    @property
    def info(self) -> ModelInfo:
        """The loaded model; valid after `start`. Its voices may change, and then this is another object."""
        ...

    def count_tokens(self, text: str) -> int:
        """The number of tokens of `text` for this model; a sentence must not exceed `info.max_text_tokens`."""
        ...

    def synthesize(self, request: SentenceRequest) -> AsyncGenerator[PcmChunk, None]:
        """Yield the sentence's sound as it is made; the last chunk has `is_last`.

        An utterance keeps the voices that were there at its first sentence, also if they change.

        `aclose` cancels the sentence, and returns when everything that it held is free.
        Raises `VoiceNotFoundError` for an unknown voice, `EngineError` if the engine failed.
        """
        ...

    def health(self) -> Health:
        """How things are now; this is cheap and never waits."""
        ...

    async def start(self) -> None:
        """Load, warm up with a real synthesis, and return once ready."""
        ...

    async def close(self) -> None:
        """Cancel what runs and release everything."""
        ...
