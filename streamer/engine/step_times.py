"""How long the engine's steps take, counted by stage: written by its thread, read by any other."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from streamer.synthesis import StageStats

STEP_BORDERS_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Steps are counted by their duration in buckets with these upper ends; one more bucket holds longer steps."""


class StepTimes:
    """Counts of steps by duration, and sums of durations and rows, for each of a fixed set of stages."""

    def __init__(self, stages: tuple[str, ...]) -> None:
        self._counts = {name: [0] * (len(STEP_BORDERS_S) + 1) for name in stages}
        self._seconds = dict.fromkeys(stages, 0.0)
        self._rows = dict.fromkeys(stages, 0)

    def add(self, stage: str, duration_s: float, num_rows: int) -> None:
        self._counts[stage][bisect_left(STEP_BORDERS_S, duration_s)] += 1
        self._seconds[stage] += duration_s
        self._rows[stage] += num_rows

    def figures(self) -> dict[str, StageStats]:
        """As they are now; a step that ends meanwhile may be in some of them only."""
        return {
            name: StageStats(STEP_BORDERS_S, tuple(counts), self._seconds[name], self._rows[name])
            for name, counts in self._counts.items()
        }
