"""The simulator tells a machine that keeps up from one that does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.simulate import Case, StepTimes, simulate
from streamer.models.vocabulary import LARGE

CASE = Case(
    streams=2,
    seconds=14.0,
    seed=0,
    lead_s=2.0,
    generate_ahead_s=8.0,
    chunk_frames=(8, 16, 30, 60),
    later_chunk_frames=(64,),
)


def test_a_fast_machine_leaves_no_gaps_and_idles():
    """Two listeners are nothing to it."""
    result = simulate(CASE, LARGE, StepTimes())
    assert result["utterances"] >= 2
    assert result["silence_per_sound"] == 0
    assert result["first_audio_p99_ms"] < 200
    assert result["busy"] < 1


def test_a_slow_machine_is_busy_and_leaves_gaps():
    """At fifteen milliseconds a step, 200 steps a second of sound cannot be made in time."""
    result = simulate(replace(CASE, seconds=30.0), LARGE, replace(StepTimes(), causal_step=15.0))
    assert result["share_with_gap"] == 1
    assert result["silence_per_sound"] > 0.5
    assert result["busy"] > 0.5


def test_the_same_seed_gives_the_same_figures():
    """Nothing but the simulated clock is measured."""
    assert simulate(CASE, LARGE, StepTimes()) == simulate(CASE, LARGE, StepTimes())


@pytest.mark.parametrize("arrivals", ["poisson", "burst"])
def test_listeners_may_come_by_chance_or_all_at_once(arrivals):
    """A few of them are served on a fast machine, in whatever way they come."""
    result = simulate(replace(CASE, streams=6, arrivals=arrivals), LARGE, StepTimes())
    assert result["utterances"] >= 3
    assert result["refused_share"] == 0
    assert result["silence_per_sound"] < 0.01


def test_with_a_limit_a_slow_machine_refuses_instead_of_stuttering():
    """Those who are let in hear less silence than all do where nobody is refused."""
    slow = replace(StepTimes(), causal_step=2.5)
    case = replace(CASE, streams=24, seconds=40.0, arrivals="poisson")
    crowded, limited = (simulate(replace(case, max_load=load), LARGE, slow) for load in (None, 0.9))
    assert crowded["refused_share"] == 0 < limited["refused_share"]
    assert limited["silence_per_sound"] < crowded["silence_per_sound"] / 2
