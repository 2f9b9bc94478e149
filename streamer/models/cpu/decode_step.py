"""One decode step of a causal transformer on a CPU as a single compiled function, with weights in int8.

A step of one token a row is a few hundred small products. Called one by one through a framework, their
dispatch costs more than the arithmetic, so the whole step, all layers of it, is compiled here (numba), and the
weights are read as bytes, once for all rows. Threads are woken once a step: each runs all of it, takes what
pieces of work are left, and waits for the others where it needs their results.

The inputs of a product are rounded to integers too, row by row, so that its sums are exact: whatever the number of
rows and threads, a row's result is the same to the last bit.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import config, get_num_threads, prange, set_num_threads

from streamer.models.cpu.llvm_intrinsics import (
    GROUP,
    HEAD_PART,
    POSITIONS,
    ROWS_AT_ONCE,
    add_atomically,
    add_values,
    dot_keys,
    product_of_1,
    product_of_2,
    product_of_4,
    product_of_8,
    yield_thread,
)
from streamer.models.cpu.numba_math import bfloat16, exp, gelu, kernel, norm, parallel, quantize, widened

Floats = npt.NDArray[np.float32]

_LINE = 8
"""int64 in a line of the processor's cache: counters that share none do not disturb each other."""
_SPINS = 2000
"""Looks at a counter before the core is offered to someone else."""

_threads = threading.Lock()
"""Numba ends the process where two models share out work to its threads at once."""

# Numba's other layers share OpenMP with torch and would change its number of threads. This one gives each of the
# `num_threads` pieces of a loop a thread of its own, which is what they need to wait for each other.
config.THREADING_LAYER = "workqueue"  # type: ignore[attr-defined]


@kernel
def _take(counters, phase):
    """The next piece of a phase's work that no thread has begun."""
    return add_atomically(counters[phase * _LINE :].ctypes.data, 1)


@kernel
def _meet(counters, meeting, num_threads):
    """Wait until all threads have come to their `meeting`th meeting."""
    place = counters.ctypes.data
    add_atomically(place, 1)
    looks = 0
    while add_atomically(place, 0) < meeting * num_threads:
        looks += 1
        if looks > _SPINS:
            yield_thread()


@kernel
def _outputs(weight, scale, quantized, factors, y, start):
    """`GROUP` outputs of every row, from `start` on; the weights are read from memory once."""
    num_rows = len(factors)
    row = 0
    weight_at, scale_at = weight.ctypes.data, scale.ctypes.data
    x_stride, y_stride = quantized.strides[0], y.strides[0]
    num_inputs = quantized.shape[1]
    while row < num_rows:
        left = num_rows - row
        x_at, factor_at = quantized[row].ctypes.data, factors[row:].ctypes.data
        y_at = y[row, start:].ctypes.data
        if left >= 8 and ROWS_AT_ONCE >= 8:
            product_of_8(weight_at, scale_at, x_at, x_stride, num_inputs, factor_at, y_at, y_stride)
            row += 8
        elif left >= 4 and ROWS_AT_ONCE >= 4:
            product_of_4(weight_at, scale_at, x_at, x_stride, num_inputs, factor_at, y_at, y_stride)
            row += 4
        elif left >= 2:
            product_of_2(weight_at, scale_at, x_at, x_stride, num_inputs, factor_at, y_at, y_stride)
            row += 2
        else:
            product_of_1(weight_at, scale_at, x_at, x_stride, num_inputs, factor_at, y_at, y_stride)
            row += 1


