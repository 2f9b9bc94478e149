"""Int8 weights are the nearest to the original ones."""

import pytest
import torch

from streamer.models.cpu.quantization import NIBBLE, dequantize, quantize


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_each_output_has_its_own_scale(dtype):
    """The largest weight of an output is kept, the others are off by half a step at most."""
    weight = torch.tensor([[1.0, -2.0, 0.25], [100.0, 3.0, -50.0]], dtype=dtype)
    quantized, scales = quantize(weight)
    assert quantized.dtype == torch.int8
    assert quantized.tolist() == [[64, -127, 16], [127, 4, -64]]
    torch.testing.assert_close(scales, torch.tensor([2 / 127, 100 / 127]))
    assert ((dequantize(quantized, scales) - weight).abs() <= 0.501 * scales[:, None]).all()


def test_an_output_without_weights_stays_zero():
    """An output whose weights are all zero divides by no zero."""
    quantized, scales = quantize(torch.zeros(1, 4))
    assert (dequantize(quantized, scales) == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_weights_of_four_bits_are_kept_exactly(dtype):
    """As multiples of 16, though half precision has rounded them."""
    torch.manual_seed(0)
    levels, scales = torch.randint(-7, 8, (50, 40)), torch.rand(50) * 0.02 + 0.001
    levels[:, 3] = torch.tensor([7, -7]).repeat(25)
    quantized, found = quantize((levels * scales[:, None]).to(dtype))
    assert torch.equal(quantized, levels * NIBBLE)
    torch.testing.assert_close(found * NIBBLE, scales, rtol=1e-3, atol=0)


def test_a_single_weight_beside_the_levels_makes_a_layer_an_ordinary_one():
    """It would be rounded by up to a fourteenth of the largest one."""
    levels = torch.randint(-7, 8, (50, 40)).float()
    levels[:, 3] = 7
    levels[20, 30] = 2.5
    quantized, _ = quantize(levels * 0.01)
    assert quantized[20, 30] == round(2.5 / 7 * 127)
