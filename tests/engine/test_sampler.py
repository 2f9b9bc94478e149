"""The filter chain and the draw, against the reference's arithmetic written out plainly in numpy."""

import numpy as np
import pytest
import torch

from streamer.engine.noise import NoiseSource
from streamer.engine.sampler import RowSampling, filter_logits, sample


def reference_probabilities(logits, temperature, top_k, top_p):
    """The reference's chain: top-p on the plain logits, top-k keeping ties, temperature, softmax."""
    logits = logits.astype(np.float64).copy()

    def softmax(values):
        powers = np.exp(values - values.max())
        return powers / powers.sum()

    if top_p is not None:
        order = np.argsort(-logits, kind="stable")
        beyond = np.cumsum(softmax(logits[order])) > top_p
        beyond[1:] = beyond[:-1].copy()
        beyond[0] = False
        logits[order[beyond]] = -np.inf
    if top_k is not None:
        logits[logits < np.sort(logits)[::-1][min(top_k, len(logits)) - 1]] = -np.inf
    return softmax(logits / temperature)


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(0.7, None, None), (1.3, 5, None), (0.5, None, 0.6), (0.9, 4, 0.8)]
)
def test_probabilities_are_the_references(temperature, top_k, top_p):
    """Top-p sees the logits before the temperature, top-k comes second, whatever the neighbours' filters."""
    logits = torch.randn(3, 40, generator=torch.Generator().manual_seed(3)) * 2
    mixed = [RowSampling(0.7), RowSampling(temperature, top_k, top_p), RowSampling(1.0, 1)]
    draw = sample(logits.clone(), torch.ones(3, 40), mixed)
    expected = reference_probabilities(logits[1].numpy(), temperature, top_k, top_p)
    np.testing.assert_allclose(draw.probabilities[1].numpy(), expected, atol=1e-6)


def test_ties_at_the_top_k_border_are_kept():
    """Two equal logits at the k-th place both stay possible."""
    kept = filter_logits(torch.tensor([3.0, 1.0, 2.0, 2.0]), top_k=2, top_p=None)
    assert torch.isfinite(kept).tolist() == [True, False, True, True]


def test_top_p_never_removes_everything():
    """The most likely token stays for any top_p."""
    kept = filter_logits(torch.tensor([0.0, 4.0, 1.0]), top_k=None, top_p=0.0)
    assert torch.isfinite(kept).tolist() == [False, True, False]


def test_temperature_zero_is_the_best_token_with_all_the_probability():
    """Temperature 0 is the argmax beside a row that is drawn."""
    logits = torch.tensor([[0.1, 0.3, 0.2], [0.1, 0.3, 0.2]])
    draw = sample(logits, torch.tensor([[9.0, 9.0, 1e-6]] * 2), [RowSampling(0.0), RowSampling(1.0)])
    assert draw.tokens.tolist() == [1, 2]
    assert draw.probabilities[0].tolist() == [0, 1, 0]


def test_a_row_that_is_not_finite_is_named_and_harms_no_other():
    """NaN in one row leaves the neighbour's draw as it is alone."""
    clean = torch.randn(1, 12, generator=torch.Generator().manual_seed(0))
    noise = NoiseSource(1, width=12).rows(0, 2)
    rows = [RowSampling(0.8), RowSampling(0.8)]
    draw = sample(torch.cat([torch.full((1, 12), torch.nan), clean]), noise, rows)
    alone = sample(clean.clone(), noise[1:], rows[1:])
    assert draw.is_finite.tolist() == [False, True]
    assert draw.tokens[1] == alone.tokens[0]


def test_draws_follow_the_distribution():
    """The share of every token over many keyed draws is its probability."""
    logits = torch.log(torch.tensor([0.5, 0.3, 0.2])).repeat(4000, 1)
    draw = sample(logits, NoiseSource(7, "share", width=3).rows(0, 4000), [RowSampling(1.0)] * 4000)
    shares = torch.bincount(draw.tokens, minlength=3) / 4000
    np.testing.assert_allclose(shares.numpy(), [0.5, 0.3, 0.2], atol=0.03)
