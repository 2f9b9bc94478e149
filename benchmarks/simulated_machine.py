"""Stages that only take time: they implement the engine's `Stage` with counted tokens and a simulated clock.

`simulate.py` runs the real engine over them. The costs of the steps belong to a machine: `MACHINES` holds estimates,
and `times_of` derives costs from what `stages.py` measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from streamer.assembly import BUILTIN_MODEL
from streamer.audio.samples import Samples
from streamer.errors import StreamerError
from streamer.models.config import LARGE, SMALL, ModelConfig
from streamer.models.files.config_file import read_config
from streamer.stages.coarse_windows import CoarseWindows
from streamer.stages.fine_windows import chunk_end, whole_window

SAMPLE_RATE_HZ = 150
"""The simulated sampling rate: sound is only counted here, and a sample stands for half a frame."""
CODEC_SHORT_FRAMES, CODEC_LONG_FRAMES = 15, 60
"""The lengths in frames of the two chunks whose decoding `stages.py` measures."""


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Costs in milliseconds: `*_step` of every step, `*_row` more for each row, `*_frame` more for each frame."""

    semantic_step: float
    semantic_row: float
    semantic_prefill_row: float
    coarse_step: float
    coarse_row: float
    coarse_prefill_row: float
    fine_row: float
    codec_row: float
    codec_frame: float = 0.0
    fine_step: float = 0.0
    codec_step: float = 0.0
    tick: float = 0.1
    """The engine's own work around every step, in milliseconds."""

    def scaled(self, factor: float) -> StepTimes:
        """Return the times of a machine that is `factor` times slower."""
        return StepTimes(**{name: factor * getattr(self, name) for name in self.__dataclass_fields__})


@dataclass(frozen=True, slots=True)
class Machine:
    """A model on a device. `max_fine_rows`: the most chunks that one step of the fine stage takes."""

    config: ModelConfig
    times: StepTimes
    max_fine_rows: int = 8


_LARGE_TIMES = StepTimes(
    semantic_step=0.45,
    semantic_row=0.015,
    semantic_prefill_row=0.6,
    coarse_step=0.45,
    coarse_row=0.03,
    coarse_prefill_row=1.8,
    fine_row=9.0,
    codec_step=1.0,
    codec_row=0.2,
)
_SMALL_TIMES = replace(_LARGE_TIMES.scaled(0.25), codec_step=1.0, codec_row=0.2, tick=0.1)
_BUILTIN_TIMES = StepTimes(
    semantic_step=0.1,
    semantic_row=0.08,
    semantic_prefill_row=6.1,
    coarse_step=0.1,
    coarse_row=0.08,
    coarse_prefill_row=7.6,
    fine_row=34.0,
    codec_row=4.0,
    codec_frame=0.3,
)
_SMALL_CPU_TIMES = StepTimes(
    semantic_step=5.5,
    semantic_row=1.6,
    semantic_prefill_row=160.0,
    coarse_step=5.0,
    coarse_row=2.6,
    coarse_prefill_row=456.0,
    fine_row=3250.0,
    codec_row=15.0,
    codec_frame=0.93,
)


MACHINES: dict[str, Machine] = {
    "h100-large": Machine(LARGE, _LARGE_TIMES),
    "h100-small": Machine(SMALL, _SMALL_TIMES),
    "builtin-cpu": Machine(read_config(BUILTIN_MODEL / "config.json"), _BUILTIN_TIMES, max_fine_rows=1),
    "small-cpu": Machine(SMALL, _SMALL_CPU_TIMES, max_fine_rows=1),
}
"""The known machines: the H100 is estimated, the CPUs are what `stages.py` measured on two virtual AMD EPYC cores."""


def times_of(rows: Sequence[dict[str, Any]]) -> StepTimes:
    """Return the step times of the rows that `stages.py` wrote; decode steps are split into parts by least squares."""

    def named(prefix: str) -> list[dict[str, Any]]:
        found = [row for row in rows if row["step"].startswith(prefix)]
        if not found:
            raise ValueError(f"no step is named {prefix!r} here: is this a result of benchmarks.stages?")
        return found

    def decode(stage: str) -> tuple[float, float]:
        steps = named(f"{stage} decode")
        per_row, fixed = np.polyfit([step["rows"] for step in steps], [step["ms"] for step in steps], 1)
        return max(0.0, float(fixed)), max(0.0, float(per_row))

    semantic_step, semantic_row = decode("semantic")
    coarse_step, coarse_row = decode("coarse")
    short, long = (named(f"codec, {frames} ")[0]["ms"] for frames in (CODEC_SHORT_FRAMES, CODEC_LONG_FRAMES))
    codec_frame = max(0.0, (long - short) / (CODEC_LONG_FRAMES - CODEC_SHORT_FRAMES))
    return StepTimes(
        semantic_step=semantic_step,
        semantic_row=semantic_row,
        semantic_prefill_row=named("semantic prefill")[0]["ms"],
        coarse_step=coarse_step,
        coarse_row=coarse_row,
        coarse_prefill_row=named("coarse prefill")[0]["ms"],
        fine_row=named("fine chunk")[0]["ms"],
        codec_row=max(0.0, short - codec_frame * CODEC_SHORT_FRAMES),
        codec_frame=codec_frame,
    )


@dataclass
class Clock:
    """A clock that moves only when a stage spends time, or when nothing is to be done."""

    now_s: float = 0.0
    busy_s: float = 0.0

    def spend(self, milliseconds: float) -> None:
        self.now_s += milliseconds / 1000
        self.busy_s += milliseconds / 1000


