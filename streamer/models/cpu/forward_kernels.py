"""What `wide` does between the integer products of a whole pass, compiled: each reads and writes memory once.

Rows never meet here. A row that holds what is not a finite number gets the factor NaN, and so stays visible.
"""

from __future__ import annotations

import numpy as np

from streamer.models.cpu.llvm_intrinsics import as_bits, as_float
from streamer.models.cpu.numba_math import bfloat16, gelu, inline, kernel, widened

_EPSILON = 1e-5
_INFINITY = 0x7F80_0000
"""Its bits; those of what is not a number are more."""
_SMALLEST = 1e-30
"""A row of nothing larger counts as zero."""
_LARGEST = 127


@inline
def _quantize(x, quantized):
    """One row of float32 to int8; returns the factor that makes it floats again."""
    bits = np.uint32(0)
    for index in range(len(x)):
        bits = max(bits, as_bits(x[index]) & np.uint32(0x7FFF_FFFF))
    most = as_float(bits)
    factor, inverse = np.float32(np.nan), np.float32(0)
    if bits < np.uint32(_INFINITY):
        factor = most / np.float32(_LARGEST)
        if most >= np.float32(_SMALLEST):
            inverse = np.float32(_LARGEST) / most
    if inverse == 0:
        quantized[:] = 0
    else:
        for index in range(len(x)):
            quantized[index] = np.int8(np.int32(np.rint(x[index] * inverse)))
    return factor


@kernel
def quantize_norms(x, gain, bias, quantized, factors):
    """Layer norm of float32 `x` [rows, width] to int8 and factors [rows]."""
    num_rows, width = x.shape
    normed = np.empty(width, np.float32)
    for row in range(num_rows):
        mean = np.float32(0)
        for index in range(width):
            mean += x[row, index]
        mean /= np.float32(width)
        variance = np.float32(0)
        for index in range(width):
            variance += (x[row, index] - mean) * (x[row, index] - mean)
        scale = np.float32(1) / np.sqrt(variance / np.float32(width) + np.float32(_EPSILON))
        for index in range(width):
            normed[index] = (x[row, index] - mean) * scale * gain[index] + bias[index]
        factors[row] = _quantize(normed, quantized[row])


@kernel
def quantize_bfloat16(x, quantized, factors):
    """bfloat16 `x` [rows, width], as uint16, to int8 and factors [rows]."""
    num_rows, width = x.shape
    floats = np.empty(width, np.float32)
    for row in range(num_rows):
        for index in range(width):
            floats[index] = widened(x[row, index])
        factors[row] = _quantize(floats, quantized[row])


@kernel
def quantize_gelu(sums, factors, scale, quantized, new_factors):
    """GELU of `sums` [rows, width] times `factors` [rows] times `scale` [width], to int8 and new factors."""
    num_rows, width = sums.shape
    floats = np.empty(width, np.float32)
    for row in range(num_rows):
        factor = factors[row]
        for index in range(width):
            floats[index] = np.float32(sums[row, index]) * factor * scale[index]
        gelu(floats)
        new_factors[row] = _quantize(floats, quantized[row])


@kernel
def to_bfloat16(sums, factors, scale, out):
    """`sums` [rows, width] times `factors` [rows] times `scale` [width], as bfloat16 in uint16.

    The upper half of a NaN is a NaN still: only its factor makes one, and that has no bits to carry over.
    """
    num_rows, width = sums.shape
    for row in range(num_rows):
        factor = factors[row]
        if factor != factor:
            out[row] = np.uint16(0x7FC0)
        else:
            for index in range(width):
                out[row, index] = bfloat16(np.float32(sums[row, index]) * factor * scale[index])


@kernel
def add_scaled(x, sums, factors, scale, out):
    """float32 `x` [rows, width] plus `sums` times `factors` [rows] times `scale` [width]."""
    num_rows, width = sums.shape
    for row in range(num_rows):
        factor = factors[row]
        for index in range(width):
            out[row, index] = x[row, index] + np.float32(sums[row, index]) * factor * scale[index]


@inline
def _ordered(x):
    """The bits of a bfloat16 to an int16 as far up as it is, and back; a maximum of integers is quick to find."""
    bits = np.int16(x)
    return np.int16(bits ^ ((bits >> np.int16(15)) & np.int16(0x7FFF)))


@inline
def _power_of_2(x):
    """2^x for x <= 0, to 1e-5 of it: far below what bfloat16 can tell."""
    x = max(x, np.float32(-126))
    whole = np.rint(x)
    f = x - whole
    fraction = np.float32(0.055503324) + f * np.float32(0.009618129)
    fraction = np.float32(0.6931472) + f * (np.float32(0.2402265) + f * fraction)
    fraction = np.float32(1) + f * fraction
    return fraction * as_float(np.uint32((np.int32(whole) + np.int32(127)) << np.int32(23)))


@kernel
def soften(scores, scale, first, is_causal, totals):
    """e^(scale * (score - largest)) in place of bfloat16 scores [heads, queries, keys], and each query's sum.

    Query q is at position `first + q`; where `is_causal`, keys behind it get a zero.
    """
    num_heads, num_queries, num_keys = scores.shape
    scale = np.float32(scale * 1.4426950408889634)
    for head in range(num_heads):
        for query in range(num_queries):
            count = min(num_keys, first + query + 1) if is_causal else num_keys
            row = scores[head, query]
            highest = np.int16(-0x8000)
            for index in range(count):
                highest = max(highest, _ordered(row[index]))
            largest = widened(np.uint16(_ordered(highest)))
            total = np.float32(0)
            for index in range(count):
                weight = _power_of_2((widened(row[index]) - largest) * scale)
                total += weight
                row[index] = bfloat16(weight)
            row[count:] = np.uint16(0)
            totals[head, query] = total


@kernel
def divide(x, totals, out, column):
    """bfloat16 `x` [heads, rows, size] over `totals` [heads, rows], to `out` [rows, width] from `column` on."""
    num_heads, num_rows, size = x.shape
    for head in range(num_heads):
        begin = column + head * size
        for row in range(num_rows):
            inverse = np.float32(1) / totals[head, row]
            for index in range(size):
                out[row, begin + index] = bfloat16(widened(x[head, row, index]) * inverse)
