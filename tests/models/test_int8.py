"""Int8 weights: close to the float ones, and blind to neighbours."""

from __future__ import annotations

import torch
from torch import nn

from streamer.models.gpt import CausalGpt
from streamer.models.int8 import Int8Linear, quantize
from streamer.models.vocabulary import TransformerConfig


def test_the_product_is_close_to_the_float_one_in_both_shapes() -> None:
    """One position a row or many: within the rounding of int8 weights and bfloat16 activations."""
    torch.manual_seed(0)
    linear = nn.Linear(64, 48, bias=False)
    quantized = Int8Linear(linear)
    for shape in ((3, 64), (3, 1, 64), (3, 5, 64)):
        x = torch.randn(shape)
        expected = linear(x)
        assert (quantized(x) - expected).abs().max() < 0.02 * expected.abs().max()
        assert quantized(x).shape == expected.shape


def test_a_row_is_the_same_alone_and_beside_loud_rows() -> None:
    """No scale is shared between rows."""
    torch.manual_seed(0)
    quantized = Int8Linear(nn.Linear(64, 48, bias=False))
    x = torch.randn(8, 64)
    x[1:] *= 1000
    assert torch.equal(quantized(x)[:1], quantized(x[:1]))


def test_quantize_replaces_every_linear_layer() -> None:
    """The layers' and the head's, at any depth."""
    config = TransformerConfig(2, 2, 32, 16, 40, 40)
    model = CausalGpt(config)
    quantize(model)
    assert not [part for part in model.modules() if isinstance(part, nn.Linear)]
    assert sum(isinstance(part, Int8Linear) for part in model.modules()) == 2 * 4 + 1
