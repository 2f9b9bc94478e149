"""How long the engine's steps take, counted per stage: its thread writes, any other thread reads."""

from __future__ import annotations

from bisect import bisect_left

from streamer.synthesis import STEP_BORDERS_S, StageStats


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
            name: StageStats(tuple(counts), self._seconds[name], self._rows[name])
            for name, counts in self._counts.items()
        }
