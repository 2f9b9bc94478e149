"""The engine over a toy model: every request ends exactly once, and every slot comes back."""

import threading
import time
from types import SimpleNamespace

import pytest
import torch

from streamer.engine.watchdog import Watchdog
from streamer.errors import EngineError, ModelNumericError, OverloadedError
from tests.engine.toy_stages import MakeStage, PlanStage, ToyWork, toy_engine, toy_request


@pytest.fixture
def make_stage():
    return MakeStage()


@pytest.fixture
def engine(make_stage):
    engine = toy_engine(PlanStage(), make_stage, max_waiting=2)
    yield engine
    if engine.failure is None:
        engine.check_integrity()


def run_until_idle(engine):
    while engine.step():
        engine.check_integrity()


def test_requests_beyond_the_slots_wait_their_turn(engine):
    """Three requests on two slots all finish, each with one last chunk."""
    requests = [toy_request(name) for name in "abc"]
    for request in requests:
        engine.submit(request)
    run_until_idle(engine)
    for request in requests:
        assert request.outlet.num_samples == 30
        assert [chunk.is_last for chunk in request.outlet.chunks] == [False, False, True]
    assert engine.num_open == 0


def test_a_free_slot_goes_to_who_needs_it_most(make_stage):
    """A newcomer's first sentence is admitted before another's next one that came earlier."""
    engine = toy_engine(PlanStage(), make_stage, num_slots=1)
    first, following, newcomer = (toy_request(name) for name in ("first", "following", "newcomer"))
    first.utterance_id = following.utterance_id = "talk"
    following.sentence_index = 1
    order = []
    for request in (first, following, newcomer):
        request.outlet = lambda _, name=request.request_id: order.append(name)
        engine.submit(request)
    run_until_idle(engine)
    assert list(dict.fromkeys(order)) == ["first", "newcomer", "following"]


def test_utterances_that_are_over_are_forgotten(make_stage):
    """The engine keeps nothing of utterances that are over."""
    now_s = 0.0
    engine = toy_engine(PlanStage(), make_stage, num_slots=1, clock=lambda: now_s)
    for _ in range(5):
        engine.submit(toy_request(f"at {now_s}"))
        run_until_idle(engine)
        now_s += 100.0
    assert len(engine._playbacks) == 1


def test_a_row_joins_a_running_batch(engine, make_stage):
    """A request that comes later steps together with one that is under way."""
    engine.submit(toy_request("a", 6))
    for _ in range(5):
        engine.step()
    engine.submit(toy_request("b", 6))
    run_until_idle(engine)
    assert {len(batch) for batch in make_stage.batches} == {1, 2}


def test_a_sentence_without_sound_ends_cleanly(engine):
    """A request whose last step makes nothing still gets its last, empty chunk."""
    request = toy_request("a", 1)
    request.work.take_audio = lambda: ToyWork(0).take_audio()
    engine.submit(request)
    run_until_idle(engine)
    assert [(len(chunk.samples), chunk.is_last) for chunk in request.outlet.chunks] == [(0, True)]


@pytest.mark.parametrize("num_steps_before", [0, 1, 3])
def test_cancel_frees_the_slot_within_a_step(engine, num_steps_before):
    """Cancelled while waiting or running: the next step releases it, and nobody hears of it again."""
    request, other = toy_request("a", 50), toy_request("b")
    engine.submit(request)
    for _ in range(num_steps_before):
        engine.step()
    engine.submit(other)
    engine.cancel(request)
    engine.cancel(request)
    engine.cancel(toy_request("never submitted"))
    num_heard = len(request.outlet.chunks)
    run_until_idle(engine)
    assert len(request.outlet.chunks) == num_heard
    assert not request.outlet.errors
    assert other.outlet.num_samples == 30
    assert engine.num_open == 0


def test_a_reader_that_does_not_read_is_parked(make_stage):
    """Sound piles up to `generate_ahead_s` plus one chunk, and goes on when some was taken."""
    engine = toy_engine(PlanStage(), make_stage, num_slots=1, generate_ahead_s=2.0)
    request = toy_request("a", 9)
    engine.submit(request)
    run_until_idle(engine)
    assert request.outlet.num_samples == 30
    engine.consumed(request, 30)
    run_until_idle(engine)
    assert request.outlet.num_samples == 60
    engine.consumed(request, 60)
    run_until_idle(engine)
    assert request.outlet.chunks[-1].is_last


