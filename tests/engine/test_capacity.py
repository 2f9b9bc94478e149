"""How many listeners a machine can supply is learnt from its steps; one too many is told when to try again."""

import random

import pytest

from streamer.engine.capacity import MIN_LISTENERS, Capacity
from streamer.errors import OverloadedError

SHARED_S, OWN_S = 0.10, 0.02
"""The costs of the machine simulated below, which supplies (0.9 - 0.1) / 0.02 = 40 listeners."""


def work(capacity, num_listeners, seconds=10.0, *, noise=None):
    """Serve the listeners together until each has received `seconds` of audio."""
    for index in range(num_listeners):
        capacity.arrive(str(index), 1, 0.0)
    for _ in range(int(seconds * 10)):
        busy_s = 0.1 * (SHARED_S + OWN_S * num_listeners) * (noise() if noise else 1)
        capacity.observe(busy_s, num_listeners)
        capacity.delivered(0.1 * num_listeners)
    for index in range(num_listeners):
        capacity.leave(str(index), seconds)
    capacity.idle()


def fill(capacity, num_listeners):
    for index in range(num_listeners):
        capacity.arrive(f"present {index}", 1, 0.0)


def test_no_listener_is_refused_before_anything_was_measured():
    """An engine that has learnt nothing admits every listener."""
    capacity = Capacity(0.9)
    for index in range(500):
        capacity.arrive(str(index), 0, 0.0)
    assert capacity.num_listeners is None


def test_without_a_limit_no_listener_is_refused():
    """With `max_load` None the load is measured, and every listener is admitted."""
    capacity = Capacity(None)
    work(capacity, 4)
    fill(capacity, 1000)
    capacity.arrive("one more", 0, 0.0)  # raises nothing


def test_the_limit_is_where_shared_and_own_costs_fill_the_time():
    """Work with one and with four listeners foretells the machine's forty, and work at other sizes confirms it."""
    capacity = Capacity(0.9)
    work(capacity, 1)
    work(capacity, 4)
    assert 20 <= capacity.num_listeners <= 60
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


def test_one_too_many_is_refused_with_a_time_and_the_number():
    """The message says how many are served and how many can be; the time is bounded."""
    capacity = Capacity(0.9)
    for num_listeners in (1, 4, 16):
        work(capacity, num_listeners)
    limit = capacity.num_listeners
    fill(capacity, limit)
    with pytest.raises(OverloadedError, match=f"{limit} listeners") as refusal:
        capacity.arrive("one more", 0, 0.0)
    assert 0.5 <= refusal.value.retry_after_s <= 30
    capacity.leave("present 0", 1.0)
    capacity.arrive("one more", 0, 1.0)


def test_later_sentences_and_present_listeners_are_never_refused():
    """An utterance that has begun is spoken to its end."""
    capacity = Capacity(0.9)
    work(capacity, 4)
    fill(capacity, capacity.num_listeners)
    capacity.arrive("begun before", 3, 0.0)
    capacity.arrive("present 0", 0, 0.0)  # neither raises


def test_even_a_very_slow_machine_admits_two():
    """A client that interrupts itself has two utterances for a moment."""
    capacity = Capacity(0.9)
    for _ in range(5):
        capacity.arrive("slow", 0, 0.0)
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
    capacity.arrive("unlucky", 1, 0.0)
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
