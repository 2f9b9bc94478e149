"""Decode steps in a row and their draws, and a prefill and its draw, as one compiled function each, for a narrow model.

Such a model's step takes 0.1 to 0.2 ms on a CPU (`models/cpu/decode_step`), and what is around a step or a pass in
Python would take as long. The draws are those of `numba_sampler`.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np
import torch
from torch import Tensor

from streamer.compilation import compiled
from streamer.engine.device.numba_sampler import StepDraw, draw_steps
from streamer.models.cpu.compiled_layers import CompiledLayers
from streamer.models.cpu.decode_step import Step, run_step
from streamer.models.cpu.int8_cache import Int8KvCache
from streamer.models.cpu.int8_gpt import Int8DecodeStep
from streamer.models.cpu.integer_products import GROUP
from streamer.models.cpu.joining import run_joined, taker
from streamer.models.cpu.layer_kernels import Pass, run_layers
from streamer.models.cpu.numba_threads import meet, new_team, takes_alone
from streamer.models.cpu.step_kernels import add_positions, make_logits
from streamer.models.kv_cache import SlotCache

PIECES_OF_A_PHASE: Final = 4
"""How many pieces a step's phases have for two threads, which then wait least for each other."""


def draw_in_a_row(
    step: Int8DecodeStep, cache: SlotCache, draw: StepDraw, places: Tensor, num_steps: int
) -> Tensor:
    """Take `num_steps` steps, each of which feeds what the one before drew; returns what `StepDraw` does, one by one.

    `places` int64 [rows, 3] are the slot, the position in the cache and the step of each row at the first step.
    """
    first, count, num_turns, _ = draw.choice
    assert step.outputs.start <= first and first + count * num_turns <= step.outputs.stop
    slots, positions, steps = (part.contiguous() for part in places.unbind(1))
    # Weights of four bits stay in a core's own cache: sharing them would cost more than it gains.
    is_offered = not step.in_nibbles and taker() is not None
    num_pieces = PIECES_OF_A_PHASE if is_offered else 1
    opened = step.open(positions, cache, slots, num_steps, num_pieces=num_pieces)
    drawn = np.empty((num_steps, len(places), 3), np.int64)
    work = partial(
        _draw_in_a_row, tuple(step.weights), tuple(opened), steps.numpy(), draw.choice, step.outputs.start,
        draw.state, draw.automata_state, drawn,
    )  # fmt: skip
    if is_offered:
        run_joined(work, opened.counters)
    else:
        work()
    return torch.from_numpy(drawn.reshape(-1, 3))


def prefill_and_draw(
    layers: CompiledLayers,
    step: Int8DecodeStep,
    cache: SlotCache,
    draw: StepDraw,
    embeddings: Tensor,
    start: int,
    place: tuple[int, int],
) -> Tensor:
    """Fill a slot from position `start` on; returns what `StepDraw` does of the next token, int64 [1, 3].

    `embeddings` are [positions, width]; `place` is the slot, and the step of the token.
    """
    slot, number = place
    x = np.array(embeddings.detach().numpy(), np.float32)  # Torch would share a copy among its threads.
    last = len(x) - 1
    assert isinstance(cache, Int8KvCache)
    room = layers.new_pass(x, cache.packed, slot, (last, last + 1), start=start, num_more_phases=2)
    w, drawn = step.weights, np.empty((1, 3), np.int64)
    behind = w.position_embeddings, w.head_gain, (w.head, w.head_offsets, w.head_scales)
    work = partial(
        _prefill_and_draw, tuple(layers.packed), tuple(room), behind, np.array([slot]), np.array([number]),
        draw.choice, step.outputs.start, draw.state, draw.automata_state, drawn,
    )  # fmt: skip
    run_joined(work, room.counters)
    return torch.from_numpy(drawn)


@compiled()
def _prefill_and_draw(weights, shared, behind, slots, steps, choice, first_output, state, automata, drawn):
    """Run one thread of a prefill and its draw, which takes part in every phase that is not over."""
    s, team = Pass(*shared), new_team(Pass(*shared).counters)
    position_embeddings, gain, head = behind
    if takes_alone(team):
        add_positions(s.x, position_embeddings, s.start)
    meet(team, 1)
    run_layers(weights, shared, (s.first, s.end), team)
    if takes_alone(team):
        first, count, num_turns, end = choice
        first -= first_output
        low, high = _drawn_among(steps, 0, first, count, num_turns)
        logits = np.empty((1, len(head[0]) * GROUP), np.float32)
        make_logits(s.x[s.first : s.end], gain, head, low // GROUP, -(-high // GROUP), logits)
        draw_steps(logits, slots, steps, (first, count, num_turns, end), state, automata, drawn)
        drawn[0, 0] += first_output
        state[0][slots[0]] = drawn[0, 0]
    meet(team, 1)


@compiled()
def _drawn_among(steps, number, first, count, num_turns):
    """Return the logits, from the first to behind the last, among which rows draw in the `number`-th step."""
    lowest, highest = num_turns - 1, 0
    for step in steps:
        turn = (step + number) % num_turns
        lowest, highest = min(lowest, turn), max(highest, turn)
    return first + lowest * count, first + (highest + 1) * count


@compiled()
def _draw_in_a_row(weights, step, steps, choice, first_output, state, automata, drawn):
    """Run one thread of the steps and draws, which takes part in every phase that is not over."""
    s = Step(*step)
    first, count, num_turns, end = choice
    first -= first_output  # Logits are counted from the first that is made.
    team = new_team(s.counters)
    if takes_alone(team):
        for number in range(len(drawn)):
            low, high = _drawn_among(steps, number, first, count, num_turns)
            s.head_groups[number, 0], s.head_groups[number, 1] = low // GROUP, -(-high // GROUP)
        for row in range(len(s.tokens)):
            s.tokens[row] = state[0][s.slots[row]]
    meet(team, 1)
    for number in range(len(drawn)):
        run_step(weights, step, number, team)
        if takes_alone(team):
            _draw(s, steps, (first, count, num_turns, end), first_output, state, automata, drawn[number])
        meet(team, 1)


@compiled()
def _draw(s, steps, choice, first_output, state, automata, drawn):
    """Draw a step's tokens, and have the next step feed them."""
    draw_steps(s.logits, s.slots, steps, choice, state, automata, drawn)
    for row in range(len(s.tokens)):
        drawn[row, 0] += first_output
        s.tokens[row] = state[0][s.slots[row]] = drawn[row, 0]
        s.positions[row] += 1
        steps[row] += 1
