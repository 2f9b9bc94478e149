"""Attention of one head of a whole pass in int8, compiled; `layer_kernels` calls it for every head.

A query, a key and a value each have a scale per position. A value's scale goes into its softmax weight, so that a
position still depends on no later one. The weights have 16 bits (14 where products are of int16): with 8, many small
weights beside a large one would be lost. Integers sum up exactly, so a position does not depend on others' scales.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from streamer.models.cpu.int8_linear import largest_input, multiply_group
from streamer.models.cpu.integer_products import GROUP, HAS_VNNI, INPUT, INPUTS, OFFSET, UNIT
from streamer.models.cpu.llvm_intrinsics import as_bits, as_float, prefer_wide_vectors
from streamer.models.cpu.numba_math import (
    from_bfloat16,
    inline,
    kernel,
    largest_of,
    quantize_row,
    rough_power_of_2,
)
from streamer.models.cpu.quantization import LARGEST

QUERIES_AT_ONCE: Final = 16
"""The queries that attend together: their scores stay in the processor's second cache."""
_LOG2_E = np.float32(1.4426950408889634)
_LARGEST = np.float32(LARGEST)
_SMALLEST = np.float32(1e-30)
"""The lower bound of the largest value, so that values which are all zero divide by something."""
_WORD = np.int32 if HAS_VNNI else np.int16
"""The type of the weights of one unit of inputs together."""