class Sentence:
    """The progress of a sentence in numbers; the engine's `Work`. `index`: its place in its utterance."""

    def __init__(
        self, config: ModelConfig, windows: CoarseWindows, num_semantic_in_all: int, index: int
    ) -> None:
        self.config = config
        self.windows = windows
        self.num_semantic_in_all = num_semantic_in_all
        self.num_coarse_in_all = windows.num_steps(num_semantic_in_all)
        self.num_frames_in_all = self.num_coarse_in_all // config.coarse.num_codebooks
        self.index = index
        self.num_semantic = self.num_coarse = self.num_fine = self.num_decoded = self.num_taken = 0
        self.slot = -1
        self.failure: StreamerError | None = None
        self.is_truncated = False
        self.next_border = next_border(self)

    @property
    def is_finished(self) -> bool:
        return self.num_decoded == self.num_frames_in_all

    def take_audio(self) -> Samples:
        new, self.num_taken = self.num_decoded - self.num_taken, self.num_decoded
        return np.zeros(round(new * SAMPLE_RATE_HZ / self.config.codec.frame_rate_hz), np.float32)


def next_border(work: Sentence) -> int:
    """Return how many frames the fine stage's next step finishes; it waits for these, or for the sentence's end."""
    fine = work.config.fine
    if fine.is_whole:
        return whole_window(work.num_fine, work.num_frames_in_all, fine.history, fine).num_final
    is_known = work.num_semantic == work.num_semantic_in_all
    return chunk_end(work.num_fine, work.num_frames_in_all if is_known else None, work.index, fine)


class _Simulated:
    """The base of the simulated stages: beginning is free, and a step costs what the machine's times say."""

    runs_beside = False
    step_beside = None
    step_here = None
    is_joined = False
    preparation = None

    def __init__(self, machine: Machine, clock: Clock, max_rows: int) -> None:
        self.max_rows = max_rows
        self.num_steps = self.num_rows = 0
        self._config = machine.config
        self._times = machine.times
        self._clock = clock

    def begin(self, work: Sentence) -> None:
        """Return at once: there is nothing to clear."""

    def _spend_causal(self, num_fresh: int, num_rows: int, prefill: float, step: float, row: float) -> None:
        """Spend the time of a step in which some rows are prefilled and the others decode one token."""
        num_running = num_rows - num_fresh
        decode = step + num_running * row if num_running else 0.0
        self._spend(num_fresh * prefill + decode, num_rows)

    def _spend(self, milliseconds: float, num_rows: int) -> None:
        self.num_steps += 1
        self.num_rows += num_rows
        self._clock.spend(self._times.tick + milliseconds)


class Semantic(_Simulated):
    name = "semantic"

    def is_prefill(self, work: Sentence) -> bool:
        return work.num_semantic == 0

    def is_ready(self, work: Sentence) -> bool:
        return work.num_semantic < work.num_semantic_in_all

    def step(self, batch: Sequence[Sentence]) -> None:
        fresh = sum(work.num_semantic == 0 for work in batch)
        times = self._times
        self._spend_causal(
            fresh, len(batch), times.semantic_prefill_row, times.semantic_step, times.semantic_row
        )
        for work in batch:
            work.num_semantic += 1


class Coarse(_Simulated):
    name = "coarse"

    def is_prefill(self, work: Sentence) -> bool:
        return work.num_coarse % self._config.coarse.window == 0

    def is_ready(self, work: Sentence) -> bool:
        if work.num_coarse >= work.num_coarse_in_all:
            return False
        if work.num_coarse % self._config.coarse.window:
            return work.num_coarse < work.windows.num_steps(work.num_semantic)
        if work.num_semantic == work.num_semantic_in_all:
            return True
        history = work.windows.max_semantic_history
        return work.num_semantic >= work.windows.tokens_needed(work.num_coarse, history)

    def step(self, batch: Sequence[Sentence]) -> None:
        fresh = sum(work.num_coarse % self._config.coarse.window == 0 for work in batch)
        times = self._times
        self._spend_causal(fresh, len(batch), times.coarse_prefill_row, times.coarse_step, times.coarse_row)
        for work in batch:
            work.num_coarse += 1


class Fine(_Simulated):
    name = "fine"

    def is_prefill(self, _: Sentence) -> bool:
        return True

    def is_ready(self, work: Sentence) -> bool:
        frames = work.num_coarse // self._config.coarse.num_codebooks
        if work.num_coarse == work.num_coarse_in_all:
            return frames > work.num_fine
        return not self._config.fine.is_whole and frames >= work.next_border

    def step(self, batch: Sequence[Sentence]) -> None:
        self._spend(self._times.fine_step + len(batch) * self._times.fine_row, len(batch))
        for work in batch:
            work.num_fine = min(work.next_border, work.num_frames_in_all)
            work.next_border = next_border(work)


class Codec(_Simulated):
    name = "codec"

    def is_prefill(self, _: Sentence) -> bool:
        return False

    def is_ready(self, work: Sentence) -> bool:
        return work.num_decoded < work.num_fine

    def step(self, batch: Sequence[Sentence]) -> None:
        num_frames = sum(work.num_fine - work.num_decoded for work in batch)
        times = self._times
        self._spend(
            times.codec_step + len(batch) * times.codec_row + num_frames * times.codec_frame, len(batch)
        )
        for work in batch:
            work.num_decoded = work.num_fine
