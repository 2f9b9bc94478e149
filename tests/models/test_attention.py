"""Attention is one function, whichever form computes it."""

import pytest
import torch
from torch.nn import functional

from streamer.models.attention import LONG, attend


def heads(length, dtype):
    torch.manual_seed(length)
    # As the projection hands them over: views of one tensor.
    return torch.randn(2, length, 3, 3, 16).to(dtype).permute(2, 0, 3, 1, 4).unbind(0)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("length", [5, LONG - 1, LONG, LONG + 131])
def test_every_form_is_the_definition(length, dtype, is_causal):
    """Short and long, whole and causal, at and off a block's border: as in float64."""
    query, key, value = heads(length, dtype)
    exact = functional.scaled_dot_product_attention(
        query.double(), key.double(), value.double(), is_causal=is_causal
    )
    with torch.inference_mode():
        attended = attend(query, key, value, is_causal=is_causal)
    assert attended.shape == query.shape
    tolerance = 0.03 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(attended.double(), exact, atol=tolerance, rtol=tolerance)


def test_nan_stays_in_its_row_and_is_seen():
    """One row's NaN reaches all that attends to it, and nothing of its neighbour."""
    query, key, value = (part.clone() for part in heads(LONG, torch.bfloat16))
    value[0, :, 3] = torch.nan
    with torch.inference_mode():
        attended = attend(query, key, value, is_causal=True)
    assert attended[0, :, 3:].isnan().all()
    assert attended[1].isfinite().all()
