"""The work of `head_attention` between its products, compiled: each kernel reads and writes memory once.

Bfloat16 is seen as uint16. Queries never meet here.
"""

from __future__ import annotations

import numpy as np

from streamer.models.cpu.llvm_intrinsics import as_bits, as_float
from streamer.models.cpu.numba_math import (
    bfloat16,
    from_bfloat16,
    inline,
    kernel,
    largest_of,
    quantize_row,
    rough_power_of_2,
)
from streamer.models.cpu.quantization import LARGEST

_LARGEST = np.float32(LARGEST)
_LOG2_E = np.float32(1.4426950408889634)
_LOW = np.float32(2 * LARGEST)
"""How many steps of the lower half of a weight make one of the upper half: it holds what rounding left, up to 1/2."""
_SMALLEST = np.float32(1e-30)
"""The lower bound of the largest value, so that values which are all zero divide by something."""


@inline
def _ordered(x):
    """Map a bfloat16's bits to an int16 of the same order, and back; the largest integer is found quickly."""
    bits = np.int16(x)
    return np.int16(bits ^ ((bits >> np.int16(15)) & np.int16(0x7FFF)))


@kernel
def exponentiate(scores, num_keys, scale, first, is_causal, totals):
    """Replace bfloat16 scores [heads, queries, keys] by e^(scale * (score - largest)); writes each query's sum, too.

    The keys from `num_keys` on get a zero. Query q is at position `first + q`; if `is_causal`, the keys after it get a
    zero, too.
    """
    num_heads, num_queries, _ = scores.shape
    scale = np.float32(scale) * _LOG2_E
    for head in range(num_heads):
        for query in range(num_queries):
            count = min(num_keys, first + query + 1) if is_causal else num_keys
            row = scores[head, query]
            highest = np.int16(-0x8000)
            for index in range(count):
                highest = max(highest, _ordered(row[index]))
            largest = from_bfloat16(np.uint16(_ordered(highest)))
            total = np.float32(0)
            for index in range(count):
                weight = rough_power_of_2((from_bfloat16(row[index]) - largest) * scale)
                total += weight
                row[index] = bfloat16(weight)
            row[count:] = np.uint16(0)
            totals[head, query] = total


@kernel
def divide(x, totals, out, column):
    """Write bfloat16 `x` [heads, rows, size] over `totals` [heads, rows] to `out` [rows, width] from `column` on."""
    num_heads, num_rows, size = x.shape
    for head in range(num_heads):
        begin = column + head * size
        for row in range(num_rows):
            inverse = np.float32(1) / totals[head, row]
            for index in range(size):
                out[row, begin + index] = bfloat16(from_bfloat16(x[head, row, index]) * inverse)


@kernel
def quantize_heads(x, strides, quantized, factors):
    """Round bfloat16 heads to int8 [heads, length, size]; writes the factors [heads, length], too.

    `x` is flat: a head's position begins at the sum of head and position times their `strides`.
    """
    num_heads, length, size = quantized.shape
    floats = np.empty(size, np.float32)
    for position in range(length):
        for head in range(num_heads):
            begin = head * strides[0] + position * strides[1]
            bits = x[begin : begin + size]
            for index in range(size):
                floats[index] = from_bfloat16(bits[index])
            factors[head, position] = quantize_row(floats, _LARGEST, quantized[head, position])


@kernel
def keep_largest(x, largest):
    """Write to `largest` the largest of `x` [heads, length] up to each place; none is negative, and NaN stays."""
    num_heads, length = x.shape
    for head in range(num_heads):
        most = as_bits(_SMALLEST)
        for index in range(length):
            most = max(most, as_bits(x[head, index]))
            largest[head, index] = as_float(most)


@inline
def _multiply(sums, factors, out):
    for index in range(len(sums)):
        out[index] = np.float32(sums[index]) * factors[index]


@inline
def _exponentiate(x, largest, scale):
    """Replace `x` by e^(scale * (x - largest)); returns the sum."""
    scale *= _LOG2_E
    total = np.float32(0)
    for index in range(len(x)):
        weight = rough_power_of_2((x[index] - largest) * scale)
        total += weight
        x[index] = weight
    return total


@inline
def _halve(x, factors, unit, high, low):
    """Write `x * factors * unit`, 0 to LARGEST, as nearest integers, and what that leaves in steps of 1 / _LOW."""
    for index in range(len(x)):
        exact = x[index] * (factors[index] * unit)
        nearest = np.rint(exact)
        high[index] = np.int32(nearest)
        low[index] = np.int32(np.rint((exact - nearest) * _LOW))


@kernel
def weigh(sums, query_factors, for_keys, scale, first, is_causal, weights, out_factors):
    """Make two int8 halves of the softmax weights, each times its value's factor, from products of queries and keys.

    `sums` is int32 [queries, keys]; `for_keys` are the keys' factors, the values' and the largest of these so far, each
    [keys]. `weights` is [2, queries, keys]; query q is at position `first + q`, and if `is_causal`, the keys
    after it get zeros. What the halves sum up to, `add_halves` multiplies with `out_factors` [queries].
    """
    key_factors, value_factors, largest_values = for_keys
    num_queries, num_keys = sums.shape
    floats = np.empty(num_keys, np.float32)
    for query in range(num_queries):
        count = min(num_keys, first + query + 1) if is_causal else num_keys
        x, high, low = floats[:count], weights[0, query], weights[1, query]
        _multiply(sums[query, :count], key_factors[:count], x)
        total = _exponentiate(x, largest_of(x), np.float32(scale) * query_factors[query])
        most = largest_values[count - 1]
        unit = _LARGEST / most
        _halve(x, value_factors[:count], unit, high[:count], low[:count])
        high[count:] = 0
        low[count:] = 0
        out_factors[query] = np.float32(1) / (unit * total)


@kernel
def add_halves(sums, factors, out, column):
    """Write the sums of both halves, int32 [2, rows, size], as bfloat16 to `out` [rows, width] from `column` on."""
    _, num_rows, size = sums.shape
    for row in range(num_rows):
        high, low, factor = sums[0, row], sums[1, row], factors[row]
        for index in range(size):
            whole = np.float32(high[index]) + np.float32(low[index]) * (np.float32(1) / _LOW)
            out[row, column + index] = bfloat16(whole * factor)
