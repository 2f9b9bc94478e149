"""One decode step of a causal transformer on a CPU as a single compiled function, with weights in int8.

A step of one token per row is a few hundred small products. Called one by one through a framework, their dispatch
costs more than the arithmetic, so the whole step, with all its layers, is compiled here (numba), and the weights are
read as bytes, once for all rows. Threads are woken once per step: each of them runs the whole step, takes pieces of
work until none is left, and waits for the others when it needs their results.

The inputs of a product are rounded to integers, too, row by row, so its sums are exact: a row's result is the same to
the last bit for any number of rows and threads.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import prange

from streamer.models.cpu.int8_attention import new_step_attention
from streamer.models.cpu.integer_products import GROUP, INPUT, INPUTS, PARTS
from streamer.models.cpu.numba_math import kernel, parallel
from streamer.models.cpu.numba_threads import (
    enter_next,
    meet,
    new_counters,
    new_team,
    open_next,
    sharing_threads,
    takes_alone,
)
from streamer.models.cpu.packed_heads import PackedHeads, new_key_and_value
from streamer.models.cpu.step_kernels import (
    attend_some_heads,
    embed_tokens,
    multiply_some_groups,
    round_norms,
    round_rows,
    round_sums,
)

Bytes = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float32]
Offsets = npt.NDArray[np.int32]

_MORE_PHASES: Final = 3
"""The embeddings; the head's product; and what a caller does with its logits before the next step. Before the first
one there is another for what they have in common."""
_PIECES_PER_THREAD: Final = 8
_PHASES_PER_LAYER: Final = 5
"""Four products, and attention: each is finished by all threads before any of them begins the next."""


class Weights(NamedTuple):
    """A transformer's weights as a step reads them.

    The embeddings, [tokens, width] and [positions, width], are float32, or bfloat16 seen as uint16. A linear layer has
    the fields of an `Int8Linear`, with [layers, ...] in front. `gains` [layers, 2, width] are those of a layer's two
    norms, `head_gain` [width] is that of the last norm. The head is a single linear layer.
    """

    token_embeddings: npt.NDArray[Any]
    position_embeddings: npt.NDArray[Any]
    gains: Floats
    project: Bytes
    project_offsets: Offsets
    project_scales: Floats
    merge: Bytes
    merge_offsets: Offsets
    merge_scales: Floats
    widen: Bytes
    widen_offsets: Offsets
    widen_scales: Floats
    narrow: Bytes
    narrow_offsets: Offsets
    narrow_scales: Floats
    head_gain: Floats
    head: Bytes
    head_offsets: Offsets
    head_scales: Floats


class Step(NamedTuple):
    """What the threads of a step share beside the weights: its inputs (see `new_step`) and its phases' results.

    From `keys` on there are the fields of `PackedHeads`.
    """

    tokens: npt.NDArray[np.int64]
    keys: npt.NDArray[Any]
    key_offsets: Offsets
    key_scales: Floats
    values: npt.NDArray[Any]
    value_factors: Floats
    slots: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    x: Floats
    inputs: npt.NDArray[Any]
    wide_inputs: npt.NDArray[Any]
    factors: Floats
    excesses: npt.NDArray[np.int32]
    projected: Floats
    attended: Floats
    added: Floats
    widened: Floats
    logits: Floats
    head_groups: npt.NDArray[np.int64]
    """For each of the steps in a row, the first of the head's groups of outputs that is made, and the one behind the
    last; all, unless it is told."""
    counters: npt.NDArray[np.int64]
    num_pieces: int
    """About how many pieces a product is cut into."""
    num_threads: int


@kernel
def run_step(weights, step, number, team):
    """Run one thread of the `number`-th step in a row, which takes part in every phase that is not over.

    What lies between two phases is done by the thread that was the last one in the first of them.
    """
    # They come as plain tuples, because a parallel loop takes no others.
    w, s = Weights(*weights), Step(*step)
    width = s.x.shape[1]
    heads = PackedHeads(s.keys, s.key_offsets, s.key_scales, s.values, s.value_factors)
    head_dim = width // s.keys.shape[2]
    rooms = new_key_and_value(head_dim), new_step_attention(s.value_factors.shape[3], head_dim)
    if takes_alone(team):
        embed_tokens(s.tokens, w.token_embeddings, s.positions, w.position_embeddings, s.x)
        round_norms(s.x, w.gains[0, 0], (s.inputs, s.factors, s.excesses))
    meet(team, 1)
    rounded = s.inputs, s.factors, s.excesses
    rounded_wide = s.wide_inputs, s.factors, s.excesses
    for layer in range(len(w.gains)):
        project = w.project[layer], w.project_offsets[layer], w.project_scales[layer]
        merge = w.merge[layer], w.merge_offsets[layer], w.merge_scales[layer]
        widen = w.widen[layer], w.widen_offsets[layer], w.widen_scales[layer]
        narrow = w.narrow[layer], w.narrow_offsets[layer], w.narrow_scales[layer]
        if multiply_some_groups(project, 0, len(project[0]), s.num_pieces, rounded, s.projected, False, team):
            open_next(team)
        enter_next(team)
        if attend_some_heads(
            s.projected, s.attended, s.slots, s.positions, heads, layer, s.num_pieces, rooms, team
        ):
            round_rows(s.attended, width, rounded)
            open_next(team)
        enter_next(team)
        if multiply_some_groups(merge, 0, len(merge[0]), s.num_pieces, rounded, s.added, False, team):
            round_sums(s.x, s.added, w.gains[layer, 1], rounded)
            open_next(team)
        enter_next(team)
        if multiply_some_groups(widen, 0, len(widen[0]), s.num_pieces, rounded, s.widened, True, team):
            round_rows(s.widened, 4 * width, rounded_wide)
            open_next(team)
        enter_next(team)
        if multiply_some_groups(narrow, 0, len(narrow[0]), s.num_pieces, rounded_wide, s.added, False, team):
            gain = w.gains[layer + 1, 0] if layer + 1 < len(w.gains) else w.head_gain
            round_sums(s.x, s.added, gain, rounded)
            open_next(team)
        enter_next(team)
    head = w.head, w.head_offsets, w.head_scales
    first, end = s.head_groups[number, 0], s.head_groups[number, 1]
    if multiply_some_groups(head, first, end, s.num_pieces, rounded, s.logits, False, team):
        open_next(team)
    enter_next(team)


@kernel
def _run_alone(weights, step):
    run_step(weights, step, 0, new_team(Step(*step).counters))


@parallel
def _run_together(weights, step):
    for _ in prange(Step(*step).num_threads):
        run_step(weights, step, 0, new_team(Step(*step).counters))


def new_step(
    tokens: Any,
    weights: Weights,
    heads: PackedHeads,
    slots: Any,
    positions: Any,
    *,
    num_steps: int = 1,
    num_threads: int = 1,
    num_pieces: int = 1,
) -> Step:
    """Return `num_steps` steps of which the first feeds `tokens`, one per row, int64 [rows]; nothing is made yet.

    `heads`: the keys and values of all layers and slots; a row appends to its slot at its position, `slots` and
    `positions` int64 [rows].
    """
    num_rows, width = len(tokens), weights.gains.shape[2]
    matrices = weights.project, weights.merge, weights.widen, weights.narrow
    has_nibbles = any(matrix.shape[3] < GROUP for matrix in matrices)

    def outputs_of(scales: Floats) -> Floats:
        return np.empty((num_rows, scales.shape[-2] * GROUP), np.float32)

    def words(num_inputs: int) -> npt.NDArray[Any]:
        return np.zeros((num_rows * PARTS, -(-num_inputs // INPUTS) * INPUTS), INPUT)

    return Step(
        tokens=tokens,
        **heads._asdict(),
        slots=slots,
        positions=positions,
        x=np.empty((num_rows, width), np.float32),
        inputs=words(width),
        wide_inputs=words(4 * width),
        factors=np.empty(num_rows, np.float32),
        excesses=np.empty(num_rows if has_nibbles else 0, np.int32),
        projected=outputs_of(weights.project_scales),
        attended=np.empty((num_rows, width), np.float32),
        added=outputs_of(weights.merge_scales),
        widened=outputs_of(weights.widen_scales),
        logits=outputs_of(weights.head_scales),
        head_groups=np.full((num_steps, 2), [0, len(weights.head)]),
        counters=new_counters(1 + num_steps * (_PHASES_PER_LAYER * len(weights.gains) + _MORE_PHASES)),
        num_pieces=num_pieces,
        num_threads=num_threads,
    )


def decode_step(
    tokens: Any, weights: Weights, heads: PackedHeads, slots: Any, positions: Any, num_threads: int
) -> Floats:
    """Compute the logits [rows, outputs] that follow `tokens`; see `new_step`. Runs on up to `num_threads` threads."""
    if num_threads == 1:
        step = new_step(tokens, weights, heads, slots, positions)
        _run_alone(tuple(weights), tuple(step))
        return step.logits
    with sharing_threads(num_threads) as num_threads:
        num_pieces = _PIECES_PER_THREAD * num_threads
        step = new_step(
            tokens, weights, heads, slots, positions, num_threads=num_threads, num_pieces=num_pieces
        )
        _run_together(tuple(weights), tuple(step))
    return step.logits
