"""How long the engine's steps take, counted per stage: its thread writes, any other thread reads."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from streamer.synthesis import StageStats

STEP_BORDERS_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Steps are counted by their duration in buckets with these upper ends; one more bucket holds longer steps."""


class StepTimes:
    """Histograms of step durations, with sums of durations and rows, for a fixed set of stages."""

    def __init__(self, stages: tuple[str, ...]) -> None:
        self._counts = {name: [0] * (len(STEP_BORDERS_S) + 1) for name in stages}
        self._seconds = dict.fromkeys(stages, 0.0)
        self._rows = dict.fromkeys(stages, 0)

    def add(self, stage: str, duration_s: float, num_rows: int) -> None:
        """Count one step."""
        self._counts[stage][bisect_left(STEP_BORDERS_S, duration_s)] += 1
        self._seconds[stage] += duration_s
        self._rows[stage] += num_rows

    def stats(self) -> dict[str, StageStats]:
        """The present values; a step that ends meanwhile may be in only some of them."""
        return {
            name: StageStats(STEP_BORDERS_S, tuple(counts), self._seconds[name], self._rows[name])
            for name, counts in self._counts.items()
        }
