"""One decode step of a causal transformer on a CPU as a single compiled function, with weights in int8.

A step of one token a row is a few hundred small products. Called one by one through a framework, their
dispatch costs more than the arithmetic, so the whole step, all layers of it, is compiled here (numba), and the
weights are read as bytes. Rows never meet: each has its own sums, in an order that its neighbours do not change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config, njit, prange

_EPSILON = 1e-5

# Numba's other layers share OpenMP with torch and would change its number of threads.
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


@_inline
def _output(weight, scale, x, y, out):
    """One output of a linear layer for every row; the weight's row is read from memory once."""
    num_rows, width = x.shape
    row = 0
    while row + 4 <= num_rows:
        sum_0 = sum_1 = sum_2 = sum_3 = np.float32(0)
        for index in range(width):
            value = np.float32(weight[out, index])
            sum_0 += value * x[row, index]
            sum_1 += value * x[row + 1, index]
            sum_2 += value * x[row + 2, index]
            sum_3 += value * x[row + 3, index]
        y[row, out] = sum_0 * scale[out]
        y[row + 1, out] = sum_1 * scale[out]
        y[row + 2, out] = sum_2 * scale[out]
        y[row + 3, out] = sum_3 * scale[out]
        row += 4
    while row < num_rows:
        total = np.float32(0)
        for index in range(width):
            total += np.float32(weight[out, index]) * x[row, index]
        y[row, out] = total * scale[out]
        row += 1


@_kernel
def _product(weight, scale, x, y):
    for out in range(weight.shape[0]):
        _output(weight, scale, x, y, out)


@_parallel
def _product_parallel(weight, scale, x, y):
    for out in prange(weight.shape[0]):
        _output(weight, scale, x, y, out)


@_kernel
def _multiply(weight, scale, x, y, num_threads):
    """A linear layer of every row: `weight` int8 [out, in] times `x` [rows, in] times `scale` [out] to `y`."""
    if num_threads is None:  # known to the compiler, which leaves the other way out
        _product(weight, scale, x, y)
    else:
        _product_parallel(weight, scale, x, y)


@_kernel
def _exp(x, bits):
    """e^x in place for x <= 0, by 2^(whole + fraction); `bits` int32, as long, is room to work in."""
    powers = bits.view(np.float32)
    for index in range(len(x)):
        scaled = max(x[index] * np.float32(1.4426950408889634), np.float32(-126))
        whole = np.floor(scaled + np.float32(0.5))
        bits[index] = (np.int32(whole) + np.int32(127)) << np.int32(23)
        f = (scaled - whole) * np.float32(0.6931471805599453)
        x[index] = np.float32(1) + f * (
            np.float32(1)
            + f
            * (
                np.float32(0.5)
                + f
                * (
                    np.float32(1 / 6)
                    + f * (np.float32(1 / 24) + f * (np.float32(1 / 120) + f * np.float32(1 / 720)))
                )
            )
        )
    for index in range(len(x)):
        x[index] *= powers[index]


