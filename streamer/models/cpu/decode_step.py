"""One decode step of a causal transformer on a CPU as a single compiled function, with weights in int8.

A step of one token per row is a few hundred small products. Called one by one through a framework, their dispatch
costs more than the arithmetic, so the whole step, with all its layers, is compiled here (numba), and the weights are
read as bytes, once for all rows. Threads are woken once per step: each of them runs the whole step, takes pieces of
work until none is left, and waits for the others when it needs their results.

The inputs of a product are rounded to integers, too, row by row, so its sums are exact: a row's result is the same to
the last bit for any number of rows and threads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import prange

from streamer.models.cpu.int8_attention import attend_step, new_step_attention
from streamer.models.cpu.int8_linear import multiply_words, new_words, quantize_words
from streamer.models.cpu.integer_products import GROUP
from streamer.models.cpu.llvm_intrinsics import prefer_wide_vectors
from streamer.models.cpu.numba_math import as_float32, gelu, kernel, moments, parallel
from streamer.models.cpu.numba_threads import Team, meet, new_counters, sharing_threads, take
from streamer.models.cpu.packed_heads import PackedHeads, append, heads_of

Bytes = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float32]
Offsets = npt.NDArray[np.int32]

_PHASES_PER_LAYER = 5
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
    projected: Floats
    attended: Floats
    added: Floats
    widened: Floats
    logits: Floats
    head_groups: npt.NDArray[np.int64]
    """The first of the head's groups of outputs that is made, and the one behind the last; all, unless it is told."""
    counters: npt.NDArray[np.int64]
    num_threads: int = 1
    """This is here because a constant in a call would have numba compile the step once more."""


@kernel
def _embed(tokens, positions, weights, x):
    """Write the sum of each row's embeddings to `x` [rows, width]."""
    for row in range(len(x)):
        token, position = tokens[row], positions[row]
        for index in range(x.shape[1]):
            x[row, index] = as_float32(weights.token_embeddings[token, index])
            x[row, index] += as_float32(weights.position_embeddings[position, index])


@kernel
def _norm(x, gain, y):
    """Write the layer norm, without a bias, of every row of `x` to `y`."""
    for row in range(len(x)):
        mean, scale = moments(x[row])
        for index in range(x.shape[1]):
            y[row, index] = (x[row, index] - mean) * scale * gain[index]


