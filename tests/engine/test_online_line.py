"""A line fitted to measurements as they arrive."""

import random

import pytest

from streamer.engine.online_line import OnlineLine


def fitted(*points, ema_weight=0.1, first_slope_share=0.5):
    line = OnlineLine(ema_weight=ema_weight, first_slope_share=first_slope_share)
    for x, y in points:
        line.add(x, y)
    return line


@pytest.mark.parametrize(("intercept", "slope"), [(1.0, 2.0), (0.0, 3.0), (4.0, 0.0)])
def test_the_line_behind_noisy_points_is_found(intercept, slope):
    """Both terms are within a twentieth of the largest value."""
    chance = random.Random(0)
    xs = [chance.uniform(1, 9) for _ in range(400)]
    line = fitted(*((x, (intercept + slope * x) * chance.uniform(0.98, 1.02)) for x in xs))
    assert line.slope == pytest.approx(slope, abs=0.05 * 9)
    assert line.intercept == pytest.approx(intercept, abs=0.05 * (intercept + 9 * slope))


def test_one_point_is_divided_by_the_given_share():
    """Nothing is known before it, and it alone cannot tell the terms apart."""
    assert not fitted().is_known
    line = fitted((4.0, 8.0), first_slope_share=0.25)
    assert line.is_known
    assert (line.slope, line.intercept) == (0.5, 6.0)


def test_points_at_one_place_keep_the_slope():
    """A thousand measurements of the same x do not unlearn what those at other places said."""
    line = fitted(*[(1.0, 3.0), (3.0, 7.0)] * 100, *[(2.0, 5.0)] * 1000)
    assert line.slope == pytest.approx(2.0, rel=0.1)
    assert line.intercept + 2 * line.slope == pytest.approx(5.0)


@pytest.mark.parametrize(
    "points", [[(1.0, 9.0), (5.0, 1.0)], [(1.0, 1.0), (2.0, 9.0)]], ids=["falling", "steep"]
)
def test_neither_term_becomes_negative(points):
    """Costs are never below zero, whatever the noise says."""
    line = fitted(*points * 50)
    assert line.slope >= 0
    assert line.intercept >= -1e-12


def test_a_change_is_followed():
    """Recent measurements weigh most."""
    old, new = [(1.0, 1.0), (2.0, 2.0)] * 50, [(1.0, 10.0), (2.0, 20.0)] * 50
    line = fitted(*old, *new)
    assert line.slope + line.intercept == pytest.approx(10.0, rel=0.01)