@_kernel
def _gelu(x, scratch, bits):
    """The exact GELU in place; erf by Abramowitz and Stegun 7.1.26, whose error is below 1.5e-7."""
    for index in range(len(x)):
        scratch[index] = np.float32(-0.5) * x[index] * x[index]
    _exp(scratch, bits)
    for index in range(len(x)):
        z = abs(x[index]) * np.float32(0.7071067811865476)
        t = np.float32(1) / (np.float32(1) + np.float32(0.3275911) * z)
        tail = t * (
            np.float32(0.254829592)
            + t
            * (
                np.float32(-0.284496736)
                + t * (np.float32(1.421413741) + t * (np.float32(-1.453152027) + t * np.float32(1.061405429)))
            )
        )
        erf = np.float32(1) - tail * scratch[index]
        x[index] *= np.float32(0.5) * (np.float32(1) + (erf if x[index] >= 0 else -erf))


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
def _head(fused, keys, values, position, out, scores, bits, room, head):
    """Attention of one head of one row; keys and values [positions, head_dim] are the upper halves of floats."""
    size = keys.shape[1]
    width = len(fused) // 3
    start = head * size
    floats = room.view(np.float32)
    wide = fused.view(np.uint32)
    for index in range(size):
        key, value = wide[width + start + index], wide[2 * width + start + index]
        keys[position, index] = (key + np.uint32(0x7FFF) + ((key >> 16) & np.uint32(1))) >> 16
        values[position, index] = (value + np.uint32(0x7FFF) + ((value >> 16) & np.uint32(1))) >> 16
    count = position + 1
    scale = np.float32(1) / np.sqrt(np.float32(size))
    largest = np.float32(-np.inf)
    for place in range(count):
        for index in range(size):
            room[index] = np.uint32(keys[place, index]) << 16
        score = np.float32(0)
        for index in range(size):
            score += floats[index] * fused[start + index]
        scores[place] = score * scale
        largest = max(largest, scores[place])
    for place in range(count):
        scores[place] -= largest
    _exp(scores[:count], bits[:count])
    total = np.float32(0)
    for place in range(count):
        total += scores[place]
    for index in range(size):
        out[start + index] = np.float32(0)
    for place in range(count):
        weight = scores[place] / total
        for index in range(size):
            room[index] = np.uint32(values[place, index]) << 16
        for index in range(size):
            out[start + index] += weight * floats[index]


@_kernel
def _attention(fused, keys, values, slots, positions, out, num_heads):
    length = keys.shape[2]
    scores, bits = np.empty(length, np.float32), np.empty(length, np.int32)
    room = np.empty(keys.shape[3], np.uint32)
    for row in range(fused.shape[0]):
        slot = slots[row]
        for head in range(num_heads):
            _head(
                fused[row],
                keys[slot, head],
                values[slot, head],
                positions[row],
                out[row],
                scores,
                bits,
                room,
                head,
            )


@_kernel
def decode_step(x, layers, head, keys, values, slots, positions, num_heads, logits, num_threads):
    """One token for every row: `x` [rows, width], embedded, becomes the last layer's output; fills `logits`.

    `layers`: norm gains [layers, 2, width], then weights int8 [layers, out, in] and scales [layers, out] of
    query-key-value, merge, widening and narrowing; `head`: norm gain [width], weights [vocab, width], scales.
    `keys` and `values` [layers, slots, heads, positions, head_dim], bfloat16 seen as uint16; row r appends
    at `positions[r]` of slot `slots[r]`. `num_threads` not None shares each product out to
    the threads that numba was told to use.
    """
    gains, fused_weight, fused_scale, merge_weight, merge_scale = layers[:5]
    up_weight, up_scale, down_weight, down_scale = layers[5:]
    last_gain, head_weight, head_scale = head
    num_rows, width = x.shape
    normed, attended = np.empty((num_rows, width), np.float32), np.empty((num_rows, width), np.float32)
    added, fused = np.empty((num_rows, width), np.float32), np.empty((num_rows, 3 * width), np.float32)
    wide, scratch = np.empty((num_rows, 4 * width), np.float32), np.empty(num_rows * 4 * width, np.float32)
    bits = np.empty(num_rows * 4 * width, np.int32)
    for layer in range(len(fused_weight)):
        _norm(x, gains[layer, 0], normed)
        _multiply(fused_weight[layer], fused_scale[layer], normed, fused, num_threads)
        _attention(fused, keys[layer], values[layer], slots, positions, attended, num_heads)
        _multiply(merge_weight[layer], merge_scale[layer], attended, added, num_threads)
        x += added
        _norm(x, gains[layer, 1], normed)
        _multiply(up_weight[layer], up_scale[layer], normed, wide, num_threads)
        _gelu(wide.reshape(-1), scratch, bits)
        _multiply(down_weight[layer], down_scale[layer], wide, added, num_threads)
        x += added
    _norm(x, last_gain, normed)
    _multiply(head_weight, head_scale, normed, logits, num_threads)
