"""The port between the pipeline and whatever makes the sound: a sentence goes in, chunks of PCM come out.

`pipeline` and `server` know only this module; the engine on this machine (`backends/local`), a fake in
the tests, or a cluster stand behind it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from streamer.voices.voice import Voice

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How a sentence is sampled; the names and defaults are Bark's.

    `seed` is always a number here: whoever opens an utterance draws one where the client gave none.
    """

    seed: int
    text_temp: float = 0.7
    waveform_temp: float = 0.7
    fine_temp: float | None = 0.5
    """None: the likeliest code each."""
    top_k: int | None = None
    top_p: float | None = None
    min_eos_p: float | None = 0.2
    """A sentence ends where its end is at least so likely; None: only where the end is drawn."""
    max_gen_duration_s: float | None = None
    """Longest sound of a sentence; None: what its text may take."""
    max_coarse_history: int | None = None
    """Coarse tokens of context before a window; fewer forget the voice sooner. None: the model's own."""
    sliding_window_len: int | None = None
    """Coarse tokens made per window; None: the model's own."""


@dataclass(frozen=True, slots=True)
class SentenceRequest:
    """One sentence to be spoken; `text` is what is said.

    `sentence_index` (from 0 within its utterance) keys the noise with the seed.
    """

    request_id: str
    text: str
    voice: str
    params: SamplingParams
    sentence_index: int = 0
    utterance_id: str = ""
    """Sentences of one utterance are heard one after the other: a later one is not in a hurry. Empty: its own."""
    history: Voice | None = None
    """What the sentence goes on from instead of the named voice: for instance, what an earlier one was spoken as."""
    keeps_voice: bool = False
    """Whether the named voice stands before `history`, of which so much is taken that neither crowds out the other."""
    wants_history: bool = False
    """Whether the last chunk is to bring what the sentence was spoken as."""


@dataclass(frozen=True, slots=True)
class PcmChunk:
    """A piece of a sentence's sound.

    `samples`: float32 in [-1, 1], mono, [num_samples]. `truncated` is set on the last chunk of a sentence
    which the model did not end by itself and that was cut at the cap.
    """

    samples: Samples
    is_last: bool = False
    truncated: bool = False
    history: Voice | None = None
    """On the last chunk, where it was asked for: the sentence's own tokens, a voice that others may go on from.
    None also where the sentence has no sound."""


@dataclass(frozen=True, slots=True)
class CoarseLimits:
    """What `max_coarse_history` and `sliding_window_len` may be; the defaults are Bark's.

    `history`, `window`: the model's own. `room`: what history and window may have together.
    """

    history: int = 630
    window: int = 60
    room: int = 768


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a client may want to know of the loaded model."""

    name: str
    sample_rate_hz: int
    default_voice: str
    voices: Sequence[str]
    languages: Sequence[str]
    tags: Sequence[str]
    max_text_tokens: int
    default_params: SamplingParams = SamplingParams(seed=0)
    """The model's own; the seed is drawn for every utterance."""
    coarse_limits: CoarseLimits = CoarseLimits()
    note: str | None = None
    """What a listener should know of this model."""
    normalizes_text: bool = False
    """Whether sentences have to come with numbers, abbreviations and the like written out."""


STEP_BORDERS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Upper ends of the ranges that steps are counted in by their duration; one more range holds the longer ones."""


@dataclass(frozen=True, slots=True)
class StageStats:
    """Of a stage since the start: steps counted by `STEP_BORDERS_S`, their time, and the rows they had."""

    step_counts: tuple[int, ...]
    step_seconds: float
    num_rows: int


@dataclass(frozen=True, slots=True)
class EngineStats:
    """What an engine does: for the operator's eyes.

    `load`: part of its time that the present listeners take; `max_listeners`: beyond which new ones are refused.
    None where it is not known, or nobody is refused.
    """

    stages: Mapping[str, StageStats]
    num_slots: int
    num_running: int
    num_waiting: int
    num_listeners: int
    load: float | None = None
    max_listeners: int | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """`alive`: steps are being made or nothing is to be done. `ready`: warm and accepting sentences."""

    alive: bool
    ready: bool
    reason: str | None = None
    engine: EngineStats | None = None


class Synthesizer(Protocol):
    """Speaks sentences. Many may be open at once; each ends by itself, by an error, or by being closed."""

    @property
    def info(self) -> ModelInfo: ...

    def count_tokens(self, text: str) -> int:
        """Tokens of `text` for this model's semantic stage; a sentence must not exceed `info.max_text_tokens`."""
        ...

    def synthesize(self, request: SentenceRequest) -> AsyncIterator[PcmChunk]:
        """Yield the sentence's sound as it is made; the last chunk has `is_last`.

        Closing the iterator cancels the sentence and frees what it held.
        Raises `VoiceNotFoundError` for an unknown voice, `EngineError` where the engine failed.
        """
        ...

    def health(self) -> Health: ...

    def expected_speed(self) -> float | None:
        """Seconds of sound made per second for one listener more than there are; None where that is not known."""
        ...

    async def start(self) -> None:
        """Load, warm up with a real synthesis, and return once ready."""
        ...

    async def close(self) -> None:
        """Cancel what runs and release everything."""
        ...
