"""Symmetric int8 weights with one scale per output; decode steps and forward passes on a CPU share them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from streamer.models.cpu.integer_products import GROUP, LANES, NUM_VECTORS, UNIT

LARGEST = 127
"""The largest magnitude of a quantized weight, and of a forward pass's quantized input."""
NIBBLE = 16
"""What weights of four bits are multiples of in int8, -7 to 7 times."""
LARGEST_LEVEL = LARGEST // NIBBLE
"""The largest magnitude of a weight of four bits, in units of its output's scale: 7."""
_TOLERANCE = 0.01
"""How far a weight of four bits may be from a whole level: half precision moves it by 0.006 at most."""
_SMALLEST_SCALE = 1e-12
"""The lower bound of a scale, so that an output whose weights are all zero divides by something."""


def quantize(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Quantize `weight` [outputs, inputs] of any float type.

    Returns int8 weights [outputs, inputs] and float32 scales [outputs]; `dequantize` multiplies them again. Weights in
    float32 or float16 that are whole multiples of a scale of their output, of which the largest is 7, become multiples
    of `NIBBLE`.
    """
    weight = weight.detach().float()
    scales = (weight.abs().amax(dim=1) / LARGEST_LEVEL).clamp(min=_SMALLEST_SCALE)
    levels = weight / scales[:, None]
    if bool(((levels - levels.round()).abs() < _TOLERANCE).all()):
        return (levels.round() * NIBBLE).to(torch.int8), scales / NIBBLE
    scales = (weight.abs().amax(dim=1) / LARGEST).clamp(min=_SMALLEST_SCALE)
    return (weight / scales[:, None]).round().clamp(-LARGEST, LARGEST).to(torch.int8), scales


def dequantize(quantized: Tensor, scales: Tensor) -> Tensor:
    """Return the float32 weights [outputs, inputs] that `quantize`'s result is worth."""
    return quantized * scales[:, None]


def pack_nibbles(weights: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """Return packed weights [..., GROUP, UNIT], which are multiples of 16, as [..., GROUP / 2, UNIT].

    A byte has a weight of the one vector in its lower half, plus 8, and one of the next in its upper half: as a number
    with a sign, it is the sum of what it has in its upper half and of its lower half.
    """
    *outer, _, _ = weights.shape
    pairs = weights.view(np.uint8).reshape(*outer, NUM_VECTORS // 2, 2, LANES * UNIT)
    both = pairs[..., 0, :] >> 4 ^ 8 | pairs[..., 1, :]
    return both.view(np.int8).reshape(*outer, GROUP // 2, UNIT)
