"""All layers of a whole pass over one sentence as one compiled function (`compiled_layers`).

As in a decode step, each thread runs the whole function, takes blocks of positions or heads until none is left, and
waits for the others before it goes on. A block of positions goes through all products that follow each other, so that
what lies between them stays in the processor's cache. Positions meet in attention alone. One that holds a number that
is not finite gets the factor NaN, and so stays visible.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import prange

from streamer.models.cpu.int8_attention import QUERIES_AT_ONCE, attend_with_head, new_attention
from streamer.models.cpu.int8_linear import (
    Floats,
    multiply,
    multiply_group,
    multiply_words,
    new_words,
    quantize_inputs,
    quantize_words,
)
from streamer.models.cpu.integer_products import GROUP, INPUT, INPUTS
from streamer.models.cpu.llvm_intrinsics import prefer_wide_vectors
from streamer.models.cpu.numba_math import (
    inline,
    kernel,
    moments,
    parallel,
    rough_gelu,
)
from streamer.models.cpu.numba_threads import Counters, meet, new_team, take
from streamer.models.cpu.packed_heads import (
    PackedHeads,
    heads_of,
    new_queries,
    store_keys,
    store_queries,
    store_values,
)

POSITIONS_AT_ONCE: Final = 96
"""The most positions of a block: more would not leave the processor's second cache room for what widening makes."""
_SMALLEST_BLOCK: Final = 8
"""The unit of a block's positions."""
ROWS_OF_WORDS: Final = 32
"""The positions of a block whose inputs are of int16."""
PHASES_PER_LAYER: Final = 3
"""Up to queries, keys and values; attention; and what follows it."""

Packed = npt.NDArray[Any]


class LayerWeights(NamedTuple):
    """The weights of all layers. A linear has the fields of an `Int8Linear`, with [layers, ...] in front.

    `gains` and `biases` [layers, 2, width] are those of a layer's two norms.
    """

    gains: Floats
    biases: Floats
    project: Packed
    project_offsets: Packed
    project_scales: Floats
    merge: Packed
    merge_offsets: Packed
    merge_scales: Floats
    widen: Packed
    widen_offsets: Packed
    widen_scales: Floats
    narrow: Packed
    narrow_offsets: Packed
    narrow_scales: Floats


class Pass(NamedTuple):
    """What the threads of a pass share beside the weights.

    `x` is the residual, float32 [positions, width], which the layers change; its first position is `start`, a multiple
    of `PARTS_UNIT`, and the slot has the keys and values of those before. From `keys` on there are the fields of
    `PackedHeads`, in which a causal model's keys and values stay; without a cache all layers use a single one's. Of the
    last layer only the positions from `first` to `end` are computed.

    `is_causal` and `num_threads` are here because a constant in a call would have numba compile all layers once more.
    """

    x: Floats
    attended: Floats
    queries: Packed
    query_factors: Floats
    keys: Packed
    key_offsets: Packed
    key_scales: Floats
    values: Packed
    value_factors: Floats
    slot: int
    start: int
    first: int
    end: int
    is_causal: bool
    counters: Counters
    num_threads: int


