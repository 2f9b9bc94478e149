"""A linear layer in int8, packed once in the order in which products read it; decode steps and whole passes share it.

Inputs are rounded to integers row by row, and sums of integers are exact: a row's result is the same to the last bit
for any number of rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import pad

from streamer.models.cpu.attention_rounding import quantize_halves, quantize_query
from streamer.models.cpu.integer_products import (
    GROUP,
    HAS_VNNI,
    INPUT,
    INPUTS,
    LANES,
    LINE_BYTES,
    OFFSET,
    PARTS,
    ROWS_AT_ONCE,
    UNIT,
    fetching_product_of_8,
    nibbles_of_1,
    nibbles_of_2,
    nibbles_of_4,
    nibbles_of_8,
    product_of_1,
    product_of_2,
    product_of_4,
    product_of_8,
    words_of_1,
    words_of_2,
    words_of_4,
    words_of_8,
)
from streamer.models.cpu.llvm_intrinsics import prefer_wide_vectors
from streamer.models.cpu.numba_math import inline, kernel, quantize_row
from streamer.models.cpu.quantization import LARGEST, NIBBLE, quantize

_FETCHED_AHEAD = 2048
"""How many bytes ahead the weights of a decode step are fetched: such a step waits for them, and the processor itself
fetches ahead within a page only."""

_NOTHING = np.uintp(0)
"""The address of what a product does not read."""

Floats = npt.NDArray[np.float32]


class Int8Linear(NamedTuple):
    """Weights int8 [groups, units, GROUP, UNIT], `offsets` int32 and `scales` float32 [groups, GROUP].

    Zeros fill up the last group and the inputs. The offsets are what `OFFSET` in each input adds to a sum, negated.
    """

    weights: npt.NDArray[np.int8]
    offsets: npt.NDArray[np.int32]
    scales: Floats

    def groups(self, begin: int, end: int | None = None) -> Int8Linear:
        """Return the layer of these groups of outputs alone, in the same memory."""
        return Int8Linear(self.weights[begin:end], self.offsets[begin:end], self.scales[begin:end])


def pack(weight: Tensor) -> Int8Linear:
    """Quantize and pack a linear layer's weight [outputs, inputs], of any float type."""
    return pack_quantized(*quantize(weight))


def pack_quantized(quantized: Tensor, scales: Tensor) -> Int8Linear:
    """Pack what `quantize` has made of a linear layer's weight."""
    more_outputs, more_inputs = (
        -size % unit for size, unit in zip(quantized.shape, (GROUP, INPUTS), strict=True)
    )
    quantized = pad(quantized, (0, more_inputs, 0, more_outputs))
    units = quantized.shape[1] // UNIT
    return Int8Linear(
        quantized.view(-1, GROUP, units, UNIT).transpose(1, 2).contiguous().numpy(),
        (-OFFSET * quantized.sum(1, dtype=torch.int32)).view(-1, GROUP).numpy(),
        pad(scales, (0, more_outputs)).view(-1, GROUP).numpy(),
    )


@inline
def at(array, index):
    """Return the address of `array[index]`, without the count of references that numba keeps of each view."""
    return array.ctypes.data + np.uintp(index * array.strides[0])


