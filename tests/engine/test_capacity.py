"""How many listeners a machine can supply is learnt from its steps, and so is whether one more may begin."""

import random

import pytest

from streamer.engine.capacity import MIN_LISTENERS, Capacity

SHARED_S, OWN_S = 0.10, 0.02
"""The costs of the machine simulated below, which supplies (0.9 - 0.1) / 0.02 = 40 listeners."""


def work(capacity, num_listeners, seconds=10.0, *, noise=None):
    """Serve the listeners together until each has received `seconds` of audio."""
    for index in range(num_listeners):
        capacity.arrive(str(index), 0.0)
    for _ in range(int(seconds * 10)):
        busy_s = 0.1 * (SHARED_S + OWN_S * num_listeners) * (noise() if noise else 1)
        capacity.observe(busy_s, num_listeners)
        capacity.delivered(0.1 * num_listeners)
    for index in range(num_listeners):
        capacity.leave(str(index), seconds)
    capacity.idle()


def fill(capacity, num_listeners):
    for index in range(num_listeners):
        capacity.arrive(f"present {index}", 0.0)


def short_of(capacity, now_s=0.0):
    room = capacity.room(now_s)
    return room.num_unheard, room.num_short


def test_before_anything_was_measured_listeners_begin_one_by_one():
    """An engine that has learnt nothing has no limit, but nobody begins beside one that has no sound yet."""
    capacity = Capacity(0.9)
    assert capacity.num_listeners is None and capacity.room(0.0).is_enough()
    capacity.arrive("first", 0.0)
    assert not capacity.room(0.0).is_enough()
    capacity.heard("first", 1.0, 0.0)
    assert capacity.room(0.0).is_enough()


def test_without_a_limit_nothing_is_said_of_room():
    """With `max_load` None the load is measured, and there is room for every listener."""
    capacity = Capacity(None)
    work(capacity, 4)
    fill(capacity, 1000)
    assert capacity.room(0.0) is None and capacity.load(4) > 0


def test_a_listener_is_short_of_sound_until_a_safe_lead_is_there():
    """Without any sound, shortly after it, and close to an underrun; not with sound to come or to be consumed."""
    capacity = Capacity(0.9)
    for name in ("new", "ahead", "late", "parked", "gone"):
        capacity.arrive(name, 0.0)
    capacity.heard("new", float("inf"), 0.0)
    capacity.heard("ahead", 10.0, 0.0)
    capacity.heard("late", 8.5, 0.0)
    capacity.heard("parked", 3.0, 8.0)
    capacity.leave("gone", 1.0)
    capacity.heard("gone", 10.0, 0.0)  # says nothing any more
    assert [short_of(capacity, now_s) for now_s in (0.0, 8.0, 9.5)] == [(1, 1), (1, 2), (1, 3)]


def test_the_safe_lead_follows_the_time_of_a_first_sound():
    """Four first sounds, as their mean says, and never more than where nothing was measured."""
    capacity = Capacity(0.9)
    capacity.arrive("here", 0.0)
    capacity.heard("here", 0.5, 0.0)
    assert short_of(capacity) == (0, 1)
    capacity.begun(0.1)
    assert short_of(capacity, 0.05) == (0, 0) and short_of(capacity, 0.15) == (0, 1)
    for _ in range(50):
        capacity.begun(5.0)  # as on a machine that became slow
    capacity.heard("here", 0.8, 0.0)
    assert short_of(capacity) == (0, 0) and short_of(capacity, 0.1) == (0, 1)
    for _ in range(50):
        capacity.begun(0.0)
    assert short_of(capacity, 0.7) == (0, 0)
    capacity.begun(0.1)  # it is measured again after times of zero
    capacity.reset()
    assert short_of(capacity, 0.1) == (0, 1)


def test_who_has_most_sound_ahead_waits_for_all_others_chunks():
    """Each needs two first sounds more than the one who has the next less, because theirs is made later."""
    capacity = Capacity(0.9)
    capacity.begun(0.05)
    for number, lead_s in enumerate((0.25, 0.25, 0.45)):
        capacity.arrive(str(number), 0.0)
        capacity.heard(str(number), lead_s, 0.0)
    assert short_of(capacity) == (0, 1)  # the second needs 0.3 s
    capacity.heard("1", 0.35, 0.0)
    assert short_of(capacity) == (0, 0)


