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
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config, get_num_threads, njit, prange, set_num_threads, uintp

from streamer.models.vector_code import (
    GROUP,
    ROWS_AT_ONCE,
    add_atomically,
    as_bits,
    as_float,
    product_of_1,
    product_of_2,
    product_of_4,
    product_of_8,
    yield_thread,
)

_EPSILON = 1e-5
_INFINITY = 0x7F80_0000
"""Its bits; those of what is not a number are more."""
_SMALLEST = 1e-30
"""A row of nothing larger counts as zero."""
_LINE = 8
"""int64 in a line of the processor's cache: counters that share none do not disturb each other."""
_SPINS = 2000
"""Looks at a counter before the core is offered to someone else."""

_threads = threading.Lock()
"""Numba ends the process where two models share out work to its threads at once."""

# Numba's other layers share OpenMP with torch and would change its number of threads. This one gives each of the
# `num_threads` pieces of a loop a thread of its own, which is what they need to wait for each other.
config.THREADING_LAYER = "workqueue"  # type: ignore[attr-defined]


def _compiled(**options: Any) -> Callable[..., Any]:
    """A decorator: compiled at the first call, and kept on disk for the next start where that can be written.

    Sums may be reordered and fused, but NaN stays NaN: the sampler looks for it.
    """

    def compiled(function: Callable[..., Any]) -> Any:
        options.update(fastmath={"reassoc", "contract", "nsz", "arcp"}, nogil=True, error_model="numpy")
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError:  # no place for a cache, as in a container without a home
            return njit(**options)(function)

    return compiled


_kernel = _compiled()
_inline = _compiled(inline="always")
_parallel = _compiled(parallel=True)


@_kernel
def _take(counters, phase):
    """The next piece of a phase's work that no thread has begun."""
    return add_atomically(uintp(counters[phase * _LINE :].ctypes.data), 1)


@_kernel
def _meet(counters, meeting, num_threads):
    """Wait until all threads have come to their `meeting`th meeting."""
    place = uintp(counters.ctypes.data)
    add_atomically(place, 1)
    looks = 0
    while add_atomically(place, 0) < meeting * num_threads:
        looks += 1
        if looks > _SPINS:
            yield_thread()


