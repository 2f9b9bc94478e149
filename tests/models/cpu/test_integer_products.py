"""Products of integers are exact, and their scales are applied in the order that is written, wherever outputs lie."""

from __future__ import annotations

import pytest
import torch

from streamer.models.cpu.compiled_layers import Int8Head
from streamer.models.cpu.int8_linear import pack
from streamer.models.cpu.quantization import LARGEST, quantize

NUM_INPUTS = 32


@pytest.mark.parametrize("num_rows", [1, 2, 4, 8, 11])
def test_an_output_is_the_same_to_the_last_bit_at_every_place_of_its_group(num_rows: int) -> None:
    """It is the exact sum, times the weights' scale, times the row's factor, each rounded once."""
    torch.manual_seed(num_rows)
    weight, x = torch.randn(64, NUM_INPUTS) / 10, torch.randn(num_rows, NUM_INPUTS)
    quantized, scales = quantize(weight)
    largest = float(min(32767, 0x7FFF_FFFF // (LARGEST * NUM_INPUTS)))
    most = x.abs().amax(1, keepdim=True)
    factors = most / largest
    sums = (x * (largest / most)).round().long() @ quantized.long().T
    expected = (sums.float() * scales) * factors
    for first in range(34):
        part = weight[first : first + 30]
        made = Int8Head(pack(part), range(30), 30, 1)(x)
        assert torch.equal(made, expected[:, first : first + 30])
