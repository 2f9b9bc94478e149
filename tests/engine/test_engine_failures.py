"""What goes wrong in a step ends the requests that it concerns, exactly once, and is logged with their ids."""

import threading
from types import SimpleNamespace

import pytest
import torch

from streamer.engine.watchdog import Watchdog
from streamer.errors import EngineError, ModelNumericError
from tests.engine.toy_stages import PlanStage, run_until_idle, toy_engine, toy_request, wait_for


def test_one_sentences_failure_is_its_own(engine, make_stage):
    """A numeric failure ends that request with its error; the other request of its batch finishes."""
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
    """The requests of the step that did not fit fail; later ones are served."""

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
def test_wherever_memory_runs_out_the_engine_continues(engine, make_stage, monkeypatch, where, error):
    """At a sentence's beginning, in a step, or when its results are read: it fails alone and its slot is freed."""

    def run_out(*_):
        monkeypatch.undo()
        raise error

    if where == "finish":
        pending = SimpleNamespace(
            is_done=lambda: True, finish=run_out, num_steps=1, span_s=None, joined_s=0.0
        )
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


def test_stopping_in_a_hanging_step_leaves_no_request_waiting(make_stage):
    """Open requests fail, later ones are refused, and the step's late result delivers nothing."""
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


def test_an_exception_in_a_step_ends_every_request_with_an_engine_error(engine, make_stage):
    """Running and waiting requests fail, later ones are refused, and the engine says why."""

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


def test_a_hang_fails_every_request(engine, make_stage):
    """While a step blocks, the watchdog fails the open requests and the engine counts as failed."""
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


def logged(caplog, message):
    """Return the record with this message."""
    (record,) = [record for record in caplog.records if record.getMessage() == message]
    return record


def test_a_failed_sentence_is_logged_with_its_id(engine, make_stage, caplog):
    """The id is the one that the request was submitted with, so that a client's utterance can be followed."""
    bad = toy_request("session 1/a/0")

    def fail(_):
        bad.work.failure = ModelNumericError("not a number")

    make_stage.before_step = fail
    engine.submit(bad)
    run_until_idle(engine)
    record = logged(caplog, "a sentence failed")
    assert (record.request, record.error) == ("session 1/a/0", "not a number")


def test_out_of_memory_is_logged_with_the_stage_and_the_ids(engine, make_stage, caplog):
    """All requests of the step are named."""

    def run_out(_):
        raise MemoryError

    make_stage.before_step = run_out
    for name in "ab":
        engine.submit(toy_request(name))
    run_until_idle(engine)
    records = [record for record in caplog.records if record.getMessage() == "out of memory"]
    assert {record.stage for record in records} == {"make"}
    assert sorted(name for record in records for name in record.requests) == ["a", "b"]


def test_a_failure_of_the_engine_is_logged_with_the_step(engine, make_stage, caplog):
    """The stage and the requests of the step in which it happened are named."""

    def explode(_):
        raise RuntimeError("device-side assert")

    make_stage.before_step = explode
    engine.submit(toy_request("a"))
    engine.start()
    wait_for(lambda: engine.failure)
    assert engine.stop()
    record = logged(caplog, "the engine failed")
    assert (record.stage, record.requests) == ("make", ["a"])


def test_a_hang_is_logged_with_the_step(engine, make_stage, caplog):
    """The watchdog names the stage, the requests and how long the step has taken."""
    gate = threading.Event()
    make_stage.before_step = lambda _: gate.wait(10)
    watchdog = Watchdog(engine, limit_s=0.1)
    engine.submit(toy_request("a"))
    engine.start()
    watchdog.start()
    wait_for(lambda: engine.failure)
    gate.set()
    watchdog.stop()
    assert engine.stop()
    record = logged(caplog, "the engine hangs in a step")
    assert (record.stage, record.requests) == ("make", ["a"]) and record.age_s >= 0.1


def test_a_slow_step_is_warned_of_once_and_ends_nothing(caplog):
    """A step that takes long and ends leaves one line in the log, and so does the next such step."""

    class Slow:
        def __init__(self):
            self.ages_s = iter([0.0, 0.1, 0.3, 0.4, 0.0, 0.05, 0.3, 0.35, 0.1])
            self.is_over = threading.Event()
            self.aborted = None

        def step_age_s(self):
            age_s = next(self.ages_s, None)
            if age_s is None:
                self.is_over.set()
            return age_s or 0.0

        def step_fields(self):
            return {"stage": "make", "requests": ["a"]}

        def abort(self, error):
            self.aborted = error

    slow = Slow()
    watchdog = Watchdog(slow, limit_s=1.5)
    watchdog._stopped.wait = lambda _: threading.Event().wait(0.001) or watchdog._stopped.is_set()
    watchdog.start()
    assert slow.is_over.wait(10)
    watchdog.stop()
    warnings = [record for record in caplog.records if record.getMessage() == "a step takes long"]
    assert [(record.age_s, record.stage) for record in warnings] == [(0.3, "make"), (0.3, "make")]
    assert slow.aborted is None
