"""Stages on a thread beside the engine's: it goes on meanwhile, and waits only when it has nothing else to do."""

from collections import deque
from types import SimpleNamespace

import pytest

from streamer.engine.in_flight import Finished, work_s
from streamer.engine.playback import PlaybackState
from streamer.engine.scheduler import Batch, Scheduler
from streamer.errors import EngineError
from tests.engine.toy_stages import MakeStage, PlanStage, run_until_idle, toy_engine, toy_request


class OtherThread:
    """Stands for a thread: its calls are made in order, when a test says so or when their result is waited for."""

    def __init__(self):
        self.calls = deque()
        self.num_waits = 0

    def work(self):
        """Make the oldest call."""
        self.calls.popleft()()


class PendingStep:
    num_steps = 1
    joined_s = 0.0

    def __init__(self, thread, call, span_s):
        self.span_s = span_s
        self._thread = thread
        self._call = call
        thread.calls.append(call)

    def is_done(self):
        return self._call not in self._thread.calls

    def finish(self):
        self._thread.num_waits += not self.is_done()
        while not self.is_done():
            self._thread.work()


class BesideStage(MakeStage):
    """Makes steps of one work on the other thread; a step counts as done for `is_ready` when it is launched."""

    max_rows = 1
    runs_beside = True

    def __init__(self, thread):
        super().__init__()
        self.span_s = None
        self._thread = thread
        self.num_launched = {}

    def is_ready(self, work):
        return self.num_launched.get(work, 0) < work.num_planned

    def step(self, batch):
        (work,) = batch
        self.num_launched[work] = self.num_launched.get(work, 0) + 1
        return PendingStep(self._thread, lambda: MakeStage.step(self, [work]), self.span_s)


@pytest.fixture
def thread():
    return OtherThread()


@pytest.fixture
def beside_engine(thread):
    engine = toy_engine(PlanStage(), BesideStage(thread), generate_ahead_s=1000)
    yield engine
    engine.check_integrity()


def begun(engine, thread, name="a", num_steps=20):
    """Return a request whose first sound was delivered."""
    request = toy_request(name, num_steps)
    engine.submit(request)
    while not request.outlet.chunks:
        engine.step()
        if thread.calls:
            thread.work()
    thread.num_waits = 0
    return request


def test_the_engine_plans_on_while_the_other_thread_works(beside_engine, thread):
    """It never waits while it has something to plan, and gives the other thread no more than two steps."""
    request = begun(beside_engine, thread)
    for _ in range(10):
        beside_engine.step()
        assert len(thread.calls) <= 2
    assert thread.num_waits == 0
    assert request.work.num_planned > request.work.num_made + 2


def test_what_the_other_thread_has_done_is_delivered_in_order(beside_engine, thread):
    """A step's sound leaves with the engine's next step, and all of it has left at the end."""
    request = begun(beside_engine, thread)
    for _ in range(5):
        beside_engine.step()
    num_chunks = len(request.outlet.chunks)
    thread.work()
    beside_engine.step()
    assert len(request.outlet.chunks) == num_chunks + 1
    run_until_idle(beside_engine)
    assert request.outlet.num_samples == 200
    assert [chunk.is_last for chunk in request.outlet.chunks].count(True) == 1


def test_an_engine_without_anything_to_plan_waits_for_one_step(beside_engine, thread):
    """Then it looks again for what that made possible."""
    request = begun(beside_engine, thread, num_steps=4)
    while request.work.num_planned < 4:
        beside_engine.step()
    waits = thread.num_waits
    assert beside_engine.step()
    assert thread.num_waits == waits + 1
    run_until_idle(beside_engine)
    assert request.outlet.chunks[-1].is_last


def test_a_cancelled_request_gets_nothing_of_what_is_still_made(beside_engine, thread):
    """Its slot goes to another at once, whose sound is its own."""
    request = begun(beside_engine, thread)
    for _ in range(4):
        beside_engine.step()
    beside_engine.cancel(request)
    other = toy_request("b")
    beside_engine.submit(other)
    num_chunks = len(request.outlet.chunks)
    run_until_idle(beside_engine)
    assert len(request.outlet.chunks) == num_chunks
    assert other.outlet.num_samples == 30


def test_memory_that_runs_out_beside_fails_the_request_of_that_step(beside_engine, thread):
    """The other request is heard to its end."""
    first, second = begun(beside_engine, thread), begun(beside_engine, thread, "b", 5)
    stage = beside_engine._stages[1]

    def run_out(batch):
        if first.work in batch:
            raise MemoryError("no room")

    stage.before_step = run_out
    run_until_idle(beside_engine)
    assert isinstance(first.outlet.errors[0], EngineError)
    assert second.outlet.num_samples == 50


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def timed_engine(thread, now):
    return toy_engine(PlanStage(), BesideStage(thread), clock=lambda: now[0], generate_ahead_s=1000)


