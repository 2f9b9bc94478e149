"""How the CPU's decode step is compiled, and the functions of one number or one row that it is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from streamer.models.cpu.llvm_intrinsics import as_bits, as_float

_EPSILON = 1e-5
_INFINITY = 0x7F80_0000
"""Its bits; those of what is not a number are more."""
_SMALLEST = 1e-30
"""A row of nothing larger counts as zero."""


def compiled(**options: Any) -> Callable[..., Any]:
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


kernel = compiled()
inline = compiled(inline="always")
parallel = compiled(parallel=True)


@inline
def exp(x):
    """e^x for x <= 0, by 2^(whole + fraction)."""
    scaled = max(x * np.float32(1.4426950408889634), np.float32(-126))
    whole = np.floor(scaled + np.float32(0.5))
    f = (scaled - whole) * np.float32(0.6931471805599453)
    fraction = np.float32(1 / 120) + f * np.float32(1 / 720)
    fraction = np.float32(1 / 6) + f * (np.float32(1 / 24) + f * fraction)
    fraction = np.float32(1) + f * (np.float32(1) + f * (np.float32(0.5) + f * fraction))
    return fraction * as_float(np.uint32((np.int32(whole) + np.int32(127)) << np.int32(23)))


@kernel
def gelu(x):
    """The exact GELU in place; erf by Abramowitz and Stegun 7.1.26, whose error is below 1.5e-7."""
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
def norm(x, gain, y):
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


@inline
def bfloat16(x):
    """Rounded to the nearest, of two as near the even one; as 16 bits."""
    bits = as_bits(x)
    return np.uint16((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))


@inline
def widened(x):
    """The float32 of bfloat16 bits."""
    return as_float(np.uint32(x) << np.uint32(16))


@kernel
def quantize(x, quantized, factors):
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
