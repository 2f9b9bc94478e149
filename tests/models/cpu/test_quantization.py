"""Int8 weights are the nearest to the original ones."""

import pytest
import torch

from streamer.models.cpu.quantization import dequantize, quantize


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
