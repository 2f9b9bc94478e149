"""Every form of attention computes the same function."""

import pytest
import torch
from torch.nn import functional

from streamer.models.attention import LONG, attend


def heads(length, dtype):
    torch.manual_seed(length)
    # The projection returns views of one tensor, too.
    return torch.randn(2, length, 3, 3, 16).to(dtype).permute(2, 0, 3, 1, 4).unbind(0)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("length", [5, LONG - 1, LONG, LONG + 131])
def test_every_form_is_the_definition(length, dtype, is_causal):
    """Attention equals that in float64: short and long, causal or not, at a block's border or off it."""
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
    """NaN reaches every position of its row that attends to it, and none of the neighbouring row."""
    query, key, value = (part.clone() for part in heads(LONG, torch.bfloat16))
    value[0, :, 3] = torch.nan
    with torch.inference_mode():
        attended = attend(query, key, value, is_causal=True)
    assert attended[0, :, 3:].isnan().all()
    assert attended[1].isfinite().all()