def test_the_time_of_a_step_beside_is_that_until_its_end(timed_engine, thread, now):
    """Not the moment that launching it takes: statistics and the scheduler's costs know what it cost."""
    begun(timed_engine, thread)
    before = timed_engine.stats().stages["make"].step_seconds
    while not thread.calls:
        timed_engine.step()
    now[0] += 0.5
    thread.work()
    timed_engine.step()
    assert timed_engine.stats().stages["make"].step_seconds - before == pytest.approx(0.5)


def test_steps_that_end_unnoticed_keep_their_own_times(timed_engine, thread, now):
    """Two of them, which the engine meets together, are counted with what each of them took."""
    request = begun(timed_engine, thread)
    stage = timed_engine._stages[1]
    spans = []
    request.on_step = lambda name, began_s, ended_s, _: (
        spans.append((began_s, ended_s)) if name == "make" else None
    )
    for stage.span_s in [(1.0, 1.2), (1.2, 1.5)]:
        num_calls = len(thread.calls)
        while len(thread.calls) == num_calls:
            timed_engine.step()
    now[0] = 2.0
    thread.work()
    thread.work()
    timed_engine.step()
    assert spans == [(1.0, 1.2), (1.2, 1.5)]


def test_a_step_that_hangs_beside_is_seen_while_the_engine_goes_its_way(timed_engine, thread, now):
    """The watchdog learns its age, though the engine's own steps are short."""
    begun(timed_engine, thread)
    while not thread.calls:
        timed_engine.step()
    for _ in range(4):
        now[0] += 1.0
        timed_engine.step()
    assert timed_engine.step_age_s() >= 4.0


def test_the_log_names_the_step_that_failed_beside(timed_engine, thread):
    """Not the one that the engine had just launched."""
    begun(timed_engine, thread)
    while not thread.calls:
        timed_engine.step()
    thread.calls.clear()
    pending = timed_engine._in_flight._beside.steps[0][1]

    def fail():
        raise RuntimeError("broken")

    pending.finish = fail
    with pytest.raises(RuntimeError, match="broken"):
        timed_engine.step()
    assert timed_engine.step_fields()["stage"] == "make"


def test_the_work_of_both_threads_counts_for_how_many_are_supplied():
    """Time in which the engine waited for the other thread counts once, and time in which both worked twice.

    So does time in which one took part in the other's step.
    """
    here, beside = (Batch(SimpleNamespace(runs_beside=is_beside), [], 0) for is_beside in (False, True))
    finished = [Finished(here, 0.2, 1), Finished(beside, 0.5, 1)]
    assert work_s(finished, 0.3, has_waited=False) == 0.8
    assert work_s(finished, 0.3, has_waited=True) == 0.5 and work_s(finished, 0.6, has_waited=True) == 0.6
    assert work_s([], 0.3, has_waited=False) == 0.3
    assert work_s([Finished(here, 0.2, 1, 0.1)], 0.25, has_waited=False) == 0.35
    assert work_s([Finished(beside, 0.5, 1, 0.25)], 0.5, has_waited=True) == 0.75


def test_the_engine_counts_the_work_beside(timed_engine, thread, now):
    """A machine that is busy with an utterance's steps beside has no room for as many as one that is not."""
    begun(timed_engine, thread)
    observed = []
    timed_engine.capacity.observe = lambda duration_s, _: observed.append(duration_s)
    while not thread.calls:
        timed_engine.step()
    now[0] += 0.5
    thread.work()
    timed_engine.step()
    assert sum(observed) == pytest.approx(0.5)


class HelpedStage(PlanStage):
    """Plans on the other thread, too; meanwhile it is not ready for the same works."""

    max_rows = 1

    def __init__(self, thread):
        self._thread = thread
        self.here, self.beside, self.under_way = [], [], set()

    def is_ready(self, work):
        return work not in self.under_way and super().is_ready(work)

    def step(self, batch):
        self.here += batch
        super().step(batch)

    def step_beside(self, batch):
        self.beside += batch
        self.under_way.update(batch)

        def plan():
            self.under_way.difference_update(batch)
            PlanStage.step(self, batch)

        return PendingStep(self._thread, plan, None)


@pytest.fixture
def helped_engine(thread):
    plan = HelpedStage(thread)
    engine = toy_engine(plan, BesideStage(thread), generate_ahead_s=1000)
    yield engine, plan
    engine.check_integrity()


def test_an_idle_thread_helps_another_request_than_the_engine(helped_engine):
    """Of two requests, heard or not, one is planned here and the other there, and never the same one at once."""
    engine, plan = helped_engine
    first, second = toy_request("a", 20), toy_request("b", 20)
    engine.submit(first), engine.submit(second)
    engine.step()
    assert plan.here == [first.work] and plan.beside == [second.work]
    run_until_idle(engine)
    assert [request.outlet.num_samples for request in (first, second)] == [200, 200]


