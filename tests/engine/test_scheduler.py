"""The policy: the earliest deadline leads, others join if they pay or fit the budget, nothing runs far ahead."""

import random
from types import SimpleNamespace

import pytest

from streamer.engine.request import PREFERRED_BY_S
from streamer.engine.scheduler import LATE_SHARE, LEAD_SHARE, STEPS_BESIDE, Batch, Scheduler
from tests.engine.toy_stages import MakeStage, PlanStage, RecordingOutlet, toy_engine, toy_request


def speaking(name, *, first_audio_s=0.0, delivered_s=1.0, consumed_s=None):
    """A running request that is ready for both stages."""
    request = opened(toy_request(name, 9))
    request.playback.deliver(0, delivered_s, first_audio_s)
    request.playback.consume(0, delivered_s if consumed_s is None else consumed_s, first_audio_s)
    request.work.num_planned = 4
    return request


def asking(name, submitted_s=0.0):
    """A request whose utterance has no audio yet."""
    request = opened(toy_request(name))
    request.submitted_s = submitted_s
    return request


def opened(request):
    request.playback.open(request.sentence_index)
    return request


def next_of(request, name):
    """Return a request for the next sentence of the same utterance."""
    following = toy_request(name)
    following.playback, following.sentence_index = request.playback, request.sentence_index + 1
    return opened(following)


def scheduler_of(*requests, stages=None, decode_row_s=0.0, prefill_row_s=0.0, fixed_s=0.0):
    """Return a scheduler of these requests that has learnt these costs."""
    scheduler = Scheduler(stages or [PlanStage(), MakeStage()], generate_ahead_s=8.0)
    costs = SimpleNamespace(decode_row_s=decode_row_s, prefill_row_s=prefill_row_s, fixed_s=fixed_s)
    scheduler.costs = dict.fromkeys(scheduler.costs, costs)
    for request in requests:
        scheduler.add(request)
    return scheduler


def names(batch):
    return [request.request_id for request in batch.requests]


def test_a_preferred_request_leads_and_is_joined_by_its_like_only():
    """It goes before others that are late, whose rows would slow it down, but not before any lateness."""
    late, preferred = speaking("late", delivered_s=1.0), speaking("preferred", delivered_s=3.0)
    like = speaking("like", delivered_s=4.0)
    preferred.is_preferred = like.is_preferred = True
    requests = (late, preferred, like)
    assert names(scheduler_of(*requests).schedule(2.0)) == ["preferred", "like"]
    preferred.playback.deliver(0, PREFERRED_BY_S, 2.0)
    preferred.playback.consume(0, PREFERRED_BY_S, 2.0)
    like.playback.deliver(0, PREFERRED_BY_S, 2.0)
    like.playback.consume(0, PREFERRED_BY_S, 2.0)
    assert names(scheduler_of(*requests).schedule(2.0))[0] == "late"


def test_a_new_request_decides_the_stage():
    """Its first stage steps before an older request's last, and the older one joins if it is ready."""
    batch = scheduler_of(speaking("old", delivered_s=1.0), asking("new")).schedule(0.5)
    assert batch.stage.name == "plan"
    assert names(batch) == ["new", "old"]


def test_new_requests_are_served_in_the_order_of_their_submission():
    """Among requests without audio the one that has waited longest leads."""
    assert names(scheduler_of(asking("late", 2.0), asking("early", 1.0)).schedule(3.0)) == ["early", "late"]


def test_a_stalled_playback_is_ordered_among_new_requests():
    """It comes before a request that was submitted after the underrun, and after one submitted before it."""
    stuttering = speaking("stuttering", delivered_s=1.0)
    batch = scheduler_of(stuttering, asking("after", 1.1), asking("before", 0.9)).schedule(1.2)
    assert names(batch) == ["before", "stuttering", "after"]


def test_the_earliest_underrun_comes_first():
    """Of two playbacks the one that underruns sooner leads the batch."""
    ahead, behind = speaking("ahead", delivered_s=5.0), speaking("behind", first_audio_s=3.0)
    batch = scheduler_of(ahead, behind).schedule(3.0)
    assert batch.stage.name == "make"
    assert names(batch) == ["behind", "ahead"]


