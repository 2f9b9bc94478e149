"""The filters and the draw agree with the reference's arithmetic, written out in numpy."""

import numpy as np
import pytest
import torch

from streamer.engine.device.noise import exponential
from streamer.engine.device.sampler import NO_TOP_K, NO_TOP_P, Sampling, filter_logits, sample, sample_plainly

BOTH = pytest.mark.parametrize("draw_from", [sample, sample_plainly], ids=["compiled", "plain"])


def sampling(*rows, seed=0):
    """Return the parameters of rows given as (temperature, top_k, top_p), each with its own noise."""
    return Sampling(
        torch.arange(len(rows)) + 1000 * seed,
        torch.arange(len(rows)) * 3,
        torch.tensor([row[0] for row in rows], dtype=torch.float32),
        torch.tensor([NO_TOP_K if row[1] is None else row[1] for row in rows]),
        torch.tensor([NO_TOP_P if row[2] is None else row[2] for row in rows]),
    )


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def reference_probabilities(logits, temperature, top_k, top_p):
    """Apply the reference's order: top-p on the unscaled logits, top-k keeping ties, temperature, softmax."""
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


@BOTH
@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(0.7, None, None), (1.3, 5, None), (0.5, None, 0.6), (0.9, 4, 0.8)]
)
def test_draws_and_probabilities_are_the_references(draw_from, temperature, top_k, top_p):
    """Top-p sees the logits before the temperature and top-k comes second, whatever filters other rows have.

    The token has the largest ratio of probability to noise, and the probability is that of the given end token.
    """
    logits = normal(3, 40, seed=3) * 2
    expected = reference_probabilities(logits[1].numpy(), temperature, top_k, top_p)
    for seed in range(20):
        mixed = sampling((0.7, None, None), (temperature, top_k, top_p), (1.0, 1, None), seed=seed)
        noise = exponential(mixed.keys, mixed.steps, 40)[1].double().numpy()
        for end in (0, int(expected.argmax())):
            draw = draw_from(logits.clone(), mixed, end=end)
            assert draw.tokens[1] == (expected / noise).argmax()
            np.testing.assert_allclose(draw.end_probabilities[1].item(), expected[end], atol=1e-6)


@BOTH
def test_a_caller_that_knows_that_nothing_is_filtered_gets_the_same(draw_from):
    """`is_filtered` False is only faster."""
    rows, logits = sampling(*[(0.8, None, None)] * 50), normal(50, 300) * 3
    filtered = draw_from(logits, rows, end=7)
    plain = draw_from(logits, rows, is_filtered=False, end=7)
    assert torch.equal(filtered.tokens, plain.tokens)
    torch.testing.assert_close(filtered.end_probabilities, plain.end_probabilities)


@pytest.mark.parametrize("scale", [0.1, 3.0, 30.0])
def test_the_compiled_draw_is_the_plain_one(scale):
    """For flat and steep distributions and any temperature the tokens and probabilities are the same."""
    rows = sampling(*[(temperature, None, None) for temperature in (0.0, 0.05, 0.7, 1.0, 3.0) * 40])
    logits = normal(200, 500) * scale
    compiled = sample(logits, rows, is_filtered=False, end=3)
    plain = sample_plainly(logits, rows, is_filtered=False, end=3)
    assert torch.equal(compiled.tokens, plain.tokens)
    torch.testing.assert_close(compiled.end_probabilities, plain.end_probabilities)


def test_ties_at_the_top_k_border_are_kept():
    """Two equal logits at the k-th place both remain possible."""
    kept = filter_logits(torch.tensor([[3.0, 1.0, 2.0, 2.0]]), sampling((1.0, 2, None)))
    assert torch.isfinite(kept).tolist() == [[True, False, True, True]]


def test_top_p_never_removes_everything():
    """The most likely token stays for any top_p."""
    kept = filter_logits(torch.tensor([[0.0, 4.0, 1.0]]), sampling((1.0, None, 0.0)))
    assert torch.isfinite(kept).tolist() == [[False, True, False]]


@BOTH
def test_temperature_zero_is_the_best_token_with_all_the_probability(draw_from):
    """Temperature 0 takes the argmax, also beside rows that are drawn."""
    logits = torch.tensor([[0.1, 0.3, 0.2]]).repeat(60, 1)
    rows = sampling((0.0, None, None), *[(1.0, None, None)] * 59)
    draw = draw_from(logits, rows, end=1)
    assert draw.tokens[0] == 1
    assert set(draw.tokens[1:].tolist()) == {0, 1, 2}
    assert draw.end_probabilities[0] == 1
    assert draw_from(logits, rows, end=0).end_probabilities[0] == 0


@BOTH
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("is_filtered", [False, True])
def test_a_row_that_is_not_finite_is_named_and_harms_no_other(draw_from, bad, is_filtered):
    """NaN in one row does not change the draw of another."""
    logits, rows = normal(2, 12), sampling(*[(0.8, None, None)] * 2)
    alone = draw_from(logits.clone(), rows, is_filtered=is_filtered)
    logits[0, 5] = bad
    draw = draw_from(logits, rows, is_filtered=is_filtered)
    assert draw.is_finite.tolist() == [False, True]
    assert 0 <= draw.tokens[0] < 12
    assert draw.tokens[1] == alone.tokens[1]


@BOTH
def test_draws_follow_the_distribution(draw_from):
    """The frequency of every token over many draws is its probability."""
    logits = torch.log(torch.tensor([0.5, 0.3, 0.2])).repeat(4000, 1)
    draw = draw_from(logits, sampling(*[(1.0, None, None)] * 4000))
    shares = torch.bincount(draw.tokens, minlength=3) / 4000
    np.testing.assert_allclose(shares.numpy(), [0.5, 0.3, 0.2], atol=0.03)