def test_a_busy_thread_does_not_help(helped_engine, thread):
    """What it is for would stand behind such a step."""
    engine, plan = helped_engine
    begun(engine, thread, "a"), begun(engine, thread, "b")
    for _ in range(20):
        is_busy, num_before = bool(thread.calls), len(plan.beside)
        engine.step()
        assert not (is_busy and len(plan.beside) > num_before)
    run_until_idle(engine)


@pytest.mark.parametrize(
    ("is_joined", "is_heard", "has_company", "is_prefill", "helps"),
    [
        (True, False, False, True, False),
        (False, False, False, True, True),
        (True, True, False, True, True),
        (True, False, True, True, True),
        (True, False, False, False, True),
    ],
)
def test_the_thread_takes_part_in_the_first_prefills_of_a_sentence_that_is_alone(
    thread, is_joined, is_heard, has_company, is_prefill, helps
):
    """It then has nothing else to do: all that follows waits for these."""
    plan, other = HelpedStage(thread), MakeStage()
    other.is_joined = is_joined
    scheduler = Scheduler([plan, other], generate_ahead_s=1000)
    requests = [toy_request(name, 5) for name in ("ab" if has_company else "a")]
    for request in requests:
        request.playback = PlaybackState()
        request.playback.open(0)
        if is_heard:
            request.playback.deliver(0, 1.0, 0.0)
        scheduler.add(request)
    help_beside = scheduler.help(Batch(other, requests[:1], int(is_prefill)))
    assert (help_beside is not None) == helps


class Prepared:
    """A `Preparation` that has a single thing to do for each work."""

    def __init__(self, thread):
        self._thread, self.works = thread, []

    def is_ready(self, work):
        return work not in self.works

    def step_beside(self, work):
        self.works.append(work)
        return PendingStep(self._thread, lambda: None, None)

    def has_begun(self, _work):
        return False


def test_an_idle_thread_prepares_a_later_step_of_the_request_that_the_engine_serves(helped_engine, thread):
    """Once, and what that takes is not taken for the cost of a step."""
    engine, plan = helped_engine
    plan.preparation = Prepared(thread)
    observed = []
    plan_costs = engine._scheduler.costs["plan"]
    plan_costs.observe = lambda *rows_and_s: observed.append(rows_and_s)
    request = toy_request("a", 20)
    engine.submit(request)
    engine.step()
    assert plan.preparation.works == plan.here == [request.work] and not plan.beside
    run_until_idle(engine)
    assert request.outlet.num_samples == 200
    assert len(observed) == len(plan.here) + len(plan.beside)


def test_the_log_names_the_step_that_a_new_sentence_waits_for(helped_engine):
    """That which its slot's last one, cancelled meanwhile, left on the other thread: it may be what hangs."""
    engine, plan = helped_engine
    requests = [toy_request(name, 20) for name in "ab"]
    for request in requests:
        engine.submit(request)
    engine.step()
    (work,) = plan.under_way
    left = next(request for request in requests if request.work is work)
    engine.cancel(left)
    engine.submit(toy_request("c"))
    named = []
    plan.begin = lambda _: named.append(engine.step_fields())
    engine.step()
    assert named == [{"stage": "plan", "requests": [left.request_id]}]
    run_until_idle(engine)
    assert engine.step_fields() == {}


def test_the_log_names_a_step_that_hangs_beside_while_the_engine_goes_its_way(timed_engine, thread, now):
    """The one whose age the watchdog learns, and not the engine's own latest."""
    begun(timed_engine, thread)
    while not thread.calls:
        timed_engine.step()
    timed_engine.step()
    now[0] += 1.0
    named, plan = [], timed_engine._stages[0].step

    def observed(batch):
        named.append((timed_engine.step_age_s(), timed_engine.step_fields()["stage"]))
        plan(batch)

    timed_engine._stages[0].step = observed
    while not named:
        timed_engine.step()
    assert named[0] == (1.0, "make")


def test_a_step_that_helps_is_of_a_single_request(thread):
    """So that it is short, however many are ready and could share a step here."""
    plan = HelpedStage(thread)
    other = MakeStage()
    scheduler = Scheduler([plan, other], generate_ahead_s=1000)
    scheduler.costs["plan"].observe(1, 0, 0.1), scheduler.costs["plan"].observe(2, 0, 0.1)
    plan.max_rows = 8
    for name in "abc":
        request = toy_request(name, 5)
        request.playback = PlaybackState()
        request.playback.open(0)
        request.playback.deliver(0, 1.0, 0.0)
        scheduler.add(request)
    batch = Batch(other, [], 0)
    help_beside = scheduler.help(batch)
    assert help_beside.is_help and help_beside.is_beside and len(help_beside.requests) == 1
