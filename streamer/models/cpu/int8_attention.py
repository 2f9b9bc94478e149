"""Attention in int8, compiled: of one head of a whole pass, and of some heads of a decode step.

A value's scale goes into its softmax weight, so that a position still depends on no later one. The weights have 16 bits
(14 where products are of int16): with 8, many small weights beside a large one would be lost. A step's query has 16
bits, too, as all inputs of its products have. Integers sum up exactly, so a position does not depend on others' scales.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from streamer.models.cpu.attention_rounding import largest_score, quantize_halves, quantize_query, weigh
from streamer.models.cpu.int8_linear import (
    largest_input,
    largest_word,
    multiply_group,
    multiply_words,
    new_words,
)
from streamer.models.cpu.integer_products import GROUP, HAS_VNNI, INPUT, INPUTS, LANES, OFFSET, UNIT
from streamer.models.cpu.llvm_intrinsics import as_bits, as_float, prefer_wide_vectors
from streamer.models.cpu.numba_math import inline, kernel
from streamer.models.cpu.packed_heads import numbers_of, score_scale, up_to

QUERIES_AT_ONCE: Final = 16
"""The queries of a pass that attend together: their scores stay in the processor's second cache."""
_SMALLEST: Final = np.float32(1e-30)
"""The lower bound of the largest value, so that values which are all zero divide by something."""
_NUM_PARTS: Final = 2 if HAS_VNNI else 1
"""The rows that a query's softmax weights take: their upper bytes, and the lower ones."""


@kernel
def new_attention(num_queries, num_keys, head_dim):
    """Return room for what attention computes of a few queries: scores, weights, factors, sums and largest values."""
    positions, outputs = up_to(num_keys, GROUP), up_to(head_dim, GROUP)
    return (
        np.empty((num_queries, positions), np.float32),
        np.empty((_NUM_PARTS, num_queries, positions), INPUT),
        np.empty((2, num_queries), np.float32),
        np.empty((2, num_queries, outputs), np.float32),
        np.empty(positions, np.float32),
    )


@inline
def _largest_weight(num_keys):
    """Return the largest softmax weight as an integer."""
    return np.float32(65535) if HAS_VNNI else largest_input(num_keys)


@inline
def _weigh_keys(scores, value_factors, num_keys, num_inputs, largest_value, largest_weight, upper, lower):
    """Write a query's softmax weights, times the values' factors, as integers; zeros fill up its `num_inputs`.

    Returns the factor of what their products with the values add up to.
    """
    unit = largest_weight / largest_value
    scores_at = scores.ctypes.data
    total = weigh(
        scores_at, value_factors.ctypes.data, num_keys, largest_score(scores_at, num_keys), unit,
        upper.ctypes.data, lower.ctypes.data,
    )  # fmt: skip
    written = up_to(num_keys, LANES)
    upper[written:num_inputs] = 0
    lower[written:num_inputs] = 0
    return np.float32(1) / (unit * total)


