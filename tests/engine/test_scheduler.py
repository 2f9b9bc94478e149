"""The policy: whoever falls silent first; others join as far as it pays or can be spared; nobody too far ahead."""

import random
import time
from types import SimpleNamespace

import pytest

from streamer.engine.scheduler import LATE_SHARE, LEAD_SHARE, Scheduler
from tests.engine.toy_stages import MakeStage, PlanStage, RecordingOutlet, toy_engine, toy_request


def speaking(name, *, first_audio_s=0.0, delivered_s=1.0, consumed_s=None):
    """A request under way that is ready for both stages."""
    request = opened(toy_request(name, 9))
    request.playback.deliver(0, delivered_s, first_audio_s)
    request.playback.consume(0, delivered_s if consumed_s is None else consumed_s, first_audio_s)
    request.work.num_planned = 4
    return request


def asking(name, submitted_s=0.0):
    """A request whose listener has heard nothing yet."""
    request = opened(toy_request(name))
    request.submitted_s = submitted_s
    return request


def opened(request):
    request.playback.open(request.sentence_index)
    return request


def next_of(request, name):
    """The sentence after the request's."""
    following = toy_request(name)
    following.playback, following.sentence_index = request.playback, request.sentence_index + 1
    return opened(following)


def scheduler_of(*requests, stages=None, decode_row_s=0.0, prefill_row_s=0.0, fixed_s=0.0):
    """A scheduler of these requests that has learnt what rows cost; by default nothing."""
    scheduler = Scheduler(stages or [PlanStage(), MakeStage()], generate_ahead_s=8.0)
    costs = SimpleNamespace(decode_row_s=decode_row_s, prefill_row_s=prefill_row_s, fixed_s=fixed_s)
    scheduler.costs = dict.fromkeys(scheduler.costs, costs)
    for request in requests:
        scheduler.add(request)
    return scheduler


def names(batch):
    return [request.request_id for request in batch.requests]


def test_who_has_heard_nothing_decides_the_stage():
    """A new request's first stage steps before an older one's last, and the older joins where it is ready."""
    batch = scheduler_of(speaking("old", delivered_s=1.0), asking("new")).schedule(0.5)
    assert batch.stage.name == "plan"
    assert names(batch) == ["new", "old"]


def test_new_requests_are_served_in_the_order_they_came():
    """Among those without sound the longest waiting is first."""
    assert names(scheduler_of(asking("late", 2.0), asking("early", 1.0)).schedule(3.0)) == ["early", "late"]


def test_who_has_been_silent_for_longer_comes_before_newcomers():
    """A listener in a gap is served before one who asked after it began, and after one who asked before."""
    stuttering = speaking("stuttering", delivered_s=1.0)
    batch = scheduler_of(stuttering, asking("after", 1.1), asking("before", 0.9)).schedule(1.2)
    assert names(batch) == ["before", "stuttering", "after"]


def test_the_least_lead_comes_first():
    """Of two listeners the one who falls silent sooner leads the batch."""
    ahead, behind = speaking("ahead", delivered_s=5.0), speaking("behind", first_audio_s=3.0)
    batch = scheduler_of(ahead, behind).schedule(3.0)
    assert batch.stage.name == "make"
    assert names(batch) == ["behind", "ahead"]


def test_new_sound_moves_a_request_back():
    """After `refresh` the order is that of the sound delivered since."""
    one, other = speaking("one", delivered_s=1.0), speaking("other", delivered_s=2.0)
    scheduler = scheduler_of(one, other)
    one.playback.deliver(0, 2.0, 0.5)
    scheduler.refresh(one.playback)
    assert names(scheduler.schedule(0.5)) == ["other", "one"]


def test_the_next_sentence_of_a_listener_is_in_no_hurry():
    """Made ahead, it yields to every listener who would fall silent sooner, and to its own first sentence."""
    first, other = speaking("first", delivered_s=2.0), speaking("other", delivered_s=1.0)
    assert names(scheduler_of(first, next_of(first, "second"), other).schedule(0.0)) == ["other", "first"]
    silent = asking("silent")
    assert names(scheduler_of(next_of(silent, "next"), silent).schedule(0.0)) == ["silent", "next"]


def test_a_listener_far_ahead_parks_all_his_sentences():
    """What waits of an earlier sentence counts for the later ones."""
    first = speaking("first", delivered_s=9.0, consumed_s=0.0)
    assert scheduler_of(first, next_of(first, "second")).schedule(0.0) is None