def new_pass(
    x: Floats, num_heads: int, packed: PackedHeads, slot: int, borders: tuple[int, int], counters: Counters, *,
    is_causal: bool, start: int, num_threads: int,
) -> Pass:  # fmt: skip
    """Make room for a pass over `x`, whose keys and values are written to a slot of `packed`."""
    queries, factors = new_queries(num_heads, x.shape[1] // num_heads, len(x))
    attended, (first, end) = np.empty_like(x), borders
    return Pass(
        x, attended, queries, factors, *packed, slot, start, first, end, is_causal, counters, num_threads
    )  # fmt: skip


@kernel
def _block_size(num_positions, num_threads):
    """Return the positions of a block, so that every thread has about as many."""
    num_blocks = -(-num_positions // POSITIONS_AT_ONCE)
    num_blocks += -num_blocks % num_threads
    return -(-num_positions // (num_blocks * _SMALLEST_BLOCK)) * _SMALLEST_BLOCK


@inline
def norm_row(x, gain, bias, normed):
    """Write a row's layer norm to `normed`."""
    mean, scale = moments(x)
    for index in range(len(x)):
        normed[index] = (x[index] - mean) * scale * gain[index] + bias[index]


@inline
def _quantize_norm(x, gain, bias, normed, quantized):
    """Round a row's layer norm to integers; `normed` is overwritten. Returns the factor."""
    norm_row(x, gain, bias, normed)
    return quantize_inputs(normed, quantized)


@kernel
def _new_inputs(size, width):
    """Return room for a block's quantized inputs, and their factors."""
    return np.empty((size, -(-width // INPUTS) * INPUTS), INPUT), np.empty(size, np.float32)


@kernel
def _project(layer, w, s, first, end, heads, room, team):
    """Round keys and values of all positions, and queries of those from `first` to `end` and of their blocks.

    A phase: this thread computes some blocks.
    """
    prefer_wide_vectors()
    quantized, factors, _, _, normed, projected, _ = room
    linear = w.project[layer], w.project_offsets[layer], w.project_scales[layer]
    num_positions, width = s.x.shape
    num_groups, size = len(linear[0]), len(quantized)
    head_dim = width // len(s.queries)
    begin = take(team) * size
    while begin < num_positions:
        count = min(size, num_positions - begin)
        for row in range(count):
            factors[row] = _quantize_norm(
                s.x[begin + row], w.gains[layer, 0], w.biases[layer, 0], normed, quantized[row]
            )
        asks = begin < end and begin + count > first
        for group in range(0 if asks or width % GROUP else width // GROUP, num_groups):
            multiply_group(linear, group, quantized[:count], linear[0].shape[1], factors, projected)
        made = projected[:count]
        if asks:
            store_queries(made, 0, begin, s.queries, s.query_factors, head_dim)
        store_keys(made, width, s.start + begin, heads, head_dim)
        store_values(made, 2 * width, s.start + begin, heads, head_dim)
        begin = take(team) * size
    meet(team, -(-num_positions // size))


@kernel
def _attend(s, heads, first, end, attention, team):
    """Attend from the positions `first` to `end`. A phase: this thread computes some heads."""
    head = take(team)
    while head < len(s.queries):
        attend_with_head(
            heads, s.queries[head], s.query_factors[head], head, first, end, s.start, s.is_causal, attention,
            s.attended,
        )  # fmt: skip
        head = take(team)
    meet(team, len(s.queries))


@kernel
def _finish(layer, w, s, first, end, room, team):
    """Add to the residual what attention and the MLP make of it. A phase: this thread computes some blocks."""
    prefer_wide_vectors()
    quantized, factors, wide_quantized, wide_factors, normed, y, wide = room
    merge = w.merge[layer], w.merge_offsets[layer], w.merge_scales[layer]
    widen = w.widen[layer], w.widen_offsets[layer], w.widen_scales[layer]
    narrow = w.narrow[layer], w.narrow_offsets[layer], w.narrow_scales[layer]
    width, size = s.x.shape[1], len(quantized)
    inner = 4 * width
    begin = first + take(team) * size
    while begin < end:
        count = min(size, end - begin)
        for row in range(count):
            factors[row] = quantize_inputs(s.attended[begin + row], quantized[row])
        multiply(merge, quantized[:count], factors, y)
        for row in range(count):
            residual = s.x[begin + row]
            for index in range(width):
                residual[index] += y[row, index]
            factors[row] = _quantize_norm(
                residual, w.gains[layer, 1], w.biases[layer, 1], normed, quantized[row]
            )
        multiply(widen, quantized[:count], factors, wide)
        for row in range(count):
            rough_gelu(wide[row])
            wide_factors[row] = quantize_inputs(wide[row, :inner], wide_quantized[row])
        multiply(narrow, wide_quantized[:count], wide_factors, y)
        for row in range(count):
            residual = s.x[begin + row]
            for index in range(width):
                residual[index] += y[row, index]
        begin = first + take(team) * size
    meet(team, -(-(end - first) // size))


@kernel
def run_layers(weights, shared, borders, team):
    """Run one thread of a pass, which takes part in every phase that is not over.

    Of the last layer only the positions from the first of `borders` to the second are computed.
    """
    # They come as plain tuples, because a parallel loop takes no others.
    w, s = LayerWeights(*weights), Pass(*shared)
    packed = PackedHeads(s.keys, s.key_offsets, s.key_scales, s.values, s.value_factors)
    (first_asked, end_asked), (num_positions, width) = borders, s.x.shape
    size = _block_size(num_positions, s.num_threads)
    quantized, factors = _new_inputs(size, width)
    wide_quantized, wide_factors = _new_inputs(size, 4 * width)
    y = np.empty((size, max(w.project_scales[0].size, w.merge_scales[0].size)), np.float32)
    wide = np.empty((size, w.widen_scales[0].size), np.float32)
    room = quantized, factors, wide_quantized, wide_factors, np.empty(width, np.float32), y, wide
    attention = new_attention(QUERIES_AT_ONCE, s.start + num_positions, width // len(s.queries))
    for layer in range(len(w.gains)):
        is_last = layer == len(w.gains) - 1
        first, end = (first_asked, end_asked) if is_last else (0, num_positions)
        heads = heads_of(packed, min(layer, len(s.keys) - 1), s.slot)
        _project(layer, w, s, first, end, heads, room, team)
        _attend(s, heads, first, end, attention, team)
        _finish(layer, w, s, first, end, room, team)


@kernel
def run_layers_alone(weights, shared):
    """Run one thread of a pass, whose borders are in `shared`."""
    s = Pass(*shared)
    run_layers(weights, shared, (s.first, s.end), new_team(s.counters))


@parallel
def run_layers_together(weights, shared):
    """Run a pass on all of its threads."""
    for _ in prange(Pass(*shared).num_threads):
        run_layers_alone(weights, shared)


@kernel
def multiply_some(x, linear, out, team):
    """Do a thread's share of `multiply_rows`. A phase: this thread computes some blocks of rows."""
    prefer_wide_vectors()
    words = new_words(ROWS_OF_WORDS, x.shape[1])
    factors = np.empty(ROWS_OF_WORDS, np.float32)
    begin = take(team) * ROWS_OF_WORDS
    while begin < len(x):
        count = min(ROWS_OF_WORDS, len(x) - begin)
        for row in range(count):
            factors[row] = quantize_words(x[begin + row], row, words)
        multiply_words(linear, 0, len(linear[0]), words, factors[:count], out[begin : begin + count])
        begin = take(team) * ROWS_OF_WORDS
    meet(team, -(-len(x) // ROWS_OF_WORDS))


@parallel
def multiply_rows(x, linear, out, counters, num_threads):
    """Multiply float32 `x` [rows, inputs], rounded to int16, with an `Int8Linear` to `out` [rows, outputs]."""
    for _ in prange(num_threads):
        multiply_some(x, linear, out, new_team(counters))