def test_one_sentences_failure_is_its_own(engine, make_stage):
    """A numeric failure ends that request with its error; its neighbour finishes."""
    bad, good = toy_request("bad"), toy_request("good")

    def mark_poisoned(batch):
        if bad.work in batch:
            bad.work.failure = ModelNumericError("not a number")

    make_stage.before_step = mark_poisoned
    engine.submit(bad)
    engine.submit(good)
    run_until_idle(engine)
    assert isinstance(bad.outlet.errors[0], ModelNumericError)
    assert not bad.outlet.chunks
    assert good.outlet.num_samples == 30


def test_out_of_memory_fails_the_batch_and_not_the_engine(engine, make_stage):
    """The rows of the step that did not fit fail; what comes later is served."""

    def run_out(_):
        make_stage.before_step = lambda _: None
        raise MemoryError("no room")

    make_stage.before_step = run_out
    first, second = toy_request("a"), toy_request("b")
    engine.submit(first)
    run_until_idle(engine)
    engine.submit(second)
    run_until_idle(engine)
    assert isinstance(first.outlet.errors[0], EngineError)
    assert second.outlet.num_samples == 30


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA"), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")],
    ids=["gpu", "cpu"],
)
@pytest.mark.parametrize("where", ["begin", "step", "finish"])
def test_wherever_memory_runs_out_the_engine_goes_on(engine, make_stage, monkeypatch, where, error):
    """At a sentence's beginning, in a step, or when its results are read: it fails alone, its slot comes back."""

    def run_out(*_):
        monkeypatch.undo()
        raise error

    if where == "finish":
        pending = SimpleNamespace(is_done=lambda: True, finish=run_out)
        monkeypatch.setattr(make_stage, "step", lambda _: pending)
    else:
        monkeypatch.setattr(make_stage, where, run_out)
    first, second = toy_request("a"), toy_request("b")
    engine.submit(first)
    run_until_idle(engine)
    engine.submit(second)
    run_until_idle(engine)
    assert "out of memory" in first.outlet.errors[0].message
    assert second.outlet.num_samples == 30


def test_a_later_sentence_is_not_refused_for_newcomers_who_wait(engine):
    """Whoever is heard goes on, though nobody else is let in."""
    for name in "abcd":
        engine.submit(toy_request(name))
    later = toy_request("next")
    later.utterance_id, later.sentence_index = "talk", 1
    engine.submit(later)
    run_until_idle(engine)
    assert later.outlet.num_samples == 30


def test_whoever_has_time_leaves_a_slot_to_newcomers(make_stage):
    """Sentences far ahead do not take the last slots, in which they would only be parked."""
    engine = toy_engine(PlanStage(), make_stage, num_slots=8, generate_ahead_s=2.0)
    for name in "abc":
        for index in range(3):
            request = toy_request(f"{name}{index}", 50)
            request.utterance_id, request.sentence_index = name, index
            engine.submit(request)
    for _ in range(300):
        engine.step()
    assert engine.num_running == 7
    newcomer = toy_request("newcomer")
    engine.submit(newcomer)
    for _ in range(20):
        engine.step()
    assert newcomer.outlet.num_samples == 30
    engine.stop()


def test_more_than_may_wait_is_refused(engine):
    """Beyond slots + max_waiting a request is refused with a time to come back."""
    for name in "abcd":
        engine.submit(toy_request(name))
    with pytest.raises(OverloadedError) as caught:
        engine.submit(toy_request("e"))
    assert caught.value.retry_after_s
    run_until_idle(engine)


def test_two_requests_cannot_be_the_same_sentence(engine):
    """The second is the caller's mistake, which the engine survives; once the first has ended it may come."""
    first, second, third = (toy_request(name) for name in "abc")
    for request in (first, second, third):
        request.utterance_id = "talk"
    third.sentence_index = 1
    engine.submit(first)
    with pytest.raises(ValueError, match="sentence 0"):
        engine.submit(second)
    engine.submit(third)
    run_until_idle(engine)
    engine.submit(second)
    run_until_idle(engine)
    assert [request.outlet.num_samples for request in (first, second, third)] == [30, 30, 30]


