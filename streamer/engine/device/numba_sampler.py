"""Sampling on a CPU as one compiled function, because dispatching torch's operations costs more than their arithmetic.

The noise equals `noise.exponential`'s and the draw equals `sampler.sample_plainly`'s, up to the last bit of a
logarithm.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from streamer.compilation import compiled
from streamer.engine.device.automaton import FORBIDDEN, Automata
from streamer.engine.device.noise import GAMMA, MULTIPLIERS, SHIFTS, UNIFORM_BITS
from streamer.models.cpu.llvm_intrinsics import as_bits
from streamer.models.cpu.numba_math import exp, largest_of

_GAMMA = np.uint64(GAMMA)
_FIRST, _SECOND = (np.uint64(multiplier) for multiplier in MULTIPLIERS)
_SHIFT_1, _SHIFT_2, _SHIFT_3 = (np.uint64(shift) for shift in SHIFTS)
_DROPPED_BITS = np.uint64(64 - UNIFORM_BITS)
_STEP = np.float32(2.0**-UNIFORM_BITS)
_HALF_STEP = np.float32(2.0 ** -(UNIFORM_BITS + 1))
_LARGEST_LEAD = np.float32(UNIFORM_BITS + 1) * np.float32(np.log(2))
"""The upper bound of minus the logarithm of the noise: what a token's noise can add to its score."""

_FORBIDDEN = np.float32(FORBIDDEN)

_INFINITY_BITS, _MAGNITUDE_BITS = np.uint32(0x7F80_0000), np.uint32(0x7FFF_FFFF)
"""The bits of a float32's infinity, and all of its bits but the sign."""
_MARGIN = np.float32(1.001)
"""By what factor the bound is raised, far more than errors of rounding need."""

_kernel = compiled()
_fast_kernel = compiled(fastmath={"reassoc", "contract", "nsz"})