def test_who_is_too_far_ahead_is_parked_until_sound_is_taken():
    """A request whose sound has piled up takes no part; with nobody else there is nothing to do."""
    parked = speaking("parked", delivered_s=9.0, consumed_s=0.5)
    moving = speaking("moving", delivered_s=9.0, consumed_s=1.5)
    scheduler = scheduler_of(parked, moving)
    assert names(scheduler.schedule(0.0)) == ["moving"]
    scheduler.remove(moving)
    assert scheduler.schedule(0.0) is None
    parked.playback.consume(0, 1.0, 0.0)
    scheduler.refresh(parked.playback)
    assert names(scheduler.schedule(0.0)) == ["parked"]


def test_a_batch_is_cut_to_the_stages_rows():
    """More than `max_rows` are ready: the most urgent go."""
    requests = [speaking(str(index), delivered_s=20.0 - index) for index in range(10)]
    assert names(scheduler_of(*requests).schedule(0.0)) == [str(index) for index in range(9, 1, -1)]


def prefill_batch(now_s, **costs):
    """Four requests ready to plan: the last three's steps are heavy, the first falls silent at 1 s."""
    requests = [speaking(name, delivered_s=1.0 + place) for place, name in enumerate("abcd")]
    plan = PlanStage()
    plan.prefilling = [request.work for request in requests[1:]]
    return scheduler_of(*requests, stages=[plan], **costs).schedule(now_s)


def test_heavy_rows_join_only_as_far_as_they_can_be_spared():
    """Who falls silent within moments waits for no other's heavy row, and with time in hand for some."""
    prefill_row_s = 0.4 * LEAD_SHARE
    assert names(prefill_batch(0.0, prefill_row_s=prefill_row_s)) == ["a", "b", "c"]
    assert names(prefill_batch(0.5, prefill_row_s=prefill_row_s)) == ["a", "b"]
    assert names(prefill_batch(0.9, prefill_row_s=prefill_row_s)) == ["a"]


def test_who_has_been_silent_for_long_waits_a_little_for_others():
    """Where many are late, sharing steps catches up; for who was only just cut off nobody joins."""
    prefill_row_s = 0.4 * LATE_SHARE
    assert names(prefill_batch(1.1, prefill_row_s=prefill_row_s)) == ["a"]
    assert names(prefill_batch(2.0, prefill_row_s=prefill_row_s)) == ["a", "b", "c"]


def test_who_has_heard_nothing_waits_for_nobody():
    """Those who begin together are served one after the other, however long it takes."""
    assert names(scheduler_of(asking("a"), asking("b"), decode_row_s=0.001).schedule(9.0)) == ["a"]


def test_heavy_rows_join_where_the_steps_after_them_can_be_shared():
    """Beside steps that cost much whatever their rows a heavy row is cheap, also for who has no time to spare."""
    assert names(prefill_batch(1.0, prefill_row_s=0.002, fixed_s=0.001)) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(("decode_row_s", "joins"), [(0.0001, True), (0.002, False)])
def test_light_rows_join_who_is_silent_where_they_cost_less_than_the_step(decode_row_s, joins):
    """A decode step is shared where rows are cheap; where each costs as much as a step, one goes after the other."""
    batch = scheduler_of(asking("a"), asking("b", 0.1), decode_row_s=decode_row_s, fixed_s=0.001).schedule(
        1.0
    )
    assert names(batch) == (["a", "b"] if joins else ["a"])


def test_rows_of_unknown_cost_do_not_join():
    """Before a stage has stepped once nobody is made to wait for another's first row."""
    scheduler = Scheduler([PlanStage()], generate_ahead_s=8.0)
    for request in (asking("a"), asking("b", 0.1)):
        scheduler.add(request)
    assert names(scheduler.schedule(1.0)) == ["a"]


def test_a_thousand_requests_are_no_work_to_choose_from():
    """With all of them running, or with nobody else ready to join, a choice takes well below a millisecond."""
    requests = [speaking(str(index), delivered_s=1.0 + index / 1000) for index in range(1000)]
    scheduler = scheduler_of(*requests)

    def best_s():
        started_s = time.perf_counter()
        scheduler.schedule(0.0)
        return time.perf_counter() - started_s

    assert min(best_s() for _ in range(20)) < 0.001
    for request in requests[1:]:
        request.work.num_planned = 0
    assert min(best_s() for _ in range(20)) < 0.001


