"""The keys and values of heads as bytes, in the order in which products read them; `int8_attention` attends to them.

A key and a value each have a scale per position, so that a position does not depend on what is stored beside it.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from streamer.models.cpu.attention_rounding import quantize_key, quantize_query, quantize_value
from streamer.models.cpu.int8_linear import Floats, largest_input
from streamer.models.cpu.integer_products import GROUP, HAS_VNNI, INPUT, INPUTS, LANES, OFFSET, UNIT
from streamer.models.cpu.llvm_intrinsics import prefer_wide_vectors
from streamer.models.cpu.numba_math import inline, kernel
from streamer.models.cpu.quantization import LARGEST
from streamer.models.kv_cache import zeros_in_lines

_LOG2_E: Final = np.float64(1.4426950408889634)
_LARGEST: Final = np.float32(LARGEST)
_KEYS_AT_ONCE: Final = 16
"""The keys that are packed together: as many words as a line holds."""
_WORD = np.int32 if HAS_VNNI else np.int16
"""The type of the weights of one unit of inputs together."""


class PackedHeads(NamedTuple):
    """The keys and values of heads as products read them, [layers, slots, heads, ...], or [heads, ...] of one sentence.

    `keys` are words of UNIT numbers, [groups of positions, units of the head's size, GROUP], and with `key_offsets` and
    `key_scales` an `Int8Linear` whose outputs are the positions. `values` are the other way round: [groups of the
    head's size, units of positions, GROUP], with a factor for each position.
    """

    keys: npt.NDArray[Any]
    key_offsets: npt.NDArray[np.int32]
    key_scales: Floats
    values: npt.NDArray[Any]
    value_factors: Floats


def new_packed_heads(
    num_layers: int, num_slots: int, num_heads: int, head_dim: int, num_positions: int
) -> PackedHeads:
    """Make room for keys and values. It is zero, and takes memory only where it is written."""
    positions = num_positions + -num_positions % GROUP
    inputs, outputs = head_dim + -head_dim % INPUTS, head_dim + -head_dim % GROUP
    each = num_layers, num_slots, num_heads
    keys = *each, positions // GROUP
    return PackedHeads(
        zeros_in_lines((*keys, inputs // UNIT, GROUP), _WORD),
        zeros_in_lines((*keys, GROUP), np.int32),
        zeros_in_lines((*keys, GROUP), np.float32),
        zeros_in_lines((*each, outputs // GROUP, positions // UNIT, GROUP), _WORD),
        zeros_in_lines((*each, positions), np.float32),
    )


def new_queries(num_heads: int, head_dim: int, num_positions: int) -> tuple[npt.NDArray[Any], Floats]:
    """Make room for rounded queries [heads, positions, inputs] and their factors [heads, positions]."""
    inputs = head_dim + -head_dim % INPUTS
    # What fills up a head's size is multiplied, too, so that it must be zero.
    queries = (np.zeros if inputs > head_dim else np.empty)((num_heads, num_positions, inputs), INPUT)
    return queries, np.empty((num_heads, num_positions), np.float32)


@inline
def heads_of(packed, layer, slot):
    """Return the heads of a single sentence."""
    return PackedHeads(
        packed.keys[layer, slot],
        packed.key_offsets[layer, slot],
        packed.key_scales[layer, slot],
        packed.values[layer, slot],
        packed.value_factors[layer, slot],
    )


@inline
def up_to(number, unit):
    """Return the least multiple of `unit` that is not less than `number`."""
    return -(-number // unit) * unit


@inline
def score_scale(head_dim):
    """Return what a product of query and key is multiplied with, so that 2 to its power is its weight.

    It is computed in float64: a float32's root is estimated in one place and exact in another, as the compiler likes,
    so that a process which compiles a function would make other numbers than one that finds it compiled.
    """
    return np.float32(_LOG2_E / np.sqrt(np.float64(head_dim)))


@inline
def numbers_of(projected, row, first, size, padded):
    """Return the address of `size` numbers in a row, behind which there are zeros up to a whole vector.

    They are those of the row itself where these are whole vectors, else a copy in `padded`.
    """
    if size % LANES == 0:
        return projected.ctypes.data + np.uintp(row * projected.strides[0] + 4 * first)
    for index in range(size):
        padded[index] = projected[row, first + index]
    return padded.ctypes.data


@kernel
def store_queries(projected, column, first, queries, factors, size):
    """Round the queries of a block of positions, the first of which is `first`, from a column of `projected` on."""
    scale, largest = score_scale(size), largest_input(size)
    padded = np.zeros(up_to(size, LANES), np.float32)
    num_vectors = len(padded) // LANES
    for head in range(len(queries)):
        into, stride = queries[head, first:].ctypes.data, queries.strides[1]
        for row in range(len(projected)):
            numbers_at = numbers_of(projected, row, column + head * size, size, padded)
            factor = quantize_query(
                numbers_at, num_vectors, largest, OFFSET, into + np.uintp(row * stride), 0
            )
            factors[head, first + row] = scale * factor


@inline
def _quantize_key(numbers_at, num_vectors, offsets, scales, position, words, total):
    """Round a key of a head to `words`; `total` is overwritten."""
    group, lane = position // GROUP, position % GROUP
    scales[group, lane] = quantize_key(
        numbers_at, num_vectors, _LARGEST, 0, words.ctypes.data, total.ctypes.data
    )
    offsets[group, lane] = np.int32(-OFFSET) * total[0]


@kernel
def store_keys(projected, column, first, heads, size):
    """Round and pack the keys of a block.

    Some are rounded before they are packed together: one by one, each of their words would go to another line.
    """
    keys, num_units = heads.keys, heads.keys.shape[2]
    words, total = np.zeros((_KEYS_AT_ONCE, num_units), _WORD), np.empty(1, np.int32)
    padded = np.zeros(up_to(size, LANES), np.float32)
    num_vectors = len(padded) // LANES
    for head in range(len(keys)):
        offsets, scales = heads.key_offsets[head], heads.key_scales[head]
        row = 0
        while row < len(projected):
            group, lane = (first + row) // GROUP, (first + row) % GROUP
            count = min(_KEYS_AT_ONCE, GROUP - lane, len(projected) - row)
            for place in range(count):
                numbers_at = numbers_of(projected, row + place, column + head * size, size, padded)
                _quantize_key(
                    numbers_at, num_vectors, offsets, scales, first + row + place, words[place], total
                )
            packed = keys[head, group]
            for unit in range(num_units):
                for place in range(count):
                    packed[unit, lane + place] = words[place, unit]
            row += count


@kernel
def store_values(projected, column, first, heads, size):
    """Round and pack the values of a block; its first position is a multiple of UNIT."""
    prefer_wide_vectors()
    values, factors = heads.values, heads.value_factors
    num_groups = values.shape[1]
    quantized = np.zeros((UNIT, num_groups * GROUP), np.int8)
    quantized_at, stride = quantized.ctypes.data, quantized.strides[0]
    padded = np.zeros(up_to(size, LANES), np.float32)
    num_vectors = len(padded) // LANES
    for head in range(len(values)):
        for begin in range(0, len(projected), UNIT):
            for place in range(min(UNIT, len(projected) - begin)):
                numbers_at = numbers_of(projected, begin + place, column + head * size, size, padded)
                factors[head, first + begin + place] = quantize_value(
                    numbers_at, num_vectors, _LARGEST, 0, quantized_at + np.uintp(place * stride), 0
                )
            for group in range(num_groups):
                words = values[head, group, (first + begin) // UNIT]
                for lane in range(GROUP):
                    word = np.int32(0)
                    for place in range(UNIT):
                        number = np.int32(quantized[place, group * GROUP + lane])
                        word |= (number & np.int32(255)) << np.int32(8 * place)
                    words[lane] = word


@kernel
def new_key_and_value(size):
    """Return room for what `append` rounds: numbers that fill vectors, a key's words and their sum, and a value."""
    return (
        np.zeros(up_to(size, LANES), np.float32),
        np.zeros(up_to(size, INPUTS) // UNIT, _WORD),
        np.empty(1, np.int32),
        np.zeros(up_to(size, GROUP), np.int8),
    )


@kernel
def append(projected, row, width, heads, first, end, position, room):
    """Round and pack the keys and values of the heads from `first` to `end`.

    `projected` has them in this row behind all queries, which are `width` numbers.
    """
    prefer_wide_vectors()
    padded, words, total, quantized = room
    num_heads, num_outputs = len(heads.keys), heads.values.shape[1]
    size, num_vectors = width // num_heads, len(padded) // LANES
    words_at, total_at, quantized_at = words.ctypes.data, total.ctypes.data, quantized.ctypes.data
    group, lane = position // GROUP, position % GROUP
    unit, shift = position // UNIT, np.int32(8 * (position % UNIT))
    others = ~(np.int32(255) << shift)
    for head in range(first, end):
        key_at = numbers_of(projected, row, width + head * size, size, padded)
        heads.key_scales[head, group, lane] = quantize_key(
            key_at, num_vectors, _LARGEST, 0, words_at, total_at
        )
        heads.key_offsets[head, group, lane] = np.int32(-OFFSET) * total[0]
        for number in range(len(words)):
            heads.keys[head, group, number, lane] = words[number]
        value_at = numbers_of(projected, row, 2 * width + head * size, size, padded)
        heads.value_factors[head, position] = quantize_value(
            value_at, num_vectors, _LARGEST, 0, quantized_at, 0
        )
        for outputs in range(num_outputs):
            for output in range(GROUP):
                byte = np.int32(quantized[outputs * GROUP + output]) & np.int32(255)
                word = np.int32(heads.values[head, outputs, unit, output])
                heads.values[head, outputs, unit, output] = (word & others) | (byte << shift)
