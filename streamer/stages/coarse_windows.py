"""The arithmetic of the coarse stage's windows: what each of them reads, and when all of that exists.

It follows `generate_coarse` of suno-ai/bark (`bark/generation.py`). A window makes `window` coarse tokens from a new
prefill of `semantic_context` semantic tokens, the infer token and the last coarse tokens. Its semantic slice ends a
bounded number of tokens ahead, so that a window need not wait for the end of the sentence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from streamer.models.config import ModelConfig
from streamer.sampling import SamplingParams


@dataclass(frozen=True, slots=True)
class CoarseWindows:
    """The sizes of a sentence's windows; `ratio` is the number of coarse tokens per semantic token (R).

    H below is the number of semantic tokens that are used of the voice's history.
    """

    semantic_context: int
    max_history: int
    window: int
    num_codebooks: int
    ratio: float

    @classmethod
    def from_config(cls, config: ModelConfig, params: SamplingParams | None = None) -> CoarseWindows:
        """Return the model's windows, with the sizes that `params` set."""
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
        """M: the semantic tokens before its start that a window reads."""
        return math.floor(self.max_history / self.ratio)

    @property
    def num_frames_ahead(self) -> int:
        """The frames behind that of the last coarse token which the sentence has at least, unless its end is known."""
        # N_k may have been rounded down, so that there is one token less.
        num_semantic = self.semantic_context - self.max_semantic_history - 1
        return math.floor((num_semantic * self.ratio - self.window) / self.num_codebooks)

    def history_lengths(self, num_semantic: int, num_coarse: int) -> tuple[int, int]:
        """Return H and the flat coarse tokens that are used of a voice, before `dropped_history` are cut."""
        num_semantic_used = min(
            self.max_semantic_history,
            num_semantic - num_semantic % 2,
            math.floor(num_coarse / self.ratio),
        )
        return num_semantic_used, round(num_semantic_used * self.ratio)

    def first_semantic(self, first_step: int) -> int:
        """Return N_k: the generated semantic token that a window's first coarse step belongs to."""
        return round(first_step / self.ratio)

    def semantic_start(self, first_step: int, num_history: int) -> int:
        """Return where the window's slice begins in the history followed by the generated semantic tokens."""
        return max(0, num_history + self.first_semantic(first_step) - self.max_semantic_history)

    def tokens_needed(self, first_step: int, num_history: int) -> int:
        """Return how many generated semantic tokens fill the slice; with fewer, only the sentence's end does."""
        return self.semantic_start(first_step, num_history) + self.semantic_context - num_history

    def num_steps(self, num_semantic: int) -> int:
        """Return the number of coarse tokens for `num_semantic` generated semantic tokens: whole frames only."""
        return math.floor(num_semantic * self.ratio / self.num_codebooks) * self.num_codebooks