@kernel
def attend_with_head(heads, queries, query_factors, head, first, end, start, is_causal, room, out):
    """Write what the queries from `first` to `end` make of a head's keys and values to its part of `out`.

    `queries` and `query_factors` are the head's, `out` is float32 [positions, width]; the first of these positions is
    `start`, and before it there are keys and values only. If `is_causal`, a query attends to the keys up to its own
    position.
    """
    prefer_wide_vectors()
    scores, weights, factors, sums, largest_values = room
    value_factors = heads.value_factors[head]
    keys = heads.keys[head], heads.key_offsets[head], heads.key_scales[head]
    num_groups, size = heads.values.shape[1], out.shape[1] // len(heads.values)
    no_offsets, ones = np.zeros((num_groups, GROUP), np.int32), np.ones((num_groups, GROUP), np.float32)
    values = heads.values[head], no_offsets, ones
    num_keys = start + len(out)
    most = as_bits(_SMALLEST)
    for position in range(num_keys):  # A NaN among them stays.
        most = max(most, as_bits(value_factors[position]))
        largest_values[position] = as_float(most)
    for begin in range(first, end, QUERIES_AT_ONCE):
        count = min(QUERIES_AT_ONCE, end - begin)
        num_seen = start + begin + count if is_causal else num_keys
        for group in range(up_to(num_seen, GROUP) // GROUP):
            multiply_group(
                keys, group, queries[begin : begin + count], keys[0].shape[1],
                query_factors[begin : begin + count], scores,
            )  # fmt: skip
        seen_inputs = up_to(num_seen, INPUTS)
        for query in range(count):
            num_own = start + begin + query + 1 if is_causal else num_keys
            factors[1, query] = _weigh_keys(
                scores[query], value_factors, num_own, seen_inputs, largest_values[num_own - 1],
                _largest_weight(num_own), weights[0, query], weights[-1, query],
            )  # fmt: skip
            factors[0, query] = factors[1, query] * np.float32(256 if HAS_VNNI else 1)
        for group in range(num_groups):
            for part in range(_NUM_PARTS):
                multiply_group(
                    values, group, weights[part, :count], seen_inputs // UNIT, factors[part], sums[part]
                )
        for query in range(count):
            attended = out[begin + query, head * size : (head + 1) * size]
            for index in range(size):
                total = sums[0, query, index]
                if HAS_VNNI:
                    total = total + sums[1, query, index]
                attended[index] = total


@kernel
def new_step_attention(num_keys, head_dim):
    """Return room for what `attend_step` computes: the query, its factor and scores, and weights and sums by halves."""
    positions, num_groups = up_to(num_keys, GROUP), up_to(head_dim, GROUP) // GROUP
    return (
        np.zeros(up_to(head_dim, LANES), np.float32),
        new_words(1, head_dim),
        np.empty(1, np.float32),
        np.empty((1, positions), np.float32),
        np.empty((_NUM_PARTS, positions), INPUT),
        np.empty(_NUM_PARTS, np.float32),
        np.empty((_NUM_PARTS, num_groups * GROUP), np.float32),
        np.zeros((num_groups, GROUP), np.int32),
        np.ones((num_groups, GROUP), np.float32),
    )


@kernel
def attend_step(projected, row, heads, first, end, position, room, out):
    """Write what a row's queries make of keys and values up to its own `position` to its row of `out` [rows, width].

    This is done for the heads from `first` to `end`. `projected` has all queries of the row first.
    """
    prefer_wide_vectors()
    padded, query, query_factor, scores, weights, factors, sums, no_offsets, ones = room
    size, num_keys, num_vectors = out.shape[1] // len(heads.keys), position + 1, len(padded) // LANES
    num_groups, num_inputs = up_to(num_keys, GROUP) // GROUP, up_to(num_keys, INPUTS)
    upper_at, lower_at = query[0].ctypes.data, query[-1].ctypes.data
    for head in range(first, end):
        query_at = numbers_of(projected, row, head * size, size, padded)
        if HAS_VNNI:
            factor = quantize_halves(
                query_at, num_vectors, largest_word(size), OFFSET << 8, upper_at, lower_at
            )
        else:
            factor = quantize_query(query_at, num_vectors, largest_word(size), 0, upper_at, 0)
        query_factor[0] = score_scale(size) * factor
        keys = heads.keys[head], heads.key_offsets[head], heads.key_scales[head]
        multiply_words(keys, 0, num_groups, query, query_factor, scores)
        most = as_bits(_SMALLEST)
        for index in range(num_keys):
            most = max(most, as_bits(heads.value_factors[head, index]))
        factor = _weigh_keys(
            scores[0], heads.value_factors[head], num_keys, num_inputs, as_float(most),
            _largest_weight(num_keys), weights[0], weights[-1],
        )  # fmt: skip
        factors[0], factors[-1] = factor * np.float32(256), factor
        values = heads.values[head], no_offsets, ones
        for group in range(len(ones)):
            multiply_group(values, group, weights, num_inputs // UNIT, factors, sums)
        for index in range(size):
            total = sums[0, index] + sums[1, index] if HAS_VNNI else sums[0, index]
            out[row, head * size + index] = total
