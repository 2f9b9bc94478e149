"""What the steps of a stage cost, learnt from the steps that were run; pure Python."""

from __future__ import annotations

import math

from streamer.engine.online_line import OUTLIER_FACTOR, OnlineLine

EMA_WEIGHT = 0.05
"""Weight of a new step in the moving averages."""
FIRST_ROW_SHARE = 0.25
"""The part of a first step's duration that is attributed to its rows, before steps of other sizes were seen."""
MIN_STEP_S = 0.0001
"""The shortest duration that is expected of a step; if zero were expected, no longer one could be learnt."""


class StepCosts:
    """Learns the duration of one stage's steps as a function of their rows. Times in seconds.

        duration = fixed_s + decode_row_s * num_decodes + prefill_row_s * num_prefills

    Steps without prefills give the first two terms by regression; the time that these do not explain in the other
    steps is attributed to the prefills. A cost is infinite until such a row was seen.
    """

    def __init__(self) -> None:
        self.prefill_row_s = math.inf
        self._decodes = OnlineLine(ema_weight=EMA_WEIGHT, first_slope_share=FIRST_ROW_SHARE)

    @property
    def fixed_s(self) -> float:
        """The time of a step that does not depend on its rows."""
        return self._decodes.intercept

    @property
    def decode_row_s(self) -> float:
        """The time that each row adds which is not a prefill."""
        return self._decodes.slope if self._decodes.is_known else math.inf

    def observe(self, num_decodes: int, num_prefills: int, duration_s: float) -> None:
        """Learn from a step that was run."""
        decodes_s = num_decodes * self.decode_row_s if num_decodes else 0.0
        prefills_s = num_prefills * self.prefill_row_s if num_prefills else 0.0
        duration_s = min(duration_s, OUTLIER_FACTOR * max(MIN_STEP_S, self.fixed_s + decodes_s + prefills_s))
        if not num_prefills:
            self._decodes.add(num_decodes, duration_s)
        elif decodes_s < math.inf:
            fixed_s = self.fixed_s if num_decodes else 0.0
            self._learn_prefill(max(0.0, duration_s - fixed_s - decodes_s) / num_prefills, num_decodes)

    def _learn_prefill(self, row_s: float, num_decodes: int) -> None:
        # A step is never fast by accident: if this one was much faster, what was learnt before was an outlier.
        was_outlier = num_decodes == 0 and OUTLIER_FACTOR * row_s < self.prefill_row_s
        if self.prefill_row_s == math.inf or was_outlier:
            self.prefill_row_s = row_s
        else:
            self.prefill_row_s += EMA_WEIGHT * (row_s - self.prefill_row_s)