def test_new_audio_moves_a_request_back():
    """After `refresh` the order takes account of the audio delivered since."""
    one, other = speaking("one", delivered_s=1.0), speaking("other", delivered_s=2.0)
    scheduler = scheduler_of(one, other)
    one.playback.deliver(0, 2.0, 0.5)
    scheduler.refresh(one.playback)
    assert names(scheduler.schedule(0.5)) == ["other", "one"]


def test_the_next_sentence_of_an_utterance_is_not_urgent():
    """It yields to every playback that underruns sooner, and to the first sentence of its own utterance."""
    first, other = speaking("first", delivered_s=2.0), speaking("other", delivered_s=1.0)
    assert names(scheduler_of(first, next_of(first, "second"), other).schedule(0.0)) == ["other", "first"]
    silent = asking("silent")
    assert names(scheduler_of(next_of(silent, "next"), silent).schedule(0.0)) == ["silent", "next"]


def test_an_utterance_far_ahead_parks_all_of_its_sentences():
    """The buffered audio of an earlier sentence counts for the later ones."""
    first = speaking("first", delivered_s=9.0, consumed_s=0.0)
    assert scheduler_of(first, next_of(first, "second")).schedule(0.0) is None


def test_a_request_too_far_ahead_is_parked_until_audio_is_consumed():
    """A request with much buffered audio takes no part; without another one there is no step."""
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
    """If more than `max_rows` requests are ready, the most urgent ones step."""
    requests = [speaking(str(index), delivered_s=20.0 - index) for index in range(10)]
    assert names(scheduler_of(*requests).schedule(0.0)) == [str(index) for index in range(9, 1, -1)]


def prefill_batch(now_s, **costs):
    """Schedule four requests: the last three are prefills, the first one's playback underruns at 1 s."""
    requests = [speaking(name, delivered_s=1.0 + place) for place, name in enumerate("abcd")]
    plan = PlanStage()
    plan.prefilling = [request.work for request in requests[1:]]
    return scheduler_of(*requests, stages=[plan], **costs).schedule(now_s)


def test_prefills_join_as_far_as_the_budget_reaches():
    """A leader with little time left waits for no prefill, one with more time for some."""
    prefill_row_s = 0.4 * LEAD_SHARE
    assert names(prefill_batch(0.0, prefill_row_s=prefill_row_s)) == ["a", "b", "c"]
    assert names(prefill_batch(0.5, prefill_row_s=prefill_row_s)) == ["a", "b"]
    assert names(prefill_batch(0.9, prefill_row_s=prefill_row_s)) == ["a"]


def test_a_long_stall_has_a_budget_too():
    """Sharing steps is how many late requests catch up; right after an underrun none joins."""
    prefill_row_s = 0.4 * LATE_SHARE
    assert names(prefill_batch(1.1, prefill_row_s=prefill_row_s)) == ["a"]
    assert names(prefill_batch(2.0, prefill_row_s=prefill_row_s)) == ["a", "b", "c"]


def test_a_new_request_has_no_budget():
    """Requests that begin together are served one after another, however long they have waited."""
    assert names(scheduler_of(asking("a"), asking("b"), decode_row_s=0.001).schedule(9.0)) == ["a"]


def test_prefills_join_if_the_steps_after_them_can_be_shared():
    """Beside a large fixed cost of steps a prefill is free, even for a leader without a budget."""
    assert names(prefill_batch(1.0, prefill_row_s=0.002, fixed_s=0.001)) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(("decode_row_s", "joins"), [(0.0001, True), (0.002, False)])
def test_decodes_join_a_new_request_if_they_cost_less_than_a_step(decode_row_s, joins):
    """A decode step is shared if rows are cheap; if a row costs as much as a step, each steps alone."""
    batch = scheduler_of(asking("a"), asking("b", 0.1), decode_row_s=decode_row_s, fixed_s=0.001).schedule(
        1.0
    )
    assert names(batch) == (["a", "b"] if joins else ["a"])


