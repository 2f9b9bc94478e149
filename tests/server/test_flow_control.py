"""Pacing by the client's playback, and the budgets that keep a client within its bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import cast

import pytest

from streamer.server.flow_control import (
    BEAT_S,
    OUTBOX_FRAMES,
    REST_MS,
    Budget,
    Outbox,
    PlaybackClock,
    SlowClientError,
    size_bytes,
)


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


def test_after_an_underrun_there_is_no_burst() -> None:
    """After an underrun the clock continues from the packet that came late."""
    time = FakeTime()
    clock = PlaybackClock(40, time)
    clock.sent(0, 20)
    time.now_s += 1.02
    assert clock.position_ms == 20
    assert clock.sent(20, 40) == pytest.approx(1.0)
    assert clock.position_ms == pytest.approx(20)
    assert clock.wait_s(60, 80) == pytest.approx(0.02)


def test_a_report_before_any_sound_means_nothing() -> None:
    """A client that reports 0 ms played before anything was sent has no underrun."""
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


async def test_rests_of_many_listeners_end_together() -> None:
    """Those due within one beat are woken at once, none before its time and none after its rest."""
    clocks = [PlaybackClock(2000) for _ in range(8)]
    woken_s: list[float] = []

    async def wait(clock: PlaybackClock, wait_ms: float) -> None:
        clock.sent(0, 2000 + wait_ms)
        begun_s = asyncio.get_running_loop().time()
        await clock.until_due(2000 + wait_ms, 2000 + wait_ms)
        woken_s.append(asyncio.get_running_loop().time())
        assert woken_s[-1] - begun_s >= (wait_ms + REST_MS) / 1000 - 1.1 * BEAT_S

    async with asyncio.TaskGroup() as tasks:
        for index, clock in enumerate(clocks):
            tasks.create_task(wait(clock, 1 + index))
    # Eight waits that end within 8 ms of each other lie on one beat, or on both sides of one.
    assert len({round(moment_s / BEAT_S) for moment_s in woken_s}) <= 2


class FakeWire:
    """Takes what is written, or, while it has no room, lets the writer wait."""

    def __init__(self) -> None:
        self.writes: list[Sequence[str | bytes]] = []
        self.room = asyncio.Event()
        self.room.set()
        self.is_aborted = False

    @property
    def transport(self) -> asyncio.Transport:
        return cast("asyncio.Transport", self)

    def abort(self) -> None:
        self.is_aborted = True

    def try_send_all(self, messages: Sequence[str | bytes]) -> bool:
        if self.room.is_set():
            self.writes.append(messages)
        return self.room.is_set()

    async def send_all(self, messages: Sequence[str | bytes]) -> None:
        await self.room.wait()
        self.writes.append(messages)


async def test_frames_are_written_in_order_and_those_of_one_turn_together() -> None:
    """What was put without a pause is one write, and `emptied` returns when all of it was written."""
    wire, counted = FakeWire(), list[int]()
    async with asyncio.TaskGroup() as tasks:
        outbox = Outbox(wire, 1.0, counted.append, tasks.create_task)
        for round_ in range(3):
            for index in range(3):
                await outbox.put(bytes([round_, index]))
            await outbox.emptied()
    assert wire.writes == [[bytes([r, i]) for i in range(3)] for r in range(3)] and counted == [6, 6, 6]


async def test_an_outbox_has_a_task_only_while_there_is_something_to_write() -> None:
    """An idle connection has none, and a session that is over begins none."""
    wire, begun = FakeWire(), list[Coroutine[None, None, None]]()
    outbox = Outbox(wire, 1.0, lambda _: None, begun.append)
    assert begun == []
    for frame in (b"1", b"2"):
        await outbox.put(frame)
    (writing,) = begun
    await writing
    assert wire.writes == [[b"1", b"2"]]
    await outbox.put(b"3")
    await begun[1]
    assert wire.writes == [[b"1", b"2"], [b"3"]]


async def test_a_full_outbox_holds_its_writers_back_and_then_cuts_the_client() -> None:
    """No more than its bound waits, besides what is being written, and not for longer than the time-out."""
    wire = FakeWire()
    wire.room.clear()
    num_put = 0

    async def fill(outbox: Outbox) -> None:
        nonlocal num_put
        while True:
            await outbox.put(b"x")
            num_put += 1

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fill(Outbox(wire, 0.1, lambda _: None, tasks.create_task)))
    assert caught.group_contains(SlowClientError) and wire.is_aborted
    assert num_put == 2 * OUTBOX_FRAMES


def test_a_writer_faster_than_its_budget_is_read_more_slowly() -> None:
    """A burst is free, then the excess says how long to wait."""
    time = FakeTime()
    budget = Budget(100, 200, time)
    assert budget.spend(200) == 0
    assert budget.spend(50) == pytest.approx(0.5)
    time.now_s += 10
    assert budget.spend(200) == 0


def test_a_texts_size_is_that_of_its_bytes() -> None:
    """Limits are in bytes, whatever a character takes."""
    assert [size_bytes(frame) for frame in ("abc", "\U0001f600é", b"\0\1")] == [3, 6, 2]
