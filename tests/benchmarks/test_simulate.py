"""The simulator tells a machine that keeps up from one that does not."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.simulate import Case, StepTimes, simulate
from streamer.models.vocabulary import LARGE

CASE = Case(
    streams=2,
    seconds=8.0,
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
    """At ten milliseconds a step, 200 steps a second of sound cannot be made in time."""
    result = simulate(CASE, LARGE, replace(StepTimes(), causal_step=10.0))
    assert result["share_with_gap"] == 1
    assert result["silence_per_sound"] > 0.5
    assert result["busy"] > 0.5


def test_the_same_seed_gives_the_same_figures():
    """Nothing but the simulated clock is measured."""
    assert simulate(CASE, LARGE, StepTimes()) == simulate(CASE, LARGE, StepTimes())
