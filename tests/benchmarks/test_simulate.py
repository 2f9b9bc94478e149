"""The simulator distinguishes a machine that keeps up from one that does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.simulate import simulate
from benchmarks.simulated_listeners import ARRIVALS, Case
from benchmarks.simulated_machine import MACHINES, Machine

CASE = Case(streams=2, seconds=14.0)
FAST = MACHINES["h100-large"]


def slower(factor: float) -> Machine:
    return replace(FAST, times=FAST.times.scaled(factor))


def test_a_fast_machine_leaves_no_gaps_and_idles():
    """Two listeners hear no gap on a fast machine, which is idle most of the time."""
    result = simulate(CASE, FAST)
    assert result["utterances"] >= 2
    assert result["silence_per_sound"] == 0
    assert result["first_audio_p99_ms"] < 200
    assert result["busy"] < 1


def test_a_slow_machine_is_busy_and_leaves_gaps():
    """At 15 ms per step the 200 steps of a second of sound cannot be made in time."""
    result = simulate(replace(CASE, seconds=30.0), slower(30.0))
    assert result["share_with_gap"] == 1
    assert result["silence_per_sound"] > 0.5
    assert result["busy"] > 0.5


def test_the_same_seed_gives_the_same_figures():
    """Only the simulated clock is measured, so a run can be repeated exactly."""
    assert simulate(CASE, FAST) == simulate(CASE, FAST)


@pytest.mark.parametrize("arrivals", ARRIVALS)
def test_listeners_may_come_in_any_way(arrivals):
    """A few listeners are served on a fast machine by every kind of arrivals."""
    result = simulate(replace(CASE, streams=6, arrivals=arrivals), FAST)
    assert result["utterances"] >= 3
    assert result["refused_share"] == 0
    assert result["silence_per_sound"] < 0.02


@pytest.mark.parametrize("odd", ["file_share", "pausing_share"])
def test_who_takes_a_file_or_pauses_costs_the_others_nothing(odd):
    """Beside clients that take a file or pause, live listeners hear no gap and wait no longer."""
    result = simulate(replace(CASE, streams=12, seconds=30.0, **{odd: 0.5}), FAST)
    assert result["share_with_gap"] == 0
    assert result["first_audio_p99_ms"] < 200


def test_a_small_burst_on_a_small_machine_is_served_one_after_the_other():
    """Of three listeners who begin together on two cores the first waits no longer than alone, and none hears a gap."""
    alone, together = (
        simulate(Case(streams, seconds=20.0, arrivals="burst"), MACHINES["builtin-cpu"]) for streams in (1, 3)
    )
    assert together["first_audio_p50_ms"] < 2.5 * alone["first_audio_p50_ms"]
    assert together["share_with_gap"] == 0


@pytest.mark.parametrize(("factor", "streams"), [(1.0, 8), (1.0, 5), (1.4, 8)])
def test_a_burst_that_a_small_machine_lets_in_hears_no_gap(monkeypatch, factor, streams):
    """Whoever is let in after the first hears no stop of a packet's length, and neither do those who were there."""
    monkeypatch.setattr("benchmarks.simulate.GAP_S", 0.02)
    machine = MACHINES["builtin-cpu"]
    machine = replace(machine, times=machine.times.scaled(factor))
    for seed in range(3):
        case = Case(streams, seconds=15.0, seed=seed, arrivals="burst", max_load=1.2)
        result = simulate(case, machine)
        assert result["utterances"] >= 3
        assert result["share_with_gap"] == 0


def test_with_a_limit_a_slow_machine_refuses_instead_of_stuttering():
    """Admitted listeners hear less silence than listeners do without a limit."""
    case = replace(CASE, streams=24, seconds=40.0, arrivals="poisson")
    crowded, limited = (simulate(replace(case, max_load=load), slower(5.0)) for load in (None, 0.9))
    assert crowded["refused_share"] == 0 < limited["refused_share"]
    assert limited["silence_per_sound"] < crowded["silence_per_sound"] / 2
