"""Pacing by the listener's clock, and the budgets that keep a client within its bounds."""

from __future__ import annotations

import pytest

from streamer.server.flow_control import ByteBudget, PlaybackClock


class FakeTime:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_sound_may_run_ahead_by_the_lead_only() -> None:
    """A packet may leave when it ends at most the lead after what is being heard."""
    time = FakeTime()
    clock = PlaybackClock(100, time)
    assert clock.wait_s(0, 20) == 0
    clock.sent(0, 20)
    clock.sent(20, 100)
    assert clock.wait_s(100, 120) == pytest.approx(0.02)
    time.now_s += 0.02
    assert clock.wait_s(100, 120) == pytest.approx(0)


def test_without_lead_each_packet_waits_for_its_own_time() -> None:
    """A lead of 0 sends in real time, and null does not wait at all."""
    time = FakeTime()
    clock = PlaybackClock(0, time)
    assert clock.wait_s(0, 20) == 0
    clock.sent(0, 20)
    assert clock.wait_s(20, 40) == pytest.approx(0.02)
    assert PlaybackClock(None, time).wait_s(10_000, 10_020) == 0


def test_a_listener_who_ran_dry_does_not_get_a_burst() -> None:
    """After an underrun the clock goes on from the packet that came late."""
    time = FakeTime()
    clock = PlaybackClock(40, time)
    clock.sent(0, 20)
    time.now_s += 1.02
    assert clock.position_ms == 20
    assert clock.sent(20, 40) == pytest.approx(1.0)
    assert clock.position_ms == pytest.approx(20)
    assert clock.wait_s(60, 80) == pytest.approx(0.02)


def test_a_report_before_any_sound_means_nothing() -> None:
    """Who says that nothing was played before anything was sent has not run dry."""
    time = FakeTime()
    clock = PlaybackClock(100, time)
    clock.played(0)
    time.now_s += 1
    assert clock.sent(0, 20) == 0 and clock.position_ms == 0


def test_a_report_of_the_listener_sets_the_clock() -> None:
    """`played` counts, but never beyond what was sent."""
    time = FakeTime()
    clock = PlaybackClock(100, time)
    clock.sent(0, 1000)
    clock.played(500)
    assert clock.position_ms == pytest.approx(500)
    clock.played(99_999)
    assert clock.position_ms == pytest.approx(1000)


def test_a_sound_behind_another_begins_when_that_is_over() -> None:
    """The lead of the second is counted from the first one's end."""
    time = FakeTime()
    first, second = PlaybackClock(500, time), PlaybackClock(500, time)
    first.sent(0, 2000)
    second.begin_after(first)
    assert second.wait_s(0, 20) == pytest.approx(1.52)
    time.now_s += 1.6
    assert second.wait_s(0, 20) == 0
    second.sent(0, 20)
    assert second.position_ms == pytest.approx(-400)


def test_a_writer_faster_than_its_budget_is_read_more_slowly() -> None:
    """A burst is free, then the excess says how long to wait."""
    time = FakeTime()
    budget = ByteBudget(100, 200, time)
    assert budget.spend(200) == 0
    assert budget.spend(50) == pytest.approx(0.5)
    time.now_s += 10
    assert budget.spend(200) == 0
