"""What rows cost is learnt from the steps that were made."""

import math
import random

import pytest

from streamer.engine.step_costs import StepCosts


def seen(*steps):
    costs = StepCosts()
    for num_decodes, num_prefills, duration_s in steps:
        costs.observe(num_decodes, num_prefills, duration_s)
    return costs


def test_rows_that_were_not_seen_cost_without_limit():
    """Light and heavy rows are known apart, each from its first step on."""
    assert (seen().decode_row_s, seen().prefill_row_s) == (math.inf, math.inf)
    assert seen((1, 0, 0.001)).prefill_row_s == math.inf
    assert seen((0, 1, 0.01)).decode_row_s == math.inf
    assert seen((0, 2, 0.01)).prefill_row_s == 0.005


def test_a_heavy_row_beside_light_ones_of_unknown_cost_teaches_nothing():
    """Its part cannot be told from theirs."""
    assert seen((3, 1, 0.01)).prefill_row_s == math.inf


@pytest.mark.parametrize(("fixed_s", "decode_row_s"), [(0.00045, 0.00003), (0.0002, 0.0002), (0.0, 0.001)])
def test_the_steps_part_and_the_rows_part_are_told_apart(fixed_s, decode_row_s):
    """Steps of different sizes, noisy: both are found within a tenth of a one-row step."""
    chance = random.Random(0)
    costs = StepCosts()
    for _ in range(500):
        rows = chance.randint(1, 30)
        costs.observe(rows, 0, (fixed_s + decode_row_s * rows) * chance.uniform(0.95, 1.05))
    assert costs.decode_row_s == pytest.approx(decode_row_s, abs=0.1 * (fixed_s + decode_row_s))
    assert costs.fixed_s == pytest.approx(fixed_s, abs=0.3 * (fixed_s + decode_row_s))


def test_a_heavy_row_costs_what_light_ones_do_not_explain():
    """In mixed steps too."""
    costs = seen(*[(rows, 0, 0.001 + 0.0001 * rows) for rows in (1, 2, 3, 4) * 100])
    for _ in range(100):
        costs.observe(5, 2, 0.0015 + 2 * 0.009)
    assert costs.prefill_row_s == pytest.approx(0.009, rel=0.05)


def test_steps_of_one_size_leave_a_plausible_guess():
    """A row costs something between nothing and the whole step, and both parts make up the step."""
    costs = seen(*[(4, 0, 0.004)] * 1000)
    assert 0.0 < costs.decode_row_s < 0.001
    assert costs.fixed_s + 4 * costs.decode_row_s == pytest.approx(0.004)


def test_a_hiccup_is_not_believed():
    """One step that was held up a thousand times over changes little, and a slower machine is still noticed."""
    steady = [(rows, 0, 0.001) for rows in (1, 2)] * 50
    costs = seen(*steady, (1, 0, 1.0))
    assert costs.fixed_s + costs.decode_row_s < 0.0013
    for rows in (1, 2) * 100:
        costs.observe(rows, 0, 0.01)
    assert costs.fixed_s + costs.decode_row_s == pytest.approx(0.01, rel=0.05)


def test_a_first_step_that_took_no_time_is_unlearnt():
    """A clock too coarse to see it does not make all later steps free."""
    costs = seen((1, 0, 0.0), (0, 1, 0.0), *[(1, 0, 0.001), (0, 1, 0.01)] * 200)
    assert costs.fixed_s + costs.decode_row_s == pytest.approx(0.001, rel=0.05)
    assert costs.prefill_row_s == pytest.approx(0.01, rel=0.05)


def test_a_first_heavy_step_that_was_held_up_is_unlearnt_at_once():
    """No step is quick by accident."""
    assert seen((0, 1, 0.9), (0, 1, 0.01)).prefill_row_s == pytest.approx(0.01)
