"""The steps of a causal model, each of which draws one token per row; `token_stage` takes them for its works.

The token that a step draws is the next step's input without leaving the device. The host learns it, and whether it
was an end, when it arrives there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from streamer.engine.device.automaton import Automata
from streamer.engine.device.cuda_graphs import GraphedStep, Recorder, StepShape, row_counts
from streamer.engine.device.sampler import NO_TOP_K, NO_TOP_P, Sampling, sample
from streamer.engine.device.transfer import upload
from streamer.models.gpt import CausalGpt
from streamer.models.kv_cache import SlotCache
from streamer.sampling import SamplingParams

if TYPE_CHECKING:
    from streamer.engine.device.numba_sampler import StepDraw

NEVER_LIKELY = 2.0
"""The `min_eos_p` of a row without one: larger than any probability."""
LENGTH_STEP = 128
"""Recorded steps attend over a multiple of this number of positions."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The outputs among which a token is drawn.

    They are `count` outputs that begin at `first` and move on by `count` at each step, until they return to `first`
    after `num_turns` steps. `end` is the token that ends a sentence, or -1.
    """

    first: int
    count: int
    num_turns: int = 1
    end: int = -1


class TokenSteps:
    """The steps of `model`, whose state per slot is a row of `cache` and of each tensor here.

    A step returns int64 [rows, 3]: each row's token, whether the sentence ends there (its end was drawn, or was likely
    enough), and whether the row's outputs were finite.

    If `record` is given, decode steps can be recorded; the cache's last slot must then be unused. If `automata` are
    given, of as many slots, what is drawn is kept to them.
    """

    def __init__(
        self,
        model: CausalGpt,
        cache: SlotCache,
        choice: Choice,
        *,
        record: Recorder | None = None,
        automata: Automata | None = None,
    ) -> None:
        self.device = next(model.parameters()).device
        self._model = model
        self._cache = cache
        self._choice = choice
        self._automata = automata

        def per_slot(dtype: torch.dtype) -> Tensor:
            return torch.zeros(cache.num_slots, dtype=dtype, device=self.device)

        self._last_tokens, self._keys = per_slot(torch.long), per_slot(torch.long)
        self._temperatures, self._top_k = per_slot(torch.float32), per_slot(torch.long)
        self._top_p, self._min_end = per_slot(torch.float32), per_slot(torch.float32)
        self._turns = torch.arange(choice.count, device=self.device)
        self._draw_on_host: StepDraw | None = None
        self._draw_in_a_row: Callable[[Tensor, int], Tensor] | None = None
        self._prefill_and_draw: Callable[[Tensor, int, tuple[int, int]], Tensor] | None = None
        if self.device.type == "cpu":
            # Imported here, because a process with a GPU need not load a compiler.
            from streamer.engine.device.numba_sampler import StepDraw, draw
            from streamer.engine.device.numba_steps import draw_in_a_row, prefill_and_draw
            from streamer.models.cpu.compiled_layers import CompiledLayers
            from streamer.models.cpu.int8_gpt import Int8DecodeStep

            state = (self._last_tokens, self._keys, self._temperatures, self._min_end)
            self._draw_on_host = StepDraw(*state, **asdict(choice), automata=automata)
            zero = torch.zeros(1, dtype=torch.long)
            draw(torch.zeros(1, 2), zero, zero, torch.ones(1), choice.end)  # What rows with a filter call.
            step = model.decode_step
            if isinstance(step, Int8DecodeStep) and step.steps_at_once > 1:
                self._draw_in_a_row = partial(draw_in_a_row, step, cache, self._draw_on_host)
                no_rows = torch.empty(0, 3, dtype=torch.long)
                self._draw_in_a_row(no_rows, 0)  # It is compiled now, not while a client waits.
                layers = model.transformer.h
                if isinstance(layers, CompiledLayers):
                    self._prefill_and_draw = partial(
                        prefill_and_draw, layers, step, cache, self._draw_on_host
                    )
                    self._prefill_and_draw(torch.zeros(2, model.config.width), 0, (0, 0))
        self._poisoned: set[int] = set()
        self._graphed: GraphedStep | None = None
        if record is not None:
            padding = upload([cache.num_slots - 1, 0, 0], self.device)
            self._graphed = GraphedStep(self._decode, padding, record)

    def begin(self, slot: int, key: int, temperature: float, params: SamplingParams) -> None:
        """Set the parameters of a new sentence in `slot`; `key` is that of its noise."""
        if slot in self._poisoned:
            self._cache.clear(upload([slot], self.device))
            self._poisoned.remove(slot)
        self._keys[slot] = key
        self._temperatures[slot] = temperature
        self._top_k[slot] = NO_TOP_K if params.top_k is None else params.top_k
        self._top_p[slot] = NO_TOP_P if params.top_p is None else params.top_p
        self._min_end[slot] = NEVER_LIKELY if params.min_eos_p is None else params.min_eos_p

    def prefill(
        self,
        embeddings: Tensor,
        places: Sequence[tuple[int, int]],
        params: Sequence[SamplingParams],
        *,
        start: int = 0,
    ) -> Tensor:
        """Fill the slots with `embeddings` [rows, length, width] from position `start` on; draw each row's next token.

        `places` are the slot and the step (counted within the sentence) of each row.
        """
        if self._prefill_and_draw is None:
            return self._prefill(embeddings, places, start, is_filtered=any(map(_is_filtered, params)))
        drawn = []  # Each row by itself, as others must not decide how it is made.
        for row, place, each in zip(embeddings, places, params, strict=True):
            if _is_filtered(each):
                drawn.append(self._prefill(row[None], [place], start, is_filtered=True))
            else:
                drawn.append(self._prefill_and_draw(row, start, place))
        return torch.cat(drawn)

    @property
    def prefills_at_once(self) -> bool:
        """Whether a row's prefill and its draw are one compiled function, unless the row has a filter."""
        return self._prefill_and_draw is not None

    def decode(
        self, places: Sequence[tuple[int, int, int]], params: Sequence[SamplingParams], num_steps: int = 1
    ) -> list[Tensor]:
        """Feed each row the token drawn last and draw its next one, `num_steps` times; returns what the steps drew.

        The rows are those of the first step, then those of the next one. `places` are the slot, the cache position and
        the step of each row; slots in rising order are read in place.
        A recorded step, of which there is one at a time, overwrites what the last one drew.
        """
        assert num_steps == 1 or self._graphed is None
        step = self._graphed or self._decode
        rows = upload(places, self.device)
        is_filtered = any(map(_is_filtered, params))
        if self._draw_in_a_row is not None and not is_filtered:
            return [self._draw_in_a_row(rows, num_steps)]
        length = 1 + max(position for _, position, _ in places)
        drawn = [step(rows, length=length, is_filtered=is_filtered)]
        for number in range(1, num_steps):
            rows[:, 1:] += 1
            drawn.append(step(rows, length=length + number, is_filtered=is_filtered))
        return drawn

    def num_shapes(self, max_rows: int, min_length: int) -> int:
        """The number of steps that `record` would record."""
        return len(self._shapes(max_rows, min_length)) if self._graphed else 0

    def record(self, max_rows: int, min_length: int, on_recorded: Callable[[], None]) -> None:
        """Record the decode steps of up to `max_rows` rows that attend over at least `min_length` positions."""
        if self._graphed is not None:
            self._graphed.record(self._shapes(max_rows, min_length), on_recorded)

    def mark_poisoned(self, slot: int) -> None:
        """Have the slot cleared before its reuse: its state may contain NaN, which not even a mask hides."""
        self._poisoned.add(slot)

    def _shapes(self, max_rows: int, min_length: int) -> list[StepShape]:
        block = self._cache.block_size
        lengths = [*range(-(-min_length // LENGTH_STEP) * LENGTH_STEP, block, LENGTH_STEP), block]
        # Filters are rare, so one length serves them.
        return [
            *(StepShape(count, length) for count in row_counts(max_rows) for length in lengths),
            *(StepShape(count, block, is_filtered=True) for count in row_counts(max_rows)),
        ]

    def _prefill(
        self, embeddings: Tensor, places: Sequence[tuple[int, int]], start: int, *, is_filtered: bool
    ) -> Tensor:
        slots, steps = upload(places, self.device).unbind(1)
        logits = self._model.prefill(embeddings, self._cache, slots, start=start)
        return self._draw(logits, slots, steps, is_filtered=is_filtered)

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
        # Before a mask hides what is not finite.
        is_finite = None if self._automata is None else torch.isfinite(logits).all(dim=-1)
        if self._automata is not None:
            logits = self._automata.masked(logits, slots)
        draw = sample(logits, sampling, is_filtered=is_filtered, end=choice.end)
        if self._automata is not None:
            self._automata.advance(slots, draw.tokens)
        tokens = firsts + draw.tokens
        self._last_tokens[slots] = tokens
        is_finite = draw.is_finite if is_finite is None else is_finite
        is_end = torch.zeros_like(is_finite)
        if choice.end >= 0:
            is_end = (draw.tokens == choice.end) | (draw.end_probabilities >= self._min_end[slots])
        return torch.stack([tokens, is_end.long(), is_finite.long()], dim=1)


def _is_filtered(params: SamplingParams) -> bool:
    return params.top_k is not None or params.top_p is not None