@inline
def largest_input(num_inputs):
    """Return the largest magnitude of quantized inputs: as much as their type, or their sums in int32, can hold."""
    return np.float32(LARGEST if HAS_VNNI else min(32767, 0x7FFF_FFFF // (LARGEST * num_inputs)))


@kernel
def multiply_group(linear, group, x, num_units, factors, y):
    """Write a group's outputs of every row of `x` to `y` [rows, outputs], reading the first `num_units` of inputs.

    The first rows' products fetch the next group's weights: a pass reads them out of the third cache, which is slower
    than a single product of 8 rows.
    """
    weights, offsets, scales = linear
    weights_at, offsets_at, scales_at = at(weights, group), at(offsets, group), at(scales, group)
    x_stride, y_stride = x.strides[0], y.strides[0]
    x_at, factors_at = x.ctypes.data, factors.ctypes.data
    y_at = y.ctypes.data + np.uintp(4 * GROUP * group)
    ahead = weights_at + np.uintp(weights.strides[0])
    ahead_end = ahead + np.uintp(weights.strides[0])
    left = len(x)
    while left > 0:
        if left >= 8 and ROWS_AT_ONCE >= 8 and ahead < ahead_end:
            count = 8
            fetching_product_of_8(
                weights_at, offsets_at, scales_at, x_at, x_stride, num_units, factors_at, y_at, y_stride, ahead,
                _NOTHING,
            )  # fmt: skip
            ahead += np.uintp(LINE_BYTES * num_units)
        elif left >= 8 and ROWS_AT_ONCE >= 8:
            count = 8
            product_of_8(
                weights_at, offsets_at, scales_at, x_at, x_stride, num_units, factors_at, y_at, y_stride, ahead,
                _NOTHING,
            )  # fmt: skip
        elif left >= 4 and ROWS_AT_ONCE >= 4:
            count = 4
            product_of_4(
                weights_at, offsets_at, scales_at, x_at, x_stride, num_units, factors_at, y_at, y_stride, ahead,
                _NOTHING,
            )  # fmt: skip
        elif left >= 2:
            count = 2
            product_of_2(
                weights_at, offsets_at, scales_at, x_at, x_stride, num_units, factors_at, y_at, y_stride, ahead,
                _NOTHING,
            )  # fmt: skip
        else:
            count = 1
            product_of_1(
                weights_at, offsets_at, scales_at, x_at, x_stride, num_units, factors_at, y_at, y_stride, ahead,
                _NOTHING,
            )  # fmt: skip
        left -= count
        x_at += count * x_stride
        y_at += count * y_stride
        factors_at += 4 * count


@inline
def largest_word(num_inputs):
    """Return the same for inputs of int16."""
    return np.float32(min(32767, 0x7FFF_FFFF // (LARGEST * num_inputs)))


@inline
def new_words(num_rows, num_inputs):
    """Return room for rows of int16 as `multiply_words` takes them."""
    return np.zeros((num_rows * PARTS, -(-num_inputs // INPUTS) * INPUTS), INPUT)


@inline
def quantize_inputs(x, quantized):
    """Round a float32 row, whose numbers lie side by side, to integers of type INPUT, plus OFFSET.

    Returns their factor.
    """
    largest = largest_input(len(x))
    if len(x) % LANES:
        return quantize_row(x, largest, OFFSET, quantized)
    return quantize_query(x.ctypes.data, len(x) // LANES, largest, OFFSET, quantized.ctypes.data, 0)


@inline
def quantize_words(x, row, words):
    """Round a float32 row, whose numbers lie side by side, to integers in int16.

    They are as large as their sums in int32 can hold. With bytes as INPUT, one row of `words` gets the upper bytes and
    the next one the lower ones. Returns their factor.
    """
    largest, num_vectors = largest_word(len(x)), len(x) // LANES
    if not HAS_VNNI and len(x) % LANES:
        return quantize_row(x, largest, 0, words[row, : len(x)])
    if not HAS_VNNI:
        return quantize_query(x.ctypes.data, num_vectors, largest, 0, words[row].ctypes.data, 0)
    upper, lower = words[2 * row], words[2 * row + 1]
    if len(x) % LANES == 0:
        return quantize_halves(
            x.ctypes.data, num_vectors, largest, OFFSET << 8, upper.ctypes.data, lower.ctypes.data
        )
    whole = np.empty(len(x), np.int16)
    factor = quantize_row(x, largest, 0, whole)
    for index in range(len(x)):
        upper[index] = (whole[index] >> np.int16(8)) + np.int16(OFFSET)
        lower[index] = whole[index] & np.int16(255)
    return factor


@kernel
def multiply_words(linear, first, end, words, factors, y):
    """Write the outputs of some groups of every row of `words` to `y` [rows, outputs]; each weight is read once.

    The groups are those from `first` to `end`.
    """
    weights, offsets, scales = linear
    num_units = weights.shape[1]
    x_stride, y_stride = words.strides[0], y.strides[0]
    for group in range(first, end):
        weights_at, offsets_at, scales_at = at(weights, group), at(offsets, group), at(scales, group)
        x_at, factors_at = words.ctypes.data, factors.ctypes.data
        y_at = y.ctypes.data + np.uintp(4 * GROUP * group)
        ahead = weights_at + np.uintp(_FETCHED_AHEAD)
        left = len(factors)
        while left > 0:
            given = (
                weights_at, offsets_at, scales_at, x_at, x_stride, num_units, factors_at, y_at, y_stride, ahead,
                _NOTHING,
            )  # fmt: skip
            if left >= 8 and ROWS_AT_ONCE >= 8 * PARTS:
                count = 8
                words_of_8(*given)
            elif left >= 4 and ROWS_AT_ONCE >= 4 * PARTS:
                count = 4
                words_of_4(*given)
            elif left >= 2 and ROWS_AT_ONCE >= 2 * PARTS:
                count = 2
                words_of_2(*given)
            else:
                count = 1
                words_of_1(*given)
            left -= count
            x_at += count * PARTS * x_stride
            y_at += count * y_stride
            factors_at += 4 * count


@kernel
def excess_of_nibbles(words, row):
    """Return what a row of `words` makes of the 8 that packed nibbles are too large by, negated: see `pack_nibbles`."""
    prefer_wide_vectors()
    total = np.int32(0)
    for part in range(PARTS):
        of_part = np.int32(0)
        for index in range(words.shape[1]):
            of_part += np.int32(words[row * PARTS + part, index])
        total = (total << np.int32(8)) + of_part
    return np.int32(-8 * NIBBLE) * total


@kernel
def multiply_nibbles(linear, first, end, words, factors, excesses, y):
    """Do the same with weights of four bits, [groups, units, GROUP / 2, UNIT], that `pack_nibbles` has packed.

    `excesses` int32 [rows] are those of the rows. With both kinds in one loop a step takes a twentieth longer.
    """
    weights, offsets, scales = linear
    num_units = weights.shape[1]
    x_stride, y_stride = words.strides[0], y.strides[0]
    for group in range(first, end):
        weights_at, offsets_at, scales_at = at(weights, group), at(offsets, group), at(scales, group)
        x_at, factors_at, excesses_at = words.ctypes.data, factors.ctypes.data, excesses.ctypes.data
        y_at = y.ctypes.data + np.uintp(4 * GROUP * group)
        ahead = weights_at + np.uintp(_FETCHED_AHEAD)
        left = len(factors)
        while left > 0:
            given = (
                weights_at, offsets_at, scales_at, x_at, x_stride, num_units, factors_at, y_at, y_stride, ahead,
                excesses_at,
            )  # fmt: skip
            if left >= 8 and ROWS_AT_ONCE >= 8 * PARTS:
                count = 8
                nibbles_of_8(*given)
            elif left >= 4 and ROWS_AT_ONCE >= 4 * PARTS:
                count = 4
                nibbles_of_4(*given)
            elif left >= 2 and ROWS_AT_ONCE >= 2 * PARTS:
                count = 2
                nibbles_of_2(*given)
            else:
                count = 1
                nibbles_of_1(*given)
            left -= count
            x_at += count * PARTS * x_stride
            y_at += count * y_stride
            factors_at += 4 * count
            excesses_at += 4 * count


@kernel
def multiply(linear, x, factors, y):
    """Multiply quantized `x` [rows, inputs], with `factors` [rows], with a linear layer to `y` [rows, outputs]."""
    for group in range(len(linear[0])):
        multiply_group(linear, group, x, linear[0].shape[1], factors, y)