def test_rows_of_unknown_cost_do_not_join():
    """Before a stage has stepped once, no request waits for another one's first row."""
    scheduler = Scheduler([PlanStage()], generate_ahead_s=8.0)
    for request in (asking("a"), asking("b", 0.1)):
        scheduler.add(request)
    assert names(scheduler.schedule(1.0)) == ["a"]


def test_a_thousand_requests_are_little_work_to_choose_from():
    """If all are ready, no more are looked at than fit a batch; if none of the others is, each is looked at once."""
    requests = [speaking(str(index), delivered_s=1.0 + index / 1000) for index in range(1000)]
    num_looks = 0

    class CountingStage(MakeStage):
        def is_ready(self, work):
            nonlocal num_looks
            num_looks += 1
            return super().is_ready(work)

    scheduler = scheduler_of(*requests, stages=[CountingStage()])
    assert len(scheduler.schedule(0.0).requests) == MakeStage.max_rows
    assert num_looks == MakeStage.max_rows
    for request in requests[1:]:
        request.work.num_planned = 0
    num_looks = 0
    assert names(scheduler.schedule(0.0)) == ["0"]
    assert num_looks == len(requests)


class Clock:
    """Simulated time: every row of a step takes `row_s`."""

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
    """Return an engine in which every row of a step takes `row_s`, its first stage, and its clock.

    A step makes a second of audio.
    """
    clock, make = Clock(row_s), MakeStage()
    make.before_step = clock.spend
    plan = SlowPlan(clock)
    engine = toy_engine(plan, make, clock=lambda: clock.now_s, num_slots=8, max_waiting=10_000, **options)
    return engine, plan, clock


def test_an_endless_flow_of_new_requests_starves_none():
    """While more arrive than can be served, a running request advances, and so does each new one in its order."""
    engine, _, clock = slow_engine(row_s=0.3, generate_ahead_s=100.0)
    running = toy_request("running", 10)
    engine.submit(running)
    new_requests = []
    for _ in range(400):
        while clock.now_s > 0.55 * len(new_requests):
            new_requests.append(toy_request(str(len(new_requests)), 1))
            engine.submit(new_requests[-1])
        engine.step()
    assert running.outlet.chunks[-1].is_last
    served = [bool(new_request.outlet.chunks) for new_request in new_requests]
    assert served == sorted(served, reverse=True)
    assert served.count(True) > 150


class Reader(RecordingOutlet):
    """Consumes audio at once or, if it is lazy, nothing for long."""

    def __init__(self, engine, request, is_lazy):
        super().__init__()
        self.engine, self.request, self.is_lazy = engine, request, is_lazy
        self.num_taken = 0

    def read(self):
        new, self.num_taken = self.num_samples - self.num_taken, self.num_samples
        self.engine.consumed(self.request, new)


@pytest.mark.parametrize("seed", range(5))
def test_every_request_ends_whatever_happens(seed):
    """Whatever the arrivals, lengths, prefills, pauses of readers and cancels are, nothing is left in the end."""
    chance = random.Random(seed)
    engine, plan, clock = slow_engine(row_s=10 ** chance.uniform(-3, 0), generate_ahead_s=3.0)
    plan.prefilling = prefilling = []
    requests = []
    for number in range(60):
        request = toy_request(str(number), chance.randint(1, 12))
        request.utterance_id, request.sentence_index = f"talk {number // 3}", number % 3
        request.outlet = Reader(engine, request, is_lazy=chance.random() < 0.3)
        if chance.random() < 0.3:
            prefilling.append(request.work)
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


def test_no_row_joins_a_step_that_would_become_very_long():
    """Not even one that saves more than it costs joins, because new requests wait for the step's end."""
    requests = [speaking(f"{number:02}", delivered_s=100.0) for number in range(8)]
    scheduler = scheduler_of(*requests, decode_row_s=0.06, fixed_s=1.0)
    assert len(scheduler.schedule(0.0).requests) == 8
    scheduler = scheduler_of(*requests, decode_row_s=0.05, fixed_s=0.1)
    batch = scheduler.schedule(0.0)
    assert 0.1 + 0.05 * len(batch.requests) <= 0.6 < 0.1 + 0.05 * (len(batch.requests) + 3)


