"""What a stage's steps cost by their rows, learnt from the steps that were made; pure Python."""

from __future__ import annotations

import math

MEMORY = 0.05
"""Weight of a new step in what is remembered."""
STIFFNESS = 0.02
"""How firmly a light row's cost is held while all steps have the same number of rows and say nothing about it."""
FIRST_ROW_SHARE = 0.25
"""Of a step's cost, the part taken to be the row's own before steps of other sizes were seen."""
HICCUP = 4.0
"""A step counts as at most so many times slower than expected: something else held it up."""
LEAST_S = 0.0001
"""Faster than this no step is expected to be, or nothing could ever be unlearnt."""


class StepCosts:
    """Of one stage: a step takes `fixed_s + decode_row_s * light rows + prefill_row_s * heavy rows`. Times in seconds.

    Light rows are fitted by weighted regression; what they do not explain is the heavy rows'. Infinite: no such row
    was seen yet.
    """

    def __init__(self) -> None:
        self.decode_row_s = self.prefill_row_s = math.inf
        self.fixed_s = 0.0
        # Weighted means of light rows, of durations, and of their products, over steps without heavy rows.
        self._rows = self._seconds = self._rows_squared = self._rows_seconds = 0.0

    def observe(self, num_light: int, num_prefills: int, duration_s: float) -> None:
        """A step was made."""
        decode_row_s = self._expected_s(num_light, self.decode_row_s)
        prefill_row_s = self._expected_s(num_prefills, self.prefill_row_s)
        duration_s = min(duration_s, HICCUP * max(LEAST_S, self.fixed_s + decode_row_s + prefill_row_s))
        if not num_prefills:
            self._fit(num_light, duration_s)
        elif decode_row_s < math.inf:
            fixed_s = self.fixed_s if num_light else 0.0
            row_s = max(0.0, duration_s - fixed_s - decode_row_s) / num_prefills
            # No step is quick by accident: where one is much quicker, what was remembered was a hiccup.
            was_hiccup = num_light == 0 and HICCUP * row_s < self.prefill_row_s
            is_first = self.prefill_row_s == math.inf
            self.prefill_row_s = (
                row_s
                if is_first or was_hiccup
                else self.prefill_row_s + MEMORY * (row_s - self.prefill_row_s)
            )

    @staticmethod
    def _expected_s(num_rows: int, row_s: float) -> float:
        return num_rows * row_s if num_rows else 0.0

    def _fit(self, rows: int, seconds: float) -> None:
        is_first = self.decode_row_s == math.inf
        weight = 1.0 if is_first else MEMORY
        if is_first:
            self.decode_row_s = FIRST_ROW_SHARE * seconds / rows
        self._rows += weight * (rows - self._rows)
        self._seconds += weight * (seconds - self._seconds)
        self._rows_squared += weight * (rows * rows - self._rows_squared)
        self._rows_seconds += weight * (rows * seconds - self._rows_seconds)
        variance = max(0.0, self._rows_squared - self._rows**2)
        covariance = self._rows_seconds - self._rows * self._seconds
        slope = (covariance + STIFFNESS * self.decode_row_s) / (variance + STIFFNESS)
        self.decode_row_s = min(max(0.0, slope), self._seconds / self._rows)
        self.fixed_s = self._seconds - self.decode_row_s * self._rows