def draw(
    logits: Tensor, keys: Tensor, steps: Tensor, temperatures: Tensor, end: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the tokens, the probabilities of `end`, and which rows were finite, [rows] each.

    `logits` float32 [rows, vocab]; minus infinity is never drawn. `keys`, `steps` and `temperatures` are those of
    `sampler.Sampling`. Of another layout numbers are copied, because numba would compile once more for it.
    """
    rows = len(logits)
    tokens = np.empty(rows, np.int64)
    end_probabilities = np.empty(rows, np.float32)
    is_finite = np.empty(rows, np.bool_)
    _draw(
        logits.contiguous().numpy(),
        keys.contiguous().numpy().view(np.uint64),
        steps.contiguous().numpy().view(np.uint64),
        temperatures.contiguous().numpy(),
        end,
        tokens,
        end_probabilities,
        is_finite,
    )
    return torch.from_numpy(tokens), torch.from_numpy(end_probabilities), torch.from_numpy(is_finite)


class StepDraw:
    """Draws the tokens of a step for rows whose parameters `token_steps` keeps per slot.

    `last_tokens` and `keys` (int64), `temperatures` and `min_end` (float32), [slots] each, are read at every call,
    and the drawn tokens are written to `last_tokens`. A row chooses among `count` outputs, which begin at `first` and
    move on by `count` at each step until they return to `first` after `num_turns` steps. `end` is the output that
    ends a sentence, or -1. With `automata`, whose states are read and moved at every call, `num_turns` must be 1.
    """

    def __init__(
        self,
        last_tokens: Tensor,
        keys: Tensor,
        temperatures: Tensor,
        min_end: Tensor,
        *,
        first: int,
        count: int,
        num_turns: int,
        end: int,
        automata: Automata | None = None,
    ) -> None:
        self.state = (
            last_tokens.numpy(),
            keys.numpy().view(np.uint64),
            temperatures.numpy(),
            min_end.numpy(),
        )
        self.choice = (first, count, num_turns, end)
        # Without automata these are those of no slot, so that one compiled function serves both.
        automata = automata or Automata(0, 1, torch.zeros(1, dtype=torch.long))
        parts = (
            automata.class_of_output,
            automata.successors,
            automata.limits,
            automata.states,
            automata.held,
        )
        self.automata_state: tuple[npt.NDArray[Any], ...] = tuple(part.numpy() for part in parts)

    def __call__(self, logits: Tensor, slots: Tensor, steps: Tensor) -> Tensor:
        """Draw from float32 `logits` [rows, vocab] without filters.

        Returns int64 [rows, 3]: the token, whether it is an end, and whether the row was finite.
        """
        drawn = np.empty((len(logits), 3), np.int64)
        # Contiguous, because numba would compile each layout separately, in the middle of a client's speech.
        rows = (part.contiguous().numpy() for part in (logits, slots, steps))
        draw_steps(*rows, self.choice, self.state, self.automata_state, drawn)
        return torch.from_numpy(drawn)


@_kernel
def _mix(value):
    value = (value ^ (value >> _SHIFT_1)) * _FIRST
    value = (value ^ (value >> _SHIFT_2)) * _SECOND
    return value ^ (value >> _SHIFT_3)


@_kernel
def _uniform(row_state, index):
    bits = _mix(row_state + np.uint64(index + 1) * _GAMMA)
    return np.float32(np.int32(bits >> _DROPPED_BITS)) * _STEP + _HALF_STEP


@_kernel
def _log_noise(row_state, index):
    return np.log(-np.log(_uniform(row_state, index)))


@_fast_kernel
def _find_candidates(values, state, largest, per_temperature, best_score, is_candidate):
    """Find out which values' noise may lift them above `best_score`: nearly all others need no logarithm.

    Minus the logarithm of a uniform number u is at least 1 - u. So where -log(-log(u)) exceeds x, 1 - u is below e^-x.
    """
    for index in range(len(values)):
        lead = best_score - (values[index] - largest) * per_temperature
        highest = exp(-max(lead, np.float32(0))) * _MARGIN
        is_candidate[index] = lead < _LARGEST_LEAD and np.float32(1) - _uniform(state, index) < highest


@_fast_kernel
def _sum_of_powers(values, largest, per_temperature):
    total = np.float32(0)
    for index in range(len(values)):
        total += exp((values[index] - largest) * per_temperature)
    return total


@_fast_kernel
def _best_of(values):
    """Return the index of the largest of `values`, and whether all of them are finite."""
    bits = np.uint32(0)
    for index in range(len(values)):
        bits = max(bits, as_bits(values[index]) & _MAGNITUDE_BITS)
    largest = largest_of(values)
    for index in range(len(values)):
        if values[index] == largest:
            return index, bits < _INFINITY_BITS
    return 0, False


@_kernel
def draw_one(values, key, step, temperature):
    """Return the token, and whether all of `values` are finite."""
    best, is_finite = _best_of(values)
    if temperature == 0:
        return best, is_finite
    token, per_temperature = best, np.float32(1) / temperature
    largest = values[best]
    state = _mix(key + step * _GAMMA)
    best_score = -_log_noise(state, best)
    is_candidate = np.empty(len(values), np.bool_)
    _find_candidates(values, state, largest, per_temperature, best_score, is_candidate)
    for index in range(len(values)):
        if is_candidate[index] and index != best:
            score = (values[index] - largest) * per_temperature - _log_noise(state, index)
            if score > best_score:
                best_score = score
                token = index
    return token, is_finite


@_kernel
def _probability(values, token, temperature, end):
    """Return the probability of `end` among `values`, of which `token` was drawn, or 0 if `end` is none of them."""
    if end < 0 or temperature == 0:
        return np.float32(token == end)
    largest, per_temperature = largest_of(values), np.float32(1) / temperature
    total = _sum_of_powers(values, largest, per_temperature)
    return np.exp((values[end] - largest) * per_temperature) / total


@_kernel
def _draw(logits, keys, steps, temperatures, end, tokens, end_probabilities, is_finite):
    for row in range(len(logits)):
        values, temperature = logits[row], temperatures[row]
        tokens[row], is_finite[row] = draw_one(values, keys[row], steps[row], temperature)
        end_probabilities[row] = _probability(values, tokens[row], temperature, end)


@_kernel
def draw_steps(logits, slots, steps, choice, state, automata, drawn):
    """Draw a token for each row of `logits`; the arguments are what `StepDraw` keeps, `drawn` is what it returns."""
    first, count, num_turns, end = choice
    states = automata[3]
    if len(states) == 0:
        _draw_freely(logits, slots, steps, first, count, num_turns, end, state, drawn)
    else:
        _draw_by_automata(logits, slots, steps, first, end, state, automata, drawn)


@_kernel
def _draw_freely(logits, slots, steps, first, count, num_turns, end, state, drawn):
    last_tokens, keys, temperatures, min_end = state
    for row in range(len(logits)):
        slot, step = slots[row], steps[row]
        begin = first + step % num_turns * count
        values, temperature = logits[row, begin : begin + count], temperatures[slot]
        token, is_finite = draw_one(values, keys[slot], np.uint64(step), temperature)
        end_probability = _probability(values, token, temperature, end)
        is_end = end >= 0 and (token == end or end_probability >= min_end[slot])
        last_tokens[slot] = drawn[row, 0] = begin + token
        drawn[row, 1], drawn[row, 2] = is_end, is_finite


@_kernel
def _draw_by_automata(logits, slots, steps, first, end, state, automata, drawn):
    last_tokens, keys, temperatures, min_end = state
    class_of_output, all_successors, limits, states, held = automata
    values = np.empty(len(class_of_output), np.float32)
    for row in range(len(logits)):
        slot, step = slots[row], steps[row]
        before = states[slot]
        is_at_limit = held[slot] >= limits[slot, before]
        successors = all_successors[slot, 1 if is_at_limit else 0, before]
        bits = np.uint32(0)
        for index in range(len(values)):
            value = logits[row, first + index]
            bits = max(bits, as_bits(value) & _MAGNITUDE_BITS)
            values[index] = value if successors[class_of_output[index]] >= 0 else _FORBIDDEN
        temperature = temperatures[slot]
        token, _ = draw_one(values, keys[slot], np.uint64(step), temperature)
        end_probability = _probability(values, token, temperature, end)
        after = np.int64(successors[class_of_output[token]])
        if after < 0:  # only of a row that is not finite
            after = before
        held[slot] = held[slot] + 1 if after == before else 1
        states[slot] = after
        last_tokens[slot] = drawn[row, 0] = first + token
        drawn[row, 1] = end >= 0 and (token == end or end_probability >= min_end[slot])
        drawn[row, 2] = bits < _INFINITY_BITS
