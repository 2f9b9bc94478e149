"""The open loop: utterances arrive by the clock, and enough of them are measured."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.loadtest.load import Load, arrival_times


def test_arrivals_are_poisson_and_repeatable() -> None:
    """The mean gap is the rate's, gaps vary as their mean, and a seed gives the same moments."""
    moments = arrival_times(5.0, seed=1)
    times = np.array([next(moments) for _ in range(4000)])
    gaps = np.diff(times)
    assert gaps.mean() == pytest.approx(0.2, rel=0.06)
    assert gaps.std() == pytest.approx(0.2, rel=0.08)
    again = arrival_times(5.0, seed=1)
    assert [next(again) for _ in range(5)] == times[:5].tolist()


def test_a_rate_is_measured_until_enough_utterances_have_arrived() -> None:
    """A step measures the least number of utterances and the least time, without the warm-up."""
    slow = Load(0.5, seconds=10.0, warm_up_s=5.0, num_utterances=100).measured()
    assert len(slow) == 100
    quick = Load(50.0, seconds=10.0, warm_up_s=5.0, num_utterances=100).measured()
    assert len(quick) == pytest.approx(500, rel=0.2)
    assert quick.start == pytest.approx(250, rel=0.2)
