"""Decode steps in a row and the draws between them as one compiled function, for a narrow model on a CPU.

Such a model's step takes 0.2 ms (`models/cpu/decode_step`); going back to Python between two of them would take half
as long again. The draws are those of `numba_sampler`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from streamer.compilation import compiled
from streamer.engine.device.numba_sampler import StepDraw, draw_steps
from streamer.models.cpu.decode_step import Step, run_step
from streamer.models.cpu.int8_gpt import Int8DecodeStep
from streamer.models.cpu.integer_products import GROUP
from streamer.models.kv_cache import SlotCache


def draw_in_a_row(
    step: Int8DecodeStep, cache: SlotCache, draw: StepDraw, places: Tensor, num_steps: int
) -> list[Tensor]:
    """Take `num_steps` steps, each of which feeds what the one before drew; returns what `StepDraw` does, per step.

    `places` int64 [rows, 3] are the slot, the position in the cache and the step of each row at the first step.
    """
    first, count, num_turns, _ = draw.choice
    assert step.outputs.start <= first and first + count * num_turns <= step.outputs.stop
    slots, positions, steps = (part.contiguous() for part in places.unbind(1))
    weights, opened = step.open(positions, cache, slots)
    drawn = np.empty((num_steps, len(places), 3), np.int64)
    _draw_in_a_row(
        tuple(weights), tuple(opened), steps.numpy(), draw.choice, step.outputs.start,
        draw.state, draw.automata_state, drawn,
    )  # fmt: skip
    return list(torch.from_numpy(drawn))


@compiled()
def _drawn_among(steps, first, count, num_turns):
    """Return the logits, from the first to behind the last, among which any of the rows draws."""
    lowest, highest = num_turns - 1, 0
    for step in steps:
        lowest, highest = min(lowest, step % num_turns), max(highest, step % num_turns)
    return first + lowest * count, first + (highest + 1) * count


@compiled()
def _draw_in_a_row(weights, step, steps, choice, first_output, state, automata, drawn):
    s = Step(*step)
    last_tokens = state[0]
    first, count, num_turns, end = choice
    first -= first_output  # Logits are counted from the first that is made.
    for number in range(len(drawn)):
        s.counters[:] = 0
        for row in range(len(s.tokens)):
            s.tokens[row] = last_tokens[s.slots[row]]
        low, high = _drawn_among(steps, first, count, num_turns)
        s.head_groups[0], s.head_groups[1] = low // GROUP, -(-high // GROUP)
        run_step(weights, step)
        draw_steps(s.logits, s.slots, steps, (first, count, num_turns, end), state, automata, drawn[number])
        for row in range(len(s.tokens)):
            drawn[number, row, 0] += first_output
            last_tokens[s.slots[row]] = drawn[number, row, 0]
            s.positions[row] += 1
            steps[row] += 1
