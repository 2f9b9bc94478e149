"""The work of `int8_forward` between its integer products, compiled: each kernel reads and writes memory once.

Rows never meet here. A row that holds a number that is not finite gets the factor NaN, and so stays visible.
"""

from __future__ import annotations

import numpy as np

from streamer.models.cpu.numba_math import (
    bfloat16,
    from_bfloat16,
    kernel,
    moments,
    quantize_row,
    rough_gelu,
)
from streamer.models.cpu.quantization import LARGEST

_LARGEST = np.float32(LARGEST)


@kernel
def quantize_norms(x, gain, bias, quantized, factors):
    """Round the layer norm of float32 `x` [rows, width] to int8; writes the rows' factors [rows], too."""
    num_rows, width = x.shape
    normed = np.empty(width, np.float32)
    for row in range(num_rows):
        mean, scale = moments(x[row])
        for index in range(width):
            normed[index] = (x[row, index] - mean) * scale * gain[index] + bias[index]
        factors[row] = quantize_row(normed, _LARGEST, 0, quantized[row])


@kernel
def quantize_bfloat16(x, quantized, factors):
    """Round bfloat16 `x` [rows, width], seen as uint16, to int8; writes the rows' factors [rows], too."""
    num_rows, width = x.shape
    floats = np.empty(width, np.float32)
    for row in range(num_rows):
        for index in range(width):
            floats[index] = from_bfloat16(x[row, index])
        factors[row] = quantize_row(floats, _LARGEST, 0, quantized[row])


@kernel
def quantize_gelu(sums, factors, scale, quantized, new_factors):
    """Round the GELU of `sums` [rows, width] times `factors` [rows] times `scale` [width] to int8, with new factors."""
    num_rows, width = sums.shape
    floats = np.empty(width, np.float32)
    for row in range(num_rows):
        factor = factors[row]
        for index in range(width):
            floats[index] = np.float32(sums[row, index]) * factor * scale[index]
        rough_gelu(floats)
        new_factors[row] = quantize_row(floats, _LARGEST, 0, quantized[row])


@kernel
def to_bfloat16(sums, factors, scale, out):
    """Write `sums` [rows, width] times `factors` [rows] times `scale` [width] as bfloat16, seen as uint16.

    NaN is written apart: rounding could carry its bits over into the sign, and then it would be a number.
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
    """Write float32 `x` [rows, width] plus `sums` times `factors` [rows] times `scale` [width]."""
    num_rows, width = sums.shape
    for row in range(num_rows):
        factor = factors[row]
        for index in range(width):
            out[row, index] = x[row, index] + np.float32(sums[row, index]) * factor * scale[index]