def test_where_several_may_begin_at_once_the_lead_is_the_longest():
    """Each of them waits for others that are not known yet."""
    capacity = Capacity(0.9)
    for num_listeners in (1, 4, 16):
        work(capacity, num_listeners)
    assert capacity.room(0.0).max_short > 1
    capacity.begun(0.01)
    capacity.arrive("here", 0.0)
    capacity.heard("here", 0.7, 0.0)
    assert short_of(capacity) == (0, 1)


def test_no_more_is_believed_than_was_tried():
    """A measurement that seems to say that further listeners cost nothing does not let in a crowd of any size."""
    capacity = Capacity(1.2)
    work(capacity, 1)
    for index in range(4):
        capacity.arrive(str(index), 0.0)
    capacity.observe(0.01, 4)
    capacity.delivered(12.0)
    assert capacity.num_listeners == 8
    assert capacity.room(0.0).max_short == 1


def test_the_limit_is_where_shared_and_own_costs_fill_the_time():
    """Work with few listeners foretells twice as many, as far as the machine's forty, and other sizes confirm it."""
    capacity = Capacity(0.9)
    for num_listeners in (1, 4):
        work(capacity, num_listeners)
    assert capacity.num_listeners == 8
    for num_listeners in (8, 16, 32, 2, 16) * 3:
        work(capacity, num_listeners)
    assert 34 <= capacity.num_listeners <= 46
    assert capacity.load(1) == pytest.approx(SHARED_S + OWN_S, rel=0.15)


def test_one_size_alone_does_not_unlearn_the_rest():
    """Hours of the same load do not change the estimate much."""
    capacity = Capacity(0.9)
    for num_listeners in (1, 4, 16, 8, 1, 4, 16, 8):
        work(capacity, num_listeners)
    before = capacity.num_listeners
    for _ in range(300):
        work(capacity, 10)
    assert abs(capacity.num_listeners - before) <= 0.25 * before


def test_there_is_room_until_the_limit_is_reached():
    """With the limit's number of listeners there is none, and when one has left there is."""
    capacity = Capacity(0.9)
    for num_listeners in (1, 4, 16):
        work(capacity, num_listeners)
    limit = capacity.num_listeners
    fill(capacity, limit)
    for index in range(limit):
        capacity.heard(f"present {index}", 100.0, 0.0)
    assert not capacity.room(0.0).is_enough()
    capacity.leave("present 0", 1.0)
    assert capacity.room(0.0).is_enough() and not capacity.room(0.0).is_enough(1)


def test_even_a_very_slow_machine_has_room_for_two():
    """A client that interrupts itself has two utterances for a moment."""
    capacity = Capacity(0.9)
    for _ in range(5):
        capacity.arrive("slow", 0.0)
        capacity.observe(50.0, 1)
        capacity.delivered(5.0)
        capacity.leave("slow", 50.0)
        capacity.idle()
    assert capacity.num_listeners == MIN_LISTENERS
    assert capacity.load(1) == pytest.approx(10.0, rel=0.1)


def test_an_outlier_is_forgotten_soon():
    """One step of half a minute counts in one measurement, and a few others outweigh it."""
    capacity = Capacity(0.9)
    for num_listeners in (1, 4, 16, 8):
        work(capacity, num_listeners)
    capacity.arrive("unlucky", 0.0)
    capacity.observe(30.0, 1)
    capacity.leave("unlucky", 30.0)
    for num_listeners in (4, 16, 8, 2):
        work(capacity, num_listeners)
    assert capacity.num_listeners >= 10


def test_noise_does_not_throw_the_estimate_far_off():
    """The estimate holds if step times vary by half."""
    chance = random.Random(0)
    capacity = Capacity(0.9)
    for num_listeners in (1, 4, 16, 8, 32, 2) * 5:
        work(capacity, num_listeners, noise=lambda: chance.uniform(0.5, 1.5))
    assert 25 <= capacity.num_listeners <= 60


def test_one_window_that_was_held_up_for_long_costs_few_listeners():
    """However long the interruption was, it counts as a measurement a few times as costly as expected."""
    capacity = Capacity(0.9)
    for num_listeners in (1, 4, 8, 16) * 3:
        work(capacity, num_listeners)
    before = capacity.num_listeners
    capacity.observe(30.0, 4)
    capacity.delivered(4.0)
    assert capacity.num_listeners > before / 3