@_kernel
def _quantize(x, quantized, factors):
    """Every row to integers and the factor that makes them floats again; one that is not finite becomes NaN.

    As large as can be without the sum of products with int8 weights leaving int32: 22,017 for a width of 768.
    """
    width = x.shape[1]
    largest = np.float32(min(32767, 0x7FFF_FFFF // (127 * width)))
    for row in range(x.shape[0]):
        bits = np.uint32(0)
        for index in range(width):
            bits = max(bits, as_bits(x[row, index]) & np.uint32(0x7FFF_FFFF))
        most = as_float(bits)
        inverse = np.float32(0)
        if bits >= np.uint32(_INFINITY):
            factors[row] = np.float32(np.nan)
        elif most < np.float32(_SMALLEST):
            factors[row] = np.float32(0)
        else:
            factors[row] = most / largest
            inverse = largest / most
        if inverse == 0:
            quantized[row] = 0
        else:
            for index in range(width):
                quantized[row, index] = np.int16(np.int32(np.rint(x[row, index] * inverse)))


@_kernel
def _outputs(weight, scale, quantized, factors, y, start):
    """`GROUP` outputs of every row, from `start` on; the weights are read from memory once."""
    num_rows = len(factors)
    row = 0
    weight_at, scale_at = uintp(weight.ctypes.data), uintp(scale.ctypes.data)
    x_stride, y_stride = uintp(quantized.strides[0]), uintp(y.strides[0])
    num_inputs = uintp(quantized.shape[1])
    while row < num_rows:
        left = num_rows - row
        x_at, factor_at = uintp(quantized[row].ctypes.data), uintp(factors[row:].ctypes.data)
        y_at = uintp(y[row, start:].ctypes.data)
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


@_kernel
def _multiply(weight, scale, quantized, factors, y, with_gelu, counters, phase, num_threads):
    """This thread's share of a linear layer, and of the GELU behind it.

    `weight` int8 [groups, inputs / 2, GROUP, 2], `scale` [groups, GROUP], `y` [rows, groups * GROUP].
    """
    num_groups = len(weight)
    size = max(1, num_groups // (8 * num_threads)) if num_threads > 1 else num_groups
    begin = _take(counters, phase) * size
    while begin < num_groups:
        for group in range(begin, min(begin + size, num_groups)):
            _outputs(weight[group], scale[group], quantized, factors, y, group * GROUP)
            if with_gelu:
                for row in range(len(y)):
                    _gelu(y[row, group * GROUP : (group + 1) * GROUP])
        begin = _take(counters, phase) * size


@_inline
def _exp(x):
    """e^x for x <= 0, by 2^(whole + fraction)."""
    scaled = max(x * np.float32(1.4426950408889634), np.float32(-126))
    whole = np.floor(scaled + np.float32(0.5))
    f = (scaled - whole) * np.float32(0.6931471805599453)
    fraction = np.float32(1 / 120) + f * np.float32(1 / 720)
    fraction = np.float32(1 / 6) + f * (np.float32(1 / 24) + f * fraction)
    fraction = np.float32(1) + f * (np.float32(1) + f * (np.float32(0.5) + f * fraction))
    return fraction * as_float(np.uint32((np.int32(whole) + np.int32(127)) << np.int32(23)))


@_kernel
def _gelu(x):
    """The exact GELU in place; erf by Abramowitz and Stegun 7.1.26, whose error is below 1.5e-7."""
    for index in range(len(x)):
        value = x[index]
        z = abs(value) * np.float32(0.7071067811865476)
        t = np.float32(1) / (np.float32(1) + np.float32(0.3275911) * z)
        tail = np.float32(-1.453152027) + t * np.float32(1.061405429)
        tail = np.float32(-0.284496736) + t * (np.float32(1.421413741) + t * tail)
        tail = t * (np.float32(0.254829592) + t * tail)
        erf = np.float32(1) - tail * _exp(-z * z)
        x[index] = value * np.float32(0.5) * (np.float32(1) + (erf if value >= 0 else -erf))


@_kernel
def _norm(x, gain, y):
    """Layer norm without a bias of every row."""
    width = x.shape[1]
    for row in range(x.shape[0]):
        mean = np.float32(0)
        for index in range(width):
            mean += x[row, index]
        mean /= np.float32(width)
        variance = np.float32(0)
        for index in range(width):
            variance += (x[row, index] - mean) * (x[row, index] - mean)
        scale = np.float32(1) / np.sqrt(variance / np.float32(width) + np.float32(_EPSILON))
        for index in range(width):
            y[row, index] = (x[row, index] - mean) * scale * gain[index]


@_inline
def _bfloat16(x):
    """Rounded to the nearest, of two as near the even one; as 16 bits."""
    bits = as_bits(x)
    return np.uint16((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))


@_inline
def _wide(x):
    """The float32 of bfloat16 bits."""
    return as_float(np.uint32(x) << np.uint32(16))


@_kernel
def _head(query, key, value, keys, values, position, scores, out):
    """Attention of one head of one row; keys and values [positions, head_dim] are bfloat16."""
    size = len(query)
    for index in range(size):
        keys[position, index], values[position, index] = _bfloat16(key[index]), _bfloat16(value[index])
    count = position + 1
    scale = np.float32(1) / np.sqrt(np.float32(size))
    largest = np.float32(-np.inf)
    for place in range(count):
        score = np.float32(0)
        for index in range(size):
            score += query[index] * _wide(keys[place, index])
        scores[place] = score * scale
        largest = max(largest, scores[place])
    total = np.float32(0)
    for place in range(count):
        scores[place] = _exp(scores[place] - largest)
        total += scores[place]
    out[:] = 0
    for place in range(count):
        for index in range(size):
            out[index] += scores[place] * _wide(values[place, index])
    for index in range(size):
        out[index] /= total


@_kernel
def _attend(fused, keys, values, slots, positions, num_heads, scores, out, counters, phase):
    """This thread's share of attention: some heads of some rows."""
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


@_kernel
def _run(x, layers, head, cache, places, num_heads, shared, logits, counters, num_threads):
    """What one thread does of a step; see `decode_step`. All threads keep an `x` of their own."""
    gains, fused_weight, fused_scale, merge_weight, merge_scale = layers[:5]
    up_weight, up_scale, down_weight, down_scale = layers[5:]
    last_gain, head_weight, head_scale = head
    keys, values = cache
    slots, positions = places
    fused, attended, added, wide = shared
    num_rows, width = x.shape
    x = x.copy()
    normed, factors = np.empty((num_rows, width), np.float32), np.empty(num_rows, np.float32)
    inputs = np.zeros((num_rows, 2 * fused_weight.shape[2]), np.int16)
    wide_inputs = np.zeros((num_rows, 2 * down_weight.shape[2]), np.int16)
    scores = np.empty(keys.shape[3], np.float32)
    phase = 0
    for layer in range(len(fused_weight)):
        _norm(x, gains[layer, 0], normed)
        _quantize(normed, inputs, factors)
        _multiply(
            fused_weight[layer], fused_scale[layer], inputs, factors, fused, False, counters, phase + 1, num_threads
        )
        _meet(counters, phase + 1, num_threads)
        _attend(
            fused, keys[layer], values[layer], slots, positions, num_heads, scores, attended, counters, phase + 2
        )
        _meet(counters, phase + 2, num_threads)
        _quantize(attended, inputs, factors)
        _multiply(
            merge_weight[layer], merge_scale[layer], inputs, factors, added, False, counters, phase + 3, num_threads
        )
        _meet(counters, phase + 3, num_threads)
        x += added[:, :width]
        _norm(x, gains[layer, 1], normed)
        _quantize(normed, inputs, factors)
        _multiply(up_weight[layer], up_scale[layer], inputs, factors, wide, True, counters, phase + 4, num_threads)
        _meet(counters, phase + 4, num_threads)
        _quantize(wide[:, : 4 * width], wide_inputs, factors)
        _multiply(
            down_weight[layer], down_scale[layer], wide_inputs, factors, added, False, counters, phase + 5, num_threads
        )
        _meet(counters, phase + 5, num_threads)
        x += added[:, :width]
        phase += 5
    _norm(x, last_gain, normed)
    _quantize(normed, inputs, factors)
    _multiply(head_weight, head_scale, inputs, factors, logits, False, counters, phase + 1, num_threads)


@_kernel
def _alone(x, layers, head, cache, places, num_heads, shared, logits, counters):
    _run(x, layers, head, cache, places, num_heads, shared, logits, counters, 1)


@_parallel
def _together(x, layers, head, cache, places, num_heads, shared, logits, counters, num_threads):
    for _ in prange(num_threads):
        _run(x, layers, head, cache, places, num_heads, shared, logits, counters, num_threads)


def decode_step(x, layers, head, keys, values, slots, positions, num_heads, num_threads):
    """One token for every row: logits [rows, outputs of `head`] of `x` [rows, width], embedded, float32.

    `layers`: norm gains [layers, 2, width], then the packed weights and scales (see `pack`) of query-key-value,
    merge, widening and narrowing; `head`: norm gain [width], packed weights and scales. `keys` and `values`
    [layers, slots, heads, positions, head_dim], bfloat16 seen as uint16; row r appends at `positions[r]` of slot
    `slots[r]`. Runs on up to `num_threads` threads.
    """
    num_rows, width = x.shape
    num_phases = 1 + 5 * len(layers[0]) + 1
    counters = np.zeros(num_phases * _LINE, np.int64)
    fused, added, wide = (
        np.empty((num_rows, layers[weight].shape[1] * GROUP), np.float32) for weight in (1, 3, 5)
    )
    shared = (fused, np.empty((num_rows, width), np.float32), added, wide)
    logits = np.empty((num_rows, len(head[1]) * GROUP), np.float32)
    given = (x, layers, head, (keys, values), (slots, positions), num_heads, shared, logits, counters)
    if num_threads == 1:
        _alone(*given)
    else:
        with _threads:
            set_num_threads(min(num_threads, config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
            _together(*given, get_num_threads())
    return logits