@kernel
def _linear(x, num_inputs, inputs, linear, first, end, y, with_gelu, team):
    """Multiply `x` [rows, num_inputs or more] with an `Int8Linear` to `y` [rows, outputs], perhaps with a GELU behind.

    A phase: this thread computes its share of the groups of outputs from `first` to `end`. `inputs` has room for the
    quantized `x`.
    """
    prefer_wide_vectors()
    factors = np.empty(len(x), np.float32)
    for row in range(len(x)):
        factors[row] = quantize_words(x[row, :num_inputs], row, inputs)
    size = max(1, (end - first) // (8 * team.num_threads)) if team.num_threads > 1 else end - first
    begin = first + take(team) * size
    while begin < end:
        for group in range(begin, min(begin + size, end)):
            multiply_words(linear, group, inputs, factors, y)
            if with_gelu:
                for row in range(len(y)):
                    gelu(y[row, group * GROUP : (group + 1) * GROUP])
        begin = first + take(team) * size
    meet(team)


@kernel
def _attend(step, heads, layer, room, team):
    """Append each row's key and value, and attend. A phase: this thread computes some heads of some rows."""
    num_heads = heads.keys.shape[2]
    num_rows, width = step.attended.shape
    size = width // num_heads
    item = take(team)
    while item < num_rows * num_heads:
        row, head = item // num_heads, item % num_heads
        of_row, position = heads_of(heads, layer, step.slots[row]), step.positions[row]
        append(step.projected, row, width, of_row, head, position)
        attended = step.attended[row, head * size : (head + 1) * size]
        attend_step(step.projected, row, of_row, head, position, room, attended)
        item = take(team)
    meet(team)


@kernel
def run_step(weights, step):
    """Run one thread of a step. Each has an `x` of its own, and takes part in every phase."""
    # They come as plain tuples, because a parallel loop takes no others.
    w, s = Weights(*weights), Step(*step)
    num_rows, width = s.attended.shape
    x, normed = np.empty((num_rows, width), np.float32), np.empty((num_rows, width), np.float32)
    _embed(s.tokens, s.positions, w, x)
    inputs, wide_inputs = new_words(num_rows, width), new_words(num_rows, 4 * width)
    heads = PackedHeads(s.keys, s.key_offsets, s.key_scales, s.values, s.value_factors)
    room = new_step_attention(s.value_factors.shape[3], width // s.keys.shape[2])
    team = Team(s.num_threads, s.counters, np.ones(1, np.int64))
    for layer in range(len(w.gains)):
        project = w.project[layer], w.project_offsets[layer], w.project_scales[layer]
        merge = w.merge[layer], w.merge_offsets[layer], w.merge_scales[layer]
        widen = w.widen[layer], w.widen_offsets[layer], w.widen_scales[layer]
        narrow = w.narrow[layer], w.narrow_offsets[layer], w.narrow_scales[layer]
        _norm(x, w.gains[layer, 0], normed)
        _linear(normed, width, inputs, project, 0, len(project[0]), s.projected, False, team)
        _attend(s, heads, layer, room, team)
        _linear(s.attended, width, inputs, merge, 0, len(merge[0]), s.added, False, team)
        x += s.added[:, :width]
        _norm(x, w.gains[layer, 1], normed)
        _linear(normed, width, inputs, widen, 0, len(widen[0]), s.widened, True, team)
        _linear(s.widened, 4 * width, wide_inputs, narrow, 0, len(narrow[0]), s.added, False, team)
        x += s.added[:, :width]
    _norm(x, w.head_gain, normed)
    head = w.head, w.head_offsets, w.head_scales
    _linear(normed, width, inputs, head, s.head_groups[0], s.head_groups[1], s.logits, False, team)


@parallel
def _run_together(weights, step):
    for _ in prange(Step(*step).num_threads):
        run_step(weights, step)


def new_step(tokens: Any, weights: Weights, heads: PackedHeads, slots: Any, positions: Any) -> Step:
    """Return a step that feeds `tokens`, one per row, int64 [rows]; its results are not written yet.

    `heads`: the keys and values of all layers and slots; a row appends to its slot at its position, `slots` and
    `positions` int64 [rows].
    """
    num_rows, width = len(tokens), weights.gains.shape[2]

    def outputs_of(scales: Floats) -> Floats:
        return np.empty((num_rows, scales.shape[-2] * GROUP), np.float32)

    return Step(
        tokens=tokens,
        **heads._asdict(),
        slots=slots,
        positions=positions,
        projected=outputs_of(weights.project_scales),
        attended=np.empty((num_rows, width), np.float32),
        added=outputs_of(weights.merge_scales),
        widened=outputs_of(weights.widen_scales),
        logits=outputs_of(weights.head_scales),
        head_groups=np.array([0, len(weights.head)]),
        counters=new_counters(_PHASES_PER_LAYER * len(weights.gains) + 1),
    )


def decode_step(
    tokens: Any, weights: Weights, heads: PackedHeads, slots: Any, positions: Any, num_threads: int
) -> Floats:
    """Compute the logits [rows, outputs] that follow `tokens`; see `new_step`. Runs on up to `num_threads` threads."""
    step = new_step(tokens, weights, heads, slots, positions)
    if num_threads == 1:
        run_step(tuple(weights), tuple(step))
    else:
        with sharing_threads(num_threads) as num_threads:
            _run_together(tuple(weights), tuple(step._replace(num_threads=num_threads)))
    return step.logits