@inline
def _up_to(number, unit):
    return -(-number // unit) * unit


@inline
def _quantize_heads(x, stride, size, quantized):
    """Round bfloat16 positions, the rows of flat `x`, to int8 `quantized` [positions, size]; returns their factors."""
    floats = np.empty(size, np.float32)
    factors = np.empty(len(quantized), np.float32)
    for position in range(len(quantized)):
        bits = x[position * stride : position * stride + size]
        for index in range(size):
            floats[index] = from_bfloat16(bits[index])
        factors[position] = quantize_row(floats, _LARGEST, 0, quantized[position, :size])
    return factors


@kernel
def _packed_keys(x, stride, count, size):
    """Return keys as an `Int8Linear` whose outputs are the positions and whose inputs are the head's."""
    num_groups, num_units = _up_to(count, GROUP) // GROUP, _up_to(size, INPUTS) // UNIT
    words = np.zeros((num_groups, num_units, GROUP), _WORD)
    offsets = np.zeros((num_groups, GROUP), np.int32)
    scales = np.zeros((num_groups, GROUP), np.float32)
    quantized = np.zeros((count, num_units * UNIT), np.int8)
    prefer_wide_vectors()
    factors = _quantize_heads(x, stride, size, quantized)
    for position in range(count):
        group, lane = position // GROUP, position % GROUP
        row = quantized[position].view(_WORD)
        for unit in range(num_units):
            words[group, unit, lane] = row[unit]
        total = 0
        for index in range(size):
            total += np.int32(quantized[position, index])
        offsets[group, lane] = -OFFSET * total
        scales[group, lane] = factors[position]
    return words, offsets, scales


@kernel
def _packed_values(x, stride, count, size):
    """Return values as an `Int8Linear` whose outputs are the head's and whose inputs are the positions.

    The values' factors [count], and the largest of these up to each, come along; a NaN among them stays.
    """
    num_groups, num_units = _up_to(size, GROUP) // GROUP, _up_to(count, INPUTS) // UNIT
    words = np.empty((num_groups, num_units, GROUP), _WORD)
    prefer_wide_vectors()
    quantized = np.zeros((num_units * UNIT, num_groups * GROUP), np.int8)
    factors = _quantize_heads(x, stride, size, quantized[:count])
    for unit in range(num_units):
        for group in range(num_groups):
            part = quantized[unit * UNIT : (unit + 1) * UNIT, group * GROUP : (group + 1) * GROUP]
            for lane in range(GROUP):
                word = np.int32(0)
                for place in range(UNIT):
                    word |= (np.int32(part[place, lane]) & np.int32(255)) << np.int32(8 * place)
                words[group, unit, lane] = word
    largest = np.empty(count, np.float32)
    most = as_bits(_SMALLEST)
    for position in range(count):
        most = max(most, as_bits(factors[position]))
        largest[position] = as_float(most)
    no_offsets, ones = np.zeros((num_groups, GROUP), np.int32), np.ones((num_groups, GROUP), np.float32)
    return (words, no_offsets, ones), factors, largest


@inline
def _weigh(scores, value_factors, unit, upper, lower):
    """Write 2 to the power of each score minus the largest, times its value's factor and `unit`, as integers.

    Returns the sum of the powers. Without VNNI, `upper` alone holds a weight, else it holds its upper byte.
    """
    largest = largest_of(scores)
    total = np.float32(0)
    for index in range(len(scores)):
        weight = rough_power_of_2(scores[index] - largest)
        total += weight
        whole = np.int32(np.rint(weight * (value_factors[index] * unit)))
        if HAS_VNNI:
            upper[index] = whole >> np.int32(8)
            lower[index] = whole & np.int32(255)
        else:
            upper[index] = whole
    return total


@kernel
def attend_with_head(heads, strides, num_keys, out, head, is_causal):
    """Write what the queries of a head make of its keys and values to float32 `out` [queries, heads, size].

    `heads` are queries, keys and values, bfloat16 seen as uint16 and flat from the head's first position on, with
    `strides` between positions. If `is_causal`, a query attends to the keys up to its own position.
    """
    prefer_wide_vectors()
    size = out.shape[2]
    packed_keys = _packed_keys(heads[1], strides[1], num_keys, size)
    packed_values, value_factors, largest_values = _packed_values(heads[2], strides[2], num_keys, size)
    head_units = packed_keys[0].shape[1]
    num_outputs = packed_values[0].shape[0] * GROUP
    queries = np.empty((QUERIES_AT_ONCE, head_units * UNIT), INPUT)
    query_factors = np.empty(QUERIES_AT_ONCE, np.float32)
    floats = np.empty(size, np.float32)
    scores = np.empty((QUERIES_AT_ONCE, _up_to(num_keys, GROUP)), np.float32)
    weights = np.empty((2, QUERIES_AT_ONCE, packed_values[0].shape[1] * UNIT), INPUT)
    factors = np.empty((2, QUERIES_AT_ONCE), np.float32)
    sums = np.empty((2, QUERIES_AT_ONCE, num_outputs), np.float32)
    scale = _LOG2_E / np.sqrt(np.float32(size))
    largest_weight = np.float32(65535) if HAS_VNNI else largest_input(num_keys)
    for first in range(0, len(out), QUERIES_AT_ONCE):
        count = min(QUERIES_AT_ONCE, len(out) - first)
        num_seen = first + count if is_causal else num_keys
        for query in range(count):
            at = (first + query) * strides[0]
            for index in range(size):
                floats[index] = from_bfloat16(heads[0][at + index])
            query_factors[query] = scale * quantize_row(
                floats, largest_input(size), OFFSET, queries[query, :size]
            )
        for group in range(_up_to(num_seen, GROUP) // GROUP):
            multiply_group(packed_keys, group, queries[:count], head_units, query_factors, scores)
        seen_units = _up_to(num_seen, INPUTS) // UNIT
        for query in range(count):
            end = first + query + 1 if is_causal else num_keys
            unit = largest_weight / largest_values[end - 1]
            upper, lower = weights[0, query], weights[1, query]
            total = _weigh(scores[query, :end], value_factors[:end], unit, upper[:end], lower[:end])
            upper[end : seen_units * UNIT] = 0
            lower[end : seen_units * UNIT] = 0
            factors[1, query] = np.float32(1) / (unit * total)
            factors[0, query] = factors[1, query] * np.float32(256 if HAS_VNNI else 1)
        for group in range(len(packed_values[0])):
            for half in range(2 if HAS_VNNI else 1):
                multiply_group(
                    packed_values, group, weights[half, :count], seen_units, factors[half], sums[half]
                )
        for query in range(count):
            for index in range(size):
                total = sums[0, query, index]
                if HAS_VNNI:
                    total = total + sums[1, query, index]
                out[first + query, head, index] = total
