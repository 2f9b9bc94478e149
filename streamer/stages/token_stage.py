"""What the semantic and the coarse stage share: a step that makes tokens, taken here or on a thread beside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import torch
from torch import Tensor

from streamer.engine.device.automaton import Automata
from streamer.engine.device.cpu_stream import CpuStream, PendingCall
from streamer.engine.device.cuda_graphs import Recorder
from streamer.engine.device.noise import noise_key
from streamer.engine.device.transfer import PendingResult, Readback
from streamer.engine.stage import Pending, Preparation
from streamer.errors import ModelNumericError
from streamer.models.cpu.joining import offering
from streamer.models.gpt import CausalGpt
from streamer.models.kv_cache import SlotCache
from streamer.sampling import SamplingParams
from streamer.stages.sentence import SentenceWork, TokenTrack
from streamer.stages.token_steps import Choice, TokenSteps

STEPS_TOGETHER: Final = 8
"""The most decode steps in a row of several works."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A step that is yet to be taken.

    `works` are those that tokens are drawn for, each as often as it is drawn for, in the order of the rows that `run`
    returns. `run` reads nothing of a work that may change meanwhile.
    """

    works: list[SentenceWork]
    run: Callable[[], list[Tensor]]
    num_steps: int


class TokenStage(ABC):
    """A stage that makes one token per step with a causal model, and its state per slot.

    A subclass says when a work is ready, what its steps read, and what a token means.
    """

    name: str
    runs_beside = False
    step_here = None
    preparation: Preparation[SentenceWork] | None = None

    def __init__(
        self,
        model: CausalGpt,
        cache: SlotCache,
        choice: Choice,
        *,
        min_length: int,
        max_rows: int,
        record: Recorder | None,
        automata: Automata | None = None,
        stream: CpuStream | None = None,
    ) -> None:
        self.max_rows = max_rows
        self._model = model
        self._steps = TokenSteps(model, cache, choice, record=record, automata=automata)
        self._min_length = min_length
        self.step_beside: Callable[[Sequence[SentenceWork]], Pending] | None = None
        self._stream = stream
        self.is_joined = stream is not None and self._steps.prefills_at_once
        if stream is not None:
            self.step_beside = partial(self._step_beside, stream)
        self._beside: dict[int, tuple[SentenceWork, PendingCall]] = {}
        """The steps that a thread beside the engine's is taking, by slot, and for whom."""

    @torch.inference_mode()
    def begin(self, work: SentenceWork) -> None:
        """Set the parameters of a new sentence."""
        if work.slot in self._beside:
            # The slot's last sentence was given up, but its step may still write there, also what is not finite.
            self._beside.pop(work.slot)[1].wait()
            self._steps.mark_poisoned(work.slot)
        key = noise_key(work.params.seed, work.sentence_index, self.name)
        self._steps.begin(work.slot, key, self._temperature(work.params), work.params)

    def num_recordings(self) -> int:
        """The number of steps that `record` would record."""
        return self._steps.num_shapes(self.max_rows, self._min_length)

    def record(self, on_recorded: Callable[[], None]) -> None:
        """Record the decode steps, if a recorder was given; `on_recorded` is called after each."""
        self._steps.record(self.max_rows, self._min_length, on_recorded)

    @torch.inference_mode()
    def step(self, batch: Sequence[SentenceWork]) -> Pending:
        """Make a token for every row, by a prefill at a window's start, else by decoding, which may make more."""
        plan = self._plan(batch)
        with offering(self._stream.invite if self._stream else None):
            readback = Readback(torch.cat(plan.run()))
        self._count(plan)
        joined_s = self._stream.take_joined_s() if self._stream else 0.0
        commit = partial(self._commit, plan.works)
        return PendingResult(readback, commit, plan.num_steps, joined_s=joined_s)

    def _step_beside(self, stream: CpuStream, batch: Sequence[SentenceWork]) -> Pending:
        """Take the same step on the thread beside the engine's."""
        plan = self._plan(batch)
        commit = partial(self._commit_beside, plan.works)
        pending = stream.launch(lambda: torch.cat(plan.run()), commit, plan.num_steps)
        self._count(plan)
        for work in batch:
            self._track(work).is_made_beside = True
            self._beside[work.slot] = work, pending
        return pending

    @abstractmethod
    def _temperature(self, params: SamplingParams) -> float: ...

    @abstractmethod
    def _track(self, work: SentenceWork) -> TokenTrack:
        """The stage's own tokens of the work."""

    @abstractmethod
    def _num_left(self, work: SentenceWork) -> int:
        """How many decode steps the work should take from here, one after another.

        They are at most those that it can take. While nothing is heard of it, they end where the next stage can begin.
        """

    @abstractmethod
    def _plan(self, batch: Sequence[SentenceWork]) -> Plan:
        """Return the next step of the works, none of which has advanced yet."""

    @abstractmethod
    def _accept(self, work: SentenceWork, token: int, is_end: bool) -> None:
        """Take the token of a finished step."""

    def _prefill_rows(
        self, works: Sequence[SentenceWork], embeddings: Tensor, steps: Sequence[int], *, start: int = 0
    ) -> Tensor:
        """Prefill `embeddings` [rows, length, width] from position `start` on; returns what is drawn for `steps`."""
        places = [(work.slot, step) for work, step in zip(works, steps, strict=True)]
        return self._steps.prefill(embeddings, places, [work.params for work in works], start=start)

    def _num_steps(self, works: Sequence[SentenceWork]) -> int:
        """How many decode steps in a row these works take: more if one is alone, as its steps are short."""
        at_once = self._model.decode_step.steps_at_once
        if at_once == 1 or not works:
            return 1
        return min(at_once if len(works) == 1 else min(at_once, STEPS_TOGETHER), *map(self._num_left, works))

    def _places(self, works: Sequence[SentenceWork], positions: Sequence[int]) -> list[tuple[int, int, int]]:
        """Return where the works' next decode step is: slot, position in the cache, and step of the sentence."""
        return [
            (work.slot, position, self._track(work).num_issued)
            for work, position in zip(works, positions, strict=True)
        ]

    def _count(self, plan: Plan) -> None:
        """Count the launched steps."""
        for work in plan.works:
            self._track(work).num_issued += 1

    def _commit_beside(self, works: list[SentenceWork], rows: Tensor) -> None:
        for work in works:
            self._track(work).is_made_beside = False
            if self._beside.get(work.slot, (None,))[0] is work:
                del self._beside[work.slot]
        self._commit(works, rows)

    def _commit(self, works: list[SentenceWork], rows: Tensor) -> None:
        for work, (token, is_end, is_finite) in zip(works, rows.tolist(), strict=True):
            if not is_finite:
                self._steps.mark_poisoned(work.slot)
            if self._track(work).is_finished or work.failure is not None:
                continue  # this step was launched before the end was known
            if is_finite:
                self._accept(work, token, bool(is_end))
            else:
                work.failure = ModelNumericError(f"the {self.name} model's output is not finite")
