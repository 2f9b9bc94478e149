"""A layer of a whole pass in three compiled functions, whose threads share out positions or heads (`compiled_layer`).

A block of positions goes through all products that follow each other, so that what lies between them stays in the
processor's cache. Positions meet in attention alone. One that holds a number that is not finite gets the factor NaN,
and so stays visible.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import prange

from streamer.models.cpu.int8_attention import attend_with_head
from streamer.models.cpu.int8_linear import (
    largest_input,
    multiply,
    multiply_words,
    new_words,
    quantize_words,
)
from streamer.models.cpu.integer_products import INPUT, INPUTS, OFFSET
from streamer.models.cpu.llvm_intrinsics import prefer_wide_vectors
from streamer.models.cpu.numba_math import (
    bfloat16,
    inline,
    kernel,
    moments,
    parallel,
    quantize_row,
    rough_gelu,
)
from streamer.models.cpu.numba_threads import Team, take

POSITIONS_AT_ONCE: Final = 96
"""The most positions of a block: more would not leave the processor's second cache room for what widening makes."""
_SMALLEST_BLOCK: Final = 16
"""The unit of a block's positions."""
_ROWS_OF_WORDS: Final = 32
"""The positions of a block whose inputs are of int16."""


@kernel
def _block_size(num_positions, num_threads):
    """Return the positions of a block, so that every thread has about as many."""
    num_blocks = -(-num_positions // POSITIONS_AT_ONCE)
    num_blocks += -num_blocks % num_threads
    return -(-num_positions // (num_blocks * _SMALLEST_BLOCK)) * _SMALLEST_BLOCK


@inline
def _quantize_norm(x, norm, normed, quantized):
    """Round a row's layer norm, with a gain and a bias, to integers; `normed` is overwritten. Returns the factor."""
    gain, bias = norm
    mean, scale = moments(x)
    for index in range(len(x)):
        normed[index] = (x[index] - mean) * scale * gain[index] + bias[index]
    return quantize_row(normed, largest_input(len(x)), OFFSET, quantized)


@kernel
def _new_inputs(size, width):
    """Return room for a block's quantized inputs, and their factors."""
    return np.empty((size, -(-width // INPUTS) * INPUTS), INPUT), np.empty(size, np.float32)


@kernel
def project_some(x, norm, linear, out, team):
    """Do a thread's share of `project`."""
    prefer_wide_vectors()
    width = x.shape[1]
    size = _block_size(len(x), team.num_threads)
    quantized, factors = _new_inputs(size, width)
    normed, y = np.empty(width, np.float32), np.empty((size, linear[2].size), np.float32)
    begin = take(team) * size
    while begin < len(x):
        count = min(size, len(x) - begin)
        for row in range(count):
            factors[row] = _quantize_norm(x[begin + row], norm, normed, quantized[row, :width])
        multiply(linear, quantized[:count], factors, y)
        for row in range(count):
            if factors[row] != factors[row]:
                out[begin + row] = np.uint16(0x7FC0)  # rounding NaN could carry its bits over into the sign
            else:
                for index in range(out.shape[1]):
                    out[begin + row, index] = bfloat16(y[row, index])
        begin = take(team) * size


@kernel
def finish_some(x, attended, norm, linears, out, team):
    """Do a thread's share of `finish`."""
    prefer_wide_vectors()
    merge, widen, narrow = linears[:3], linears[3:6], linears[6:]
    width, inner = x.shape[1], 4 * x.shape[1]
    size = _block_size(len(x), team.num_threads)
    quantized, factors = _new_inputs(size, width)
    wide_quantized, wide_factors = _new_inputs(size, inner)
    normed, y = np.empty(width, np.float32), np.empty((size, merge[2].size), np.float32)
    wide = np.empty((size, widen[2].size), np.float32)
    begin = take(team) * size
    while begin < len(x):
        count = min(size, len(x) - begin)
        for row in range(count):
            factors[row] = quantize_row(
                attended[begin + row], largest_input(width), OFFSET, quantized[row, :width]
            )
        multiply(merge, quantized[:count], factors, y)
        for row in range(count):
            residual = out[begin + row]
            for index in range(width):
                residual[index] = x[begin + row, index] + y[row, index]
            factors[row] = _quantize_norm(residual, norm, normed, quantized[row, :width])
        multiply(widen, quantized[:count], factors, wide)
        for row in range(count):
            rough_gelu(wide[row])
            wide_factors[row] = quantize_row(
                wide[row, :inner], largest_input(inner), OFFSET, wide_quantized[row, :inner]
            )
        multiply(narrow, wide_quantized[:count], wide_factors, y)
        for row in range(count):
            for index in range(width):
                out[begin + row, index] += y[row, index]
        begin = take(team) * size


@kernel
def attend_some(heads, strides, num_keys, out, is_causal, team):
    """Do a thread's share of `attend`: some heads of some rows."""
    queries, keys, values = heads
    num_rows, _, num_heads, _ = out.shape
    item = take(team)
    while item < num_rows * num_heads:
        row, head = item // num_heads, item % num_heads
        flat = (
            queries[row * strides[0, 0] + head * strides[0, 1] :],
            keys[row * strides[1, 0] + head * strides[1, 1] :],
            values[row * strides[2, 0] + head * strides[2, 1] :],
        )
        by_position = strides[0, 2], strides[1, 2], strides[2, 2]
        attend_with_head(flat, by_position, num_keys, out[row], head, is_causal)
        item = take(team)


@kernel
def multiply_some(x, linear, out, team):
    """Do a thread's share of `multiply_rows`."""
    prefer_wide_vectors()
    words = new_words(_ROWS_OF_WORDS, x.shape[1])
    factors = np.empty(_ROWS_OF_WORDS, np.float32)
    begin = take(team) * _ROWS_OF_WORDS
    while begin < len(x):
        count = min(_ROWS_OF_WORDS, len(x) - begin)
        for row in range(count):
            factors[row] = quantize_words(x[begin + row], row, words)
        for group in range(len(linear[0])):
            multiply_words(linear, group, words, factors[:count], out[begin : begin + count])
        begin = take(team) * _ROWS_OF_WORDS


@parallel
def multiply_rows(x, linear, out, counters, num_threads):
    """Multiply float32 `x` [rows, inputs], rounded to int16, with an `Int8Linear` to `out` [rows, outputs]."""
    for _ in prange(num_threads):
        multiply_some(x, linear, out, Team(num_threads, counters, np.ones(1, np.int64)))


@parallel
def project(x, norm, linear, out, counters, num_threads):
    """Write queries, keys and values of float32 `x` [positions, width] as bfloat16 to `out` [positions, 3 * width]."""
    for _ in prange(num_threads):
        project_some(x, norm, linear, out, Team(num_threads, counters, np.ones(1, np.int64)))


@parallel
def attend(heads, strides, num_keys, out, is_causal, counters, num_threads):
    """Write what queries make of keys and values to float32 `out` [rows, queries, heads, head_dim].

    `heads` are queries, keys and values, bfloat16 seen as uint16, each flat; `strides` [3, 3] are theirs of rows,
    heads and positions.
    """
    for _ in prange(num_threads):
        team = Team(num_threads, counters, np.ones(1, np.int64))
        attend_some(heads, strides, num_keys, out, is_causal, team)


@parallel
def finish(x, attended, norm, linears, out, counters, num_threads):
    """Write the next residual to `out`, given this one and what attention made of it, float32 [positions, width].

    `linears` are the fields of those that merge heads, widen and narrow; a parallel loop takes no tuples of tuples.
    """
    for _ in prange(num_threads):
        finish_some(x, attended, norm, linears, out, Team(num_threads, counters, np.ones(1, np.int64)))