def test_reset_costs_are_unknown():
    """After a reset the next steps decide alone, and until then no row joins."""
    requests = [asking("a"), asking("b", 0.1)]
    scheduler = scheduler_of(*requests, stages=[PlanStage()], decode_row_s=0.0001, fixed_s=0.001)
    assert len(scheduler.schedule(1.0).requests) == 2
    scheduler.reset_costs()
    batch = scheduler.schedule(1.0)
    assert names(batch) == ["a"]
    scheduler.update_costs(batch, 0.004)
    assert scheduler.costs["plan"].decode_row_s + scheduler.costs["plan"].fixed_s == pytest.approx(0.004)


class FillStage(MakeStage):
    """Runs beside the engine's thread, or on it."""

    name = "fill"
    runs_beside = True

    def step_here(self, batch):
        return self.step(batch)


class SoundStage(MakeStage):
    name = "sound"
    runs_beside = True

    def is_ready(self, _):
        return False


STAGES = PLAN, FILL, SOUND = PlanStage(), FillStage(), SoundStage()


def planned(name, **options):
    """Return a request that is heard, and that only the second stage is ready for."""
    request = speaking(name, **options)
    request.work.num_planned = request.work.num_steps
    return request


def beside_of(stage, *requests, **more):
    return Batch(stage, [*requests], 0, **more)


def test_a_thread_that_has_nothing_else_to_do_takes_the_other_ones_step():
    """While that is busy, with a later stage of the same request or with another one."""
    request, other = planned("a"), planned("b", delivered_s=5.0)
    for beside in (beside_of(SOUND, request), beside_of(FILL, other)):
        batch = scheduler_of(request, stages=STAGES).schedule(0.5, [beside])
        assert (batch.stage, names(batch), batch.is_here, batch.is_beside) == (FILL, ["a"], True, False)


def test_it_takes_it_for_one_request_only():
    """So that it is soon back, however many are ready; the others' is the other thread's."""
    others = [planned(name, delivered_s=5.0) for name in "bcd"]
    scheduler = scheduler_of(planned("a"), *others, stages=STAGES)
    assert names(scheduler.schedule(0.5, [beside_of(SOUND, others[0])])) == ["a"]
    assert names(scheduler.schedule(0.5)) == ["a", "b", "c", "d"]


def silent(name):
    """Return a request that is not heard yet, and waits for another thread."""
    request = asking(name, submitted_s=9.0)
    request.work.num_steps = 0
    return request


def late(name):
    """Return a request that was heard to its end so far, and waits for another thread."""
    request = speaking(name, delivered_s=0.25)
    request.work.num_steps = request.work.num_planned = request.work.num_made = 4
    return request


A = planned("a")


@pytest.mark.parametrize(
    ("others", "beside"),
    [
        pytest.param([], [], id="idle"),
        pytest.param([], [beside_of(FILL, A)], id="its own step before"),
        pytest.param([], [beside_of(PLAN, planned("b"), is_help=True)], id="help is on its way"),
        pytest.param([speaking("b", delivered_s=5.0)], [beside_of(SOUND, A)], id="steps of the engine's own"),
        pytest.param([silent("b")], [beside_of(SOUND, A)], id="somebody has heard nothing yet"),
        pytest.param([late("b")], [beside_of(SOUND, A)], id="it is late for somebody"),
    ],
)
def test_the_other_thread_takes_its_step_itself(others, beside):
    """If nothing is gained by it, or if somebody would wait for the engine's thread."""
    batch = scheduler_of(A, *others, stages=STAGES).schedule(0.5, beside)
    assert (batch.stage, batch.is_here, batch.is_beside) == (FILL, False, True)


def test_with_enough_to_do_the_other_thread_is_given_nothing():
    beside = [beside_of(SOUND, planned("b"))] * STEPS_BESIDE
    assert scheduler_of(planned("a"), stages=STAGES).schedule(0.5, beside) is None