def wait_for(condition):
    deadline_s = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline_s:
        time.sleep(0.005)
    assert condition()


def test_the_thread_sleeps_wakes_and_stops(engine):
    """A request submitted to an idle thread is served; stop ends the thread."""
    engine.start()
    request = toy_request("a")
    engine.submit(request)
    wait_for(lambda: request.outlet.chunks and request.outlet.chunks[-1].is_last)
    assert engine.stop()


def test_stopping_fails_what_is_open(make_stage):
    """Requests still open when the engine stops hear an error, once."""
    engine = toy_engine(PlanStage(), make_stage, num_slots=1, generate_ahead_s=0.5)
    parked, waiting = toy_request("parked", 50), toy_request("waiting", 50)
    engine.start()
    engine.submit(parked)
    engine.submit(waiting)
    wait_for(lambda: parked.outlet.chunks)
    assert engine.stop()
    assert [len(request.outlet.errors) for request in (parked, waiting)] == [1, 1]
    engine.check_integrity()


def test_stopping_in_a_hanging_step_leaves_nobody_waiting(make_stage):
    """Who is open hears an error all the same, later ones are refused, and the step's late result says nothing."""
    engine = toy_engine(PlanStage(), make_stage, num_slots=1)
    gate = threading.Event()
    make_stage.before_step = lambda _: gate.wait(10)
    request = toy_request("a")
    engine.start()
    engine.submit(request)
    wait_for(lambda: make_stage.batches)
    assert not engine.stop(timeout_s=0.05)
    assert len(request.outlet.errors) == 1
    with pytest.raises(EngineError):
        engine.submit(toy_request("late"))
    gate.set()
    assert engine.stop()
    assert len(request.outlet.errors) == 1 and not request.outlet.chunks


def test_what_steps_cost_can_be_learnt_anew(engine):
    """What the first ones took, in which much was compiled, does not decide who may come."""
    engine.submit(toy_request("a"))
    run_until_idle(engine)
    engine.reset_costs()
    run_until_idle(engine)
    assert engine.capacity.num_listeners is None and engine.capacity.load(1) is None
    assert engine.slowest_step_s < 1.0
    assert all(costs.decode_row_s == float("inf") for costs in engine._scheduler.costs.values())


def test_an_exception_in_a_step_ends_every_request_with_an_engine_error(engine, make_stage):
    """The engine dies openly: running and waiting requests fail, later ones are refused."""

    def explode(_):
        raise RuntimeError("device-side assert")

    make_stage.before_step = explode
    requests = [toy_request(name) for name in "abc"]
    for request in requests:
        engine.submit(request)
    engine.start()
    for request in requests:
        wait_for(lambda request=request: len(request.outlet.errors) == 1)
        assert isinstance(request.outlet.errors[0], EngineError)
    assert "device-side assert" in engine.failure.message
    with pytest.raises(EngineError):
        engine.submit(toy_request("late"))
    assert engine.stop()
    engine.check_integrity()


def test_a_hang_is_noticed_and_every_request_told(engine, make_stage):
    """While a step blocks, the watchdog fails the open requests and declares the engine dead."""
    gate = threading.Event()
    make_stage.before_step = lambda _: gate.wait(10)
    request = toy_request("a")
    watchdog = Watchdog(engine, limit_s=0.1)
    engine.start()
    watchdog.start()
    engine.submit(request)
    wait_for(lambda: request.outlet.errors)
    assert "hangs" in engine.failure.message
    with pytest.raises(EngineError):
        engine.submit(toy_request("late"))
    gate.set()
    watchdog.stop()
    assert engine.stop()
    assert len(request.outlet.errors) == 1


def test_a_sentence_that_ended_may_be_asked_for_once_more(make_stage):
    """From the moment its reader hears of the end; what was thrown away does not count as heard."""
    engine = toy_engine(PlanStage(), make_stage, num_slots=2)
    first, again = toy_request("first"), toy_request("again")
    first.utterance_id = again.utterance_id = "talk"

    def request_again(chunk):
        if chunk.is_last:
            engine.submit(again)

    first.outlet = request_again
    engine.submit(first)
    run_until_idle(engine)
    assert again.outlet.num_samples == 30
    playback = again.playback
    assert playback is first.playback
    assert playback.underrun_at_s(0) - playback.origin_s == pytest.approx(3.0)
