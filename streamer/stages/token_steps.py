"""Steps of a causal model for the semantic and the coarse stage: one token a row, drawn and kept on the device.

The token that a step draws is the next step's input without ever leaving the device; the host reads it, and
whether it was an end, when it arrives there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from streamer.engine.device.cuda_graphs import GraphedStep, Recorder, StepShape, row_counts
from streamer.engine.device.sampler import NO_TOP_K, NO_TOP_P, Sampling, sample
from streamer.engine.device.transfer import upload
from streamer.models.gpt import CausalGpt
from streamer.models.kv_cache import KvCache
from streamer.sampling import SamplingParams

if TYPE_CHECKING:
    from streamer.engine.device.numba_sampler import StepDraw

NEVER_LIKELY = 2.0
"""No probability is as large."""
LENGTH_STEP = 128
"""Recorded steps attend over a multiple of so many positions."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Among which outputs a token is drawn: `count` from `first` on, and `count` further at each next step.

    After `num_turns` steps it is the first ones' turn again. `end`: the token that ends a sentence, if any.
    """

    first: int
    count: int
    num_turns: int = 1
    end: int = -1


class TokenSteps:
    """The steps of `model`, whose state is `cache` and a row of each tensor here per slot.

    What a step returns, [rows, 3], is each row's token, whether it is the end or the end was likely enough, and
    whether the row's outputs were finite.

    With a `record`er, decode steps can be recorded; then the cache's last slot must belong to nobody.
    """

    def __init__(
        self, model: CausalGpt, cache: KvCache, choice: Choice, *, record: Recorder | None = None
    ) -> None:
        self.device = next(model.parameters()).device
        self._model = model
        self._cache = cache
        self._choice = choice

        def per_slot(dtype: torch.dtype) -> Tensor:
            return torch.zeros(cache.num_slots, dtype=dtype, device=self.device)

        self._last_tokens, self._keys = per_slot(torch.long), per_slot(torch.long)
        self._temperatures, self._top_k = per_slot(torch.float32), per_slot(torch.long)
        self._top_p, self._min_end = per_slot(torch.float32), per_slot(torch.float32)
        self._turns = torch.arange(choice.count, device=self.device)
        self._draw_on_host: StepDraw | None = None
        if self.device.type == "cpu":
            # Here, because who has a GPU need not load a compiler.
            from streamer.engine.device.numba_sampler import StepDraw

            state = (self._last_tokens, self._keys, self._temperatures, self._min_end)
            self._draw_on_host = StepDraw(*state, **asdict(choice))
        self._spoiled: set[int] = set()
        self._graphed: GraphedStep | None = None
        if record is not None:
            padding = upload([cache.num_slots - 1, 0, 0], self.device)
            self._graphed = GraphedStep(self._decode, padding, record)

    def begin(self, slot: int, key: int, temperature: float, params: SamplingParams) -> None:
        """A new sentence in `slot`, whose noise has `key`."""
        if slot in self._spoiled:
            self._cache.clear(upload([slot], self.device))
            self._spoiled.remove(slot)
        self._keys[slot] = key
        self._temperatures[slot] = temperature
        self._top_k[slot] = NO_TOP_K if params.top_k is None else params.top_k
        self._top_p[slot] = NO_TOP_P if params.top_p is None else params.top_p
        self._min_end[slot] = NEVER_LIKELY if params.min_eos_p is None else params.min_eos_p

    def prefill(
        self, embeddings: Tensor, places: Sequence[tuple[int, int]], params: Sequence[SamplingParams]
    ) -> Tensor:
        """Fill the slots with `embeddings` [rows, length, width] and draw each row's next token.

        `places`: slot and step (counted within the sentence) of each row.
        """
        slots, steps = upload(places, self.device).unbind(1)
        logits = self._model.prefill(embeddings, self._cache, slots)
        return self._draw(logits, slots, steps, is_filtered=any(map(_is_filtered, params)))

    def decode(self, places: Sequence[tuple[int, int, int]], params: Sequence[SamplingParams]) -> Tensor:
        """Feed each row the token drawn last and draw its next; to be read before the next call.

        `places`: slot, cache position and step of each row; slots in rising order are read in place.
        """
        step = self._graphed or self._decode
        rows = upload(places, self.device)
        length = 1 + max(position for _, position, _ in places)
        return step(rows, length=length, is_filtered=any(map(_is_filtered, params)))

    def num_shapes(self, max_rows: int, min_length: int) -> int:
        """How many steps `record` would record."""
        return len(self._shapes(max_rows, min_length)) if self._graphed else 0

    def record(self, max_rows: int, min_length: int, on_recorded: Callable[[], None]) -> None:
        """Record the steps of up to `max_rows` rows that attend over `min_length` positions or more."""
        if self._graphed is not None:
            self._graphed.record(self._shapes(max_rows, min_length), on_recorded)

    def mark_poisoned(self, slot: int) -> None:
        """The slot's state may hold what is not a number, which not even a mask hides: clear it before reuse."""
        self._spoiled.add(slot)

    def _shapes(self, max_rows: int, min_length: int) -> list[StepShape]:
        block = self._cache.block_size
        lengths = [*range(-(-min_length // LENGTH_STEP) * LENGTH_STEP, block, LENGTH_STEP), block]
        # Filters are rare, so one length has to do for them.
        return [
            *(StepShape(count, length) for count in row_counts(max_rows) for length in lengths),
            *(StepShape(count, block, is_filtered=True) for count in row_counts(max_rows)),
        ]

    def _decode(self, rows: Tensor, *, length: int, is_filtered: bool) -> Tensor:
        slots, positions, steps = rows.unbind(1)
        logits = self._model.decode(self._last_tokens[slots], positions, self._cache, slots, length=length)
        return self._draw(logits, slots, steps, is_filtered=is_filtered)

    def _draw(self, logits: Tensor, slots: Tensor, steps: Tensor, *, is_filtered: bool) -> Tensor:
        if self._draw_on_host is not None and not is_filtered:
            return self._draw_on_host(logits, slots, steps)
        choice = self._choice
        firsts = choice.first + steps % choice.num_turns * choice.count
        if choice.num_turns == 1:
            logits = logits[:, choice.first : choice.first + choice.count]
        else:
            logits = logits.gather(1, firsts[:, None] + self._turns)
        sampling = Sampling(
            self._keys[slots], steps, self._temperatures[slots], self._top_k[slots], self._top_p[slots]
        )
        draw = sample(logits, sampling, is_filtered=is_filtered, end=choice.end)
        tokens = firsts + draw.tokens
        self._last_tokens[slots] = tokens
        is_end = torch.zeros_like(draw.is_finite)
        if choice.end >= 0:
            is_end = (draw.tokens == choice.end) | (draw.end_probabilities >= self._min_end[slots])
        return torch.stack([tokens, is_end.long(), draw.is_finite.long()], dim=1)


def _is_filtered(params: SamplingParams) -> bool:
    return params.top_k is not None or params.top_p is not None
