"""The arithmetic that the CPU's compiled kernels share: functions of one number or one row.

They may reorder and fuse sums, but they keep NaN, by which the sampler recognizes a sentence that went wrong.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from streamer.compilation import compiled
from streamer.models.cpu.llvm_intrinsics import as_bits, as_float, prefer_wide_vectors

_FAST_MATH = {"reassoc", "contract", "nsz", "arcp"}
_EPSILON = 1e-5
"""The number that a layer norm adds to the variance, as in Bark."""
_INFINITY_BITS = 0x7F80_0000
"""The bits of a float32's infinity; without the sign bit, only those of NaN are more."""
_SMALLEST = 1e-30
"""The magnitude below which a row's largest number counts as zero."""

kernel = compiled(fastmath=_FAST_MATH)
inline = compiled(fastmath=_FAST_MATH, inline="always")
parallel = compiled(fastmath=_FAST_MATH, parallel=True)


@inline
def _scaled_by_power_of_2(x, exponent):
    """x * 2^exponent for a whole float32 exponent of at least -126."""
    return x * as_float(np.uint32((np.int32(exponent) + np.int32(127)) << np.int32(23)))


@inline
def exp(x):
    """e^x for x <= 0, to a float32's rounding."""
    scaled = max(x * np.float32(1.4426950408889634), np.float32(-126))
    whole = np.rint(scaled)
    f = scaled - whole
    # 2^f, by a polynomial that we fitted and whose own error is 1e-7.
    fraction = np.float32(0.0096715127) + f * np.float32(0.0013264726)
    fraction = np.float32(0.24022242) + f * (np.float32(0.055507337) + f * fraction)
    fraction = np.float32(1) + f * (np.float32(0.69314698) + f * fraction)
    return _scaled_by_power_of_2(fraction, whole)


@inline
def rough_power_of_2(x):
    """2^x for x <= 0 with a relative error of 6e-5, far below the resolution of bfloat16."""
    x = max(x, np.float32(-126))
    whole = np.rint(x)
    f = x - whole
    fraction = np.float32(0.055503324) + f * np.float32(0.009618129)
    fraction = np.float32(0.6931472) + f * (np.float32(0.2402265) + f * fraction)
    return _scaled_by_power_of_2(np.float32(1) + f * fraction, whole)


@kernel
def gelu(x):
    """Apply the exact GELU in place; erf by Abramowitz and Stegun (1964) 7.1.26, whose error is below 1.5e-7."""
    for index in range(len(x)):
        value = x[index]
        z = abs(value) * np.float32(0.7071067811865476)
        t = np.float32(1) / (np.float32(1) + np.float32(0.3275911) * z)
        tail = np.float32(-1.453152027) + t * np.float32(1.061405429)
        tail = np.float32(-0.284496736) + t * (np.float32(1.421413741) + t * tail)
        tail = t * (np.float32(0.254829592) + t * tail)
        erf = np.float32(1) - tail * exp(-z * z)
        x[index] = value * np.float32(0.5) * (np.float32(1) + (erf if value >= 0 else -erf))


@kernel
def rough_gelu(x):
    """Apply GELU in place with an error of 2e-4, which int8's rounding exceeds, and without a division.

    The normal distribution's function, less a half, is an odd polynomial here, fitted by us up to its border.
    """
    prefer_wide_vectors()
    for index in range(len(x)):
        value = x[index]
        z = min(max(value, np.float32(-3.9)), np.float32(3.9))
        square = z * z
        power = np.float32(-1.8029993e-6) + square * np.float32(2.687464e-8)
        power = np.float32(-8.5177389e-4) + square * (np.float32(5.1926681e-5) + square * power)
        power = np.float32(-6.4969432e-2) + square * (np.float32(8.953034e-3) + square * power)
        power = np.float32(0.39817445) + square * power
        x[index] = value * (np.float32(0.5) + z * power)


@inline
def moments(x):
    """The mean of a row, and one over its standard deviation, as a layer norm needs them."""
    width = len(x)
    mean = np.float32(0)
    for index in range(width):
        mean += x[index]
    mean /= np.float32(width)
    variance = np.float32(0)
    for index in range(width):
        variance += (x[index] - mean) * (x[index] - mean)
    return mean, np.float32(1) / np.sqrt(variance / np.float32(width) + np.float32(_EPSILON))


@inline
def _ordered(bits):
    """Map a float32's bits to an int32 of the same order, and back."""
    number = np.int32(bits)
    return number ^ ((number >> np.int32(31)) & np.int32(0x7FFF_FFFF))


@inline
def largest_of(x):
    """The largest of float32 numbers, as NaN if one is a positive NaN; compared as integers, which takes vectors."""
    most = np.int32(-0x8000_0000)
    for index in range(len(x)):
        most = max(most, _ordered(as_bits(x[index])))
    return as_float(np.uint32(_ordered(np.uint32(most))))


@inline
def bfloat16(x):
    """Round to bfloat16, ties to even; returns its 16 bits."""
    bits = as_bits(x)
    return np.uint16((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))


@inline
def from_bfloat16(x):
    """Return the float32 of a bfloat16's 16 bits."""
    return as_float(np.uint32(x) << np.uint32(16))


def as_float32(x):
    """Return the float32 of a number that is one already, or whose bfloat16's bits these are."""
    raise NotImplementedError  # Compiled code has a body for each type instead.


@overload(as_float32)
def _as_float32(x):
    if isinstance(x, types.Integer):
        return lambda x: from_bfloat16(x)
    return lambda x: x


@inline
def quantize_row(x, largest, offset, quantized):
    """Round a float32 row to integers of up to `largest`, plus `offset`; returns the factor of what was rounded.

    The factor of a row with a number that is not finite is NaN.
    """
    bits = np.uint32(0)
    for index in range(len(x)):
        bits = max(bits, as_bits(x[index]) & np.uint32(0x7FFF_FFFF))
    most = as_float(bits)
    factor, inverse = np.float32(np.nan), np.float32(0)
    if bits < np.uint32(_INFINITY_BITS):
        factor = most / largest
        if most >= np.float32(_SMALLEST):
            inverse = largest / most
    if inverse == 0:
        quantized[:] = offset
    else:
        for index in range(len(x)):
            quantized[index] = np.int32(np.rint(x[index] * inverse)) + np.int32(offset)
    return factor
