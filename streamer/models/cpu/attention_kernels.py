"""The work of `head_attention` between its products, compiled: each kernel reads and writes memory once.

Bfloat16 is seen as uint16. Queries never meet here.
"""

from __future__ import annotations

import numpy as np

from streamer.models.cpu.numba_math import bfloat16, from_bfloat16, inline, kernel, rough_power_of_2

_LOG2_E = np.float32(1.4426950408889634)


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
