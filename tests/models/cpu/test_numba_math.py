"""The compiled approximations are the libraries' functions to the error that they state."""

from __future__ import annotations

import numba
import numpy as np
import pytest
import torch
from torch.nn import functional

from streamer.models.cpu import numba_math


@numba.vectorize
def exp(x):
    return numba_math.exp(x)


@numba.vectorize
def rough_power_of_2(x):
    return numba_math.rough_power_of_2(x)


@numba.vectorize
def bfloat16(x):
    return numba_math.bfloat16(x)


@numba.vectorize
def from_bfloat16(x):
    return numba_math.from_bfloat16(x)


@numba.njit
def quantize_row(x, largest, offset, quantized):
    return numba_math.quantize_row(x, largest, offset, quantized)


def test_exponentials_are_near_the_exact_ones() -> None:
    """Both forms stay within their error bounds down to the smallest float32."""
    x = -np.linspace(0, 80, 999, dtype=np.float32)
    np.testing.assert_allclose(exp(x), np.exp(x), rtol=1e-5)
    np.testing.assert_allclose(rough_power_of_2(x), np.exp2(x), rtol=6e-5)
    assert exp(np.float32(-1e9)) < 1e-37 and rough_power_of_2(np.float32(-1e9)) < 1e-37


def test_gelu_is_exact_to_float_rounding() -> None:
    """The compiled GELU is torch's exact one."""
    x = np.linspace(-9, 9, 999, dtype=np.float32)
    made = x.copy()
    numba_math.gelu(made)
    np.testing.assert_allclose(made, functional.gelu(torch.from_numpy(x)).numpy(), atol=3e-6)


def test_bfloat16_is_torchs() -> None:
    """Numbers are rounded as torch rounds them, ties to even, and come back unchanged."""
    x = torch.cat(
        [torch.randn(999) * 100, torch.tensor([1 + 2**-8, 1 + 3 * 2**-8, 0.0, torch.inf, -torch.inf])]
    )
    rounded = x.bfloat16()
    np.testing.assert_array_equal(bfloat16(x.numpy()), rounded.view(torch.uint16).numpy())
    np.testing.assert_array_equal(from_bfloat16(rounded.view(torch.uint16).numpy()), rounded.float().numpy())


@pytest.mark.parametrize(("largest", "dtype"), [(127, np.int8), (22_017, np.int16)])
def test_a_row_is_rounded_to_the_nearest_integers(largest: int, dtype: type[np.integer]) -> None:
    """The largest number becomes `largest`, and each is off by half a step at most."""
    x = np.array([0.5, -2.0, 1.99, 0.0], np.float32)
    quantized = np.empty(4, dtype)
    factor = quantize_row(x, np.float32(largest), 0, quantized)
    assert quantized[1] == -largest
    np.testing.assert_allclose(quantized * factor, x, atol=0.501 * 2 / largest)


@pytest.mark.parametrize(
    ("value", "expected"), [(np.nan, np.nan), (np.inf, np.nan), (-np.inf, np.nan), (0, 0)]
)
def test_a_row_without_a_scale_is_zeros(value: float, expected: float) -> None:
    """A row of zeros stays one; a number that is not finite makes the factor NaN, and nothing overflows."""
    quantized = np.full(3, 7, np.int8)
    factor = quantize_row(np.array([0, value, 0], np.float32), np.float32(127), 0, quantized)
    np.testing.assert_array_equal([factor * 0 + factor, *quantized], [expected, 0, 0, 0])
