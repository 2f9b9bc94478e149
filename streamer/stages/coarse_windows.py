"""The coarse stage's windows in pure numbers: what each reads, and when all it will read exists.

After `generate_coarse` of suno-ai/bark (`bark/generation.py`). A window makes `window` coarse tokens from a
fresh prefill of `semantic_context` semantic tokens, the infer token, and the last coarse tokens. Its
semantic slice ends a bounded number of tokens ahead, so it need not wait for the sentence's end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from streamer.models.config import ModelConfig
from streamer.sampling import SamplingParams

DROPPED_HISTORY = 2
"""Coarse history tokens cut off at the end: the reference's own alignment hack."""


@dataclass(frozen=True, slots=True)
class CoarseWindows:
    """`ratio` is coarse tokens per semantic token (R); H is the number of semantic history tokens used."""

    semantic_context: int
    max_history: int
    window: int
    num_codebooks: int
    ratio: float

    @classmethod
    def from_config(cls, config: ModelConfig, params: SamplingParams | None = None) -> CoarseWindows:
        """The model's windows, or those that `params` ask for."""
        coarse = config.coarse
        return cls(
            coarse.semantic_context,
            (params and params.max_coarse_history) or coarse.max_history,
            (params and params.sliding_window_len) or coarse.window,
            coarse.num_codebooks,
            config.coarse_per_semantic,
        )

    @property
    def max_semantic_history(self) -> int:
        """M: semantic tokens a window looks back on."""
        return math.floor(self.max_history / self.ratio)

    def history_lengths(self, num_semantic: int, num_coarse: int) -> tuple[int, int]:
        """(H, coarse tokens used before `DROPPED_HISTORY` are cut) of a voice; coarse counted flat."""
        num_semantic_used = min(
            self.max_semantic_history,
            num_semantic - num_semantic % 2,
            math.floor(num_coarse / self.ratio),
        )
        return num_semantic_used, round(num_semantic_used * self.ratio)

    def first_semantic(self, first_step: int) -> int:
        """N_k: the generated semantic token that coarse step `first_step` of a window belongs to."""
        return round(first_step / self.ratio)

    def semantic_start(self, first_step: int, num_history: int) -> int:
        """Where the window's slice of (history + generated) semantic tokens begins."""
        return max(0, num_history + self.first_semantic(first_step) - self.max_semantic_history)

    def tokens_needed(self, first_step: int, num_history: int) -> int:
        """Generated semantic tokens that fill the slice; with fewer only the sentence's end completes it."""
        return self.semantic_start(first_step, num_history) + self.semantic_context - num_history

    def num_steps(self, num_semantic: int) -> int:
        """Coarse tokens that `num_semantic` generated semantic tokens become: whole frames only."""
        return math.floor(num_semantic * self.ratio / self.num_codebooks) * self.num_codebooks
