"""What the rows of a step cost is learnt from the steps that were run."""

import math
import random

import pytest

from streamer.engine.step_costs import StepCosts


def seen(*steps):
    costs = StepCosts()
    for num_decodes, num_prefills, duration_s in steps:
        costs.observe(num_decodes, num_prefills, duration_s)
    return costs


def test_the_cost_of_unseen_rows_is_infinite():
    """Decodes and prefills are learnt separately, each from its first step on."""
    assert (seen().decode_row_s, seen().prefill_row_s) == (math.inf, math.inf)
    assert seen((1, 0, 0.001)).prefill_row_s == math.inf
    assert seen((0, 1, 0.01)).decode_row_s == math.inf
    assert seen((0, 2, 0.01)).prefill_row_s == 0.005


def test_a_prefill_beside_decodes_of_unknown_cost_teaches_nothing():
    """Its part of the duration cannot be told from theirs."""
    assert seen((3, 1, 0.01)).prefill_row_s == math.inf


@pytest.mark.parametrize(("fixed_s", "decode_row_s"), [(0.00045, 0.00003), (0.0002, 0.0002), (0.0, 0.001)])
def test_the_fixed_cost_and_the_rows_cost_are_told_apart(fixed_s, decode_row_s):
    """From noisy steps of different sizes both are found within a tenth of a one-row step."""
    chance = random.Random(0)
    costs = StepCosts()
    for _ in range(500):
        rows = chance.randint(1, 30)
        costs.observe(rows, 0, (fixed_s + decode_row_s * rows) * chance.uniform(0.95, 1.05))
    assert costs.decode_row_s == pytest.approx(decode_row_s, abs=0.1 * (fixed_s + decode_row_s))
    assert costs.fixed_s == pytest.approx(fixed_s, abs=0.3 * (fixed_s + decode_row_s))


def test_a_prefill_costs_what_the_decodes_do_not_explain():
    """That holds in mixed steps too."""
    costs = seen(*[(rows, 0, 0.001 + 0.0001 * rows) for rows in (1, 2, 3, 4) * 100])
    for _ in range(100):
        costs.observe(5, 2, 0.0015 + 2 * 0.009)
    assert costs.prefill_row_s == pytest.approx(0.009, rel=0.05)


def test_steps_of_one_size_leave_a_plausible_guess():
    """A row costs between nothing and the whole step, and both parts add up to the step."""
    costs = seen(*[(4, 0, 0.004)] * 1000)
    assert 0.0 < costs.decode_row_s < 0.001
    assert costs.fixed_s + 4 * costs.decode_row_s == pytest.approx(0.004)


def test_an_outlier_counts_little():
    """One step that took a thousand times longer changes little, and a slower machine is still noticed."""
    steady = [(rows, 0, 0.001) for rows in (1, 2)] * 50
    costs = seen(*steady, (1, 0, 1.0))
    assert costs.fixed_s + costs.decode_row_s < 0.0013
    for rows in (1, 2) * 100:
        costs.observe(rows, 0, 0.01)
    assert costs.fixed_s + costs.decode_row_s == pytest.approx(0.01, rel=0.05)


def test_a_first_step_of_no_duration_is_unlearnt():
    """A clock that is too coarse to see the step does not make all later ones free."""
    costs = seen((1, 0, 0.0), (0, 1, 0.0), *[(1, 0, 0.001), (0, 1, 0.01)] * 200)
    assert costs.fixed_s + costs.decode_row_s == pytest.approx(0.001, rel=0.05)
    assert costs.prefill_row_s == pytest.approx(0.01, rel=0.05)


def test_a_first_prefill_that_was_an_outlier_is_unlearnt_at_once():
    """A step is never fast by accident, so a much faster one replaces it."""
    assert seen((0, 1, 0.9), (0, 1, 0.01)).prefill_row_s == pytest.approx(0.01)
