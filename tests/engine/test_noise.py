"""Noise is a function of its key and the step, and of nothing else."""

import torch

from streamer.engine.noise import BLOCK_ROWS, NoiseSource


def test_a_row_is_the_same_in_whatever_order_it_is_asked_for():
    """Rows drawn backwards, singly, or as ranges are the same numbers."""
    forward = NoiseSource(5, 0, "semantic", width=7)
    whole = forward.rows(0, 3 * BLOCK_ROWS)
    backward = NoiseSource(5, 0, "semantic", width=7)
    singly = [backward.row(index) for index in reversed(range(3 * BLOCK_ROWS))]
    assert torch.equal(whole, torch.stack(singly[::-1]))
    assert torch.equal(NoiseSource(5, 0, "semantic", width=7).rows(9, 30), whole[9:39])


def test_other_keys_give_other_numbers():
    """Seed, sentence and stage each change the noise."""
    keys = [(1, 0, "a"), (2, 0, "a"), (1, 1, "a"), (1, 0, "b")]
    rows = [tuple(NoiseSource(*key, width=4).row(0).tolist()) for key in keys]
    assert len(set(rows)) == len(keys)


def test_noise_is_above_zero_with_mean_one():
    """Standard exponential noise, never zero."""
    rows = NoiseSource(0, width=256).rows(0, 64)
    assert rows.min() > 0
    assert abs(float(rows.mean()) - 1) < 0.03