class Clock:
    """Simulated time, which steps spend: `row_s` for every row."""

    def __init__(self, row_s):
        self.now_s = 0.0
        self.row_s = row_s

    def spend(self, batch):
        self.now_s += self.row_s * len(batch)


class SlowPlan(PlanStage):
    def __init__(self, clock):
        self.clock = clock

    def step(self, batch):
        self.clock.spend(batch)
        super().step(batch)


def slow_engine(row_s, **options):
    """An engine where every row of every step costs `row_s`, and its clock; a step makes a second of sound."""
    clock, make = Clock(row_s), MakeStage()
    make.before_step = clock.spend
    stages = [SlowPlan(clock), make]
    return toy_engine(*stages, clock=lambda: clock.now_s, num_slots=8, max_waiting=10_000, **options), clock


def test_newcomers_without_end_starve_nobody():
    """While more come than can be served, who is heard already gets on, and so does each newcomer, in turn."""
    engine, clock = slow_engine(row_s=0.3, generate_ahead_s=100.0)
    heard = toy_request("heard", 10)
    engine.submit(heard)
    newcomers = []
    for _ in range(400):
        while clock.now_s > 0.55 * len(newcomers):
            newcomers.append(toy_request(str(len(newcomers)), 1))
            engine.submit(newcomers[-1])
        engine.step()
    assert heard.outlet.chunks[-1].is_last
    served = [bool(newcomer.outlet.chunks) for newcomer in newcomers]
    assert served == sorted(served, reverse=True)
    assert served.count(True) > 150


class Reader(RecordingOutlet):
    """Takes sound at once, or, where it is lazy, nothing for long stretches."""

    def __init__(self, engine, request, is_lazy):
        super().__init__()
        self.engine, self.request, self.is_lazy = engine, request, is_lazy
        self.num_taken = 0

    def read(self):
        new, self.num_taken = self.num_samples - self.num_taken, self.num_samples
        self.engine.consumed(self.request, new)


@pytest.mark.parametrize("seed", range(5))
def test_every_request_ends_whatever_comes(seed):
    """Any arrivals, lengths, heavy rows, readers who pause, cancels and failures: in the end nothing is left."""
    chance = random.Random(seed)
    engine, clock = slow_engine(row_s=10 ** chance.uniform(-3, 0), generate_ahead_s=3.0)
    engine._stages[0].prefilling = heavy = []
    requests = []
    for number in range(60):
        request = toy_request(str(number), chance.randint(1, 12))
        request.utterance_id, request.sentence_index = f"talk {number // 3}", number % 3
        request.outlet = Reader(engine, request, is_lazy=chance.random() < 0.3)
        if chance.random() < 0.3:
            heavy.append(request.work)
        requests.append(request)
        engine.submit(request)
        for _ in range(chance.choice((0, 0, 1, 5, 30))):
            if not engine.step():
                clock.now_s += chance.uniform(0.0, 5.0)
            if chance.random() < 0.02:
                engine.cancel(chance.choice(requests))
            for reading in requests:
                if not reading.outlet.is_lazy or chance.random() < 0.02:
                    reading.outlet.read()
    for _ in range(2000):
        if not engine.step():
            clock.now_s += 1.0
        for reading in requests:
            reading.outlet.read()
        engine.check_integrity()
        if not engine.num_open:
            break
    assert engine.num_open == engine.num_running == 0
    for request in requests:
        assert request.is_cancelled or request.outlet.num_samples == 10 * request.work.num_steps


def test_nobody_joins_a_step_that_would_become_very_long():
    """Even where each row costs no more than it saves: a step is how long the next newcomer waits."""
    requests = [speaking(f"{number:02}", delivered_s=100.0) for number in range(8)]
    scheduler = scheduler_of(*requests, decode_row_s=0.06, fixed_s=1.0)
    assert len(scheduler.schedule(0.0).requests) == 8
    scheduler = scheduler_of(*requests, decode_row_s=0.05, fixed_s=0.1)
    batch = scheduler.schedule(0.0)
    assert 0.1 + 0.05 * len(batch.requests) <= 0.6 < 0.1 + 0.05 * (len(batch.requests) + 3)