@kernel
def _multiply(weight, scale, quantized, factors, y, with_gelu, team, phase):
    """This thread's share of a linear layer, and of the GELU behind it.

    `weight` int8 [groups, inputs / 2, GROUP, 2], `scale` [groups, GROUP], `y` [rows, groups * GROUP].
    """
    counters, num_threads = team
    num_groups = len(weight)
    size = max(1, num_groups // (8 * num_threads)) if num_threads > 1 else num_groups
    begin = _take(counters, phase) * size
    while begin < num_groups:
        for group in range(begin, min(begin + size, num_groups)):
            _outputs(weight[group], scale[group], quantized, factors, y, group * GROUP)
            if with_gelu:
                for row in range(len(y)):
                    gelu(y[row, group * GROUP : (group + 1) * GROUP])
        begin = _take(counters, phase) * size


@kernel
def _head(query, key, value, keys, values, position, scores, out):
    """Attention of one head of one row; keys and values [positions, head_dim] are bfloat16."""
    size = len(query)
    for index in range(size):
        keys[position, index], values[position, index] = bfloat16(key[index]), bfloat16(value[index])
    count = position + 1
    num_blocks = count // POSITIONS if size % HEAD_PART == 0 else 0
    block_bytes, score_bytes = 2 * POSITIONS * size, 4 * POSITIONS
    query_at, keys_at, values_at = query.ctypes.data, keys.ctypes.data, values.ctypes.data
    scores_at, out_at = scores.ctypes.data, out.ctypes.data
    for block in range(num_blocks):
        dot_keys(query_at, keys_at + block * block_bytes, size, scores_at + block * score_bytes)
    for place in range(num_blocks * POSITIONS, count):
        scores[place] = 0
        for index in range(size):
            scores[place] += query[index] * widened(keys[place, index])
    largest = np.float32(-np.inf)
    for place in range(count):
        largest = max(largest, scores[place])
    scale, total = np.float32(1) / np.sqrt(np.float32(size)), np.float32(0)
    for place in range(count):
        scores[place] = exp((scores[place] - largest) * scale)
        total += scores[place]
    out[:] = 0
    if num_blocks:
        add_values(scores_at, values_at, num_blocks, size, out_at)
    for place in range(num_blocks * POSITIONS, count):
        for index in range(size):
            out[index] += scores[place] * widened(values[place, index])
    for index in range(size):
        out[index] /= total


@kernel
def _attend(fused, memory, places, num_heads, out, counters, phase):
    """This thread's share of attention: some heads of some rows."""
    keys, values, scores = memory
    slots, positions = places
    num_rows, width = out.shape
    size = width // num_heads
    item = _take(counters, phase)
    while item < num_rows * num_heads:
        row, head = item // num_heads, item % num_heads
        begin, slot = head * size, slots[row]
        _head(
            fused[row, begin : begin + size],
            fused[row, width + begin : width + begin + size],
            fused[row, 2 * width + begin : 2 * width + begin + size],
            keys[slot, head],
            values[slot, head],
            positions[row],
            scores,
            out[row, begin : begin + size],
        )
        item = _take(counters, phase)


@kernel
def _run(x, layers, head, cache, places, num_heads, shared, logits, counters, num_threads):
    """What one thread does of a step; see `decode_step`. All threads keep an `x` of their own."""
    gains, fused_weight, fused_scale, merge_weight, merge_scale = layers[:5]
    up_weight, up_scale, down_weight, down_scale = layers[5:]
    last_gain, head_weight, head_scale = head
    keys, values = cache
    fused, attended, added, wide = shared
    num_rows, width = x.shape
    x = x.copy()
    normed, factors = np.empty((num_rows, width), np.float32), np.empty(num_rows, np.float32)
    inputs = np.zeros((num_rows, 2 * fused_weight.shape[2]), np.int16)
    wide_inputs = np.zeros((num_rows, 2 * down_weight.shape[2]), np.int16)
    scores = np.empty(keys.shape[3], np.float32)
    team = (counters, num_threads)
    phase = 0
    for layer in range(len(fused_weight)):
        norm(x, gains[layer, 0], normed)
        quantize(normed, inputs, factors)
        _multiply(fused_weight[layer], fused_scale[layer], inputs, factors, fused, False, team, phase + 1)
        _meet(counters, phase + 1, num_threads)
        memory = (keys[layer], values[layer], scores)
        _attend(fused, memory, places, num_heads, attended, counters, phase + 2)
        _meet(counters, phase + 2, num_threads)
        quantize(attended, inputs, factors)
        _multiply(merge_weight[layer], merge_scale[layer], inputs, factors, added, False, team, phase + 3)
        _meet(counters, phase + 3, num_threads)
        x += added[:, :width]
        norm(x, gains[layer, 1], normed)
        quantize(normed, inputs, factors)
        _multiply(up_weight[layer], up_scale[layer], inputs, factors, wide, True, team, phase + 4)
        _meet(counters, phase + 4, num_threads)
        quantize(wide[:, : 4 * width], wide_inputs, factors)
        _multiply(down_weight[layer], down_scale[layer], wide_inputs, factors, added, False, team, phase + 5)
        _meet(counters, phase + 5, num_threads)
        x += added[:, :width]
        phase += 5
    norm(x, last_gain, normed)
    quantize(normed, inputs, factors)
    _multiply(head_weight, head_scale, inputs, factors, logits, False, team, phase + 1)


@kernel
def _alone(x, layers, head, cache, places, num_heads, shared, logits, counters):
    _run(x, layers, head, cache, places, num_heads, shared, logits, counters, 1)


@parallel
def _together(x, layers, head, cache, places, num_heads, shared, logits, counters, num_threads):
    for _ in prange(num_threads):
        _run(x, layers, head, cache, places, num_heads, shared, logits, counters, num_threads)


def decode_step(
    x: Floats, layers: Any, head: Any, cache: Any, places: Any, num_heads: int, num_threads: int
) -> Floats:
    """One token for every row: logits [rows, outputs of `head`] of `x` [rows, width], embedded, float32.

    `layers`: norm gains [layers, 2, width], then the packed weights and scales (see `int8`) of query-key-value,
    merge, widening and narrowing; `head`: norm gain [width], packed weights and scales. `cache`: keys and values
    [layers, slots, heads, positions, head_dim], bfloat16 seen as uint16; `places`: slots and positions, [rows] each,
    where each row appends. Runs on up to `num_threads` threads.
    """
    num_rows, width = x.shape
    num_phases = 1 + 5 * len(layers[0]) + 1
    counters = np.zeros(num_phases * _LINE, np.int64)
    fused, added, wide = (
        np.empty((num_rows, layers[weight].shape[1] * GROUP), np.float32) for weight in (1, 3, 5)
    )
    shared = (fused, np.empty((num_rows, width), np.float32), added, wide)
    logits = np.empty((num_rows, len(head[1]) * GROUP), np.float32)
    given = (x, layers, head, cache, places, num_heads, shared, logits, counters)
    if num_threads == 1:
        _alone(*given)
    else:
        with _threads:
            set_num_threads(min(num_threads, config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
            _together(*given, get_num_threads())
    return logits
