"""The engine over a toy model: every request ends exactly once, and every slot comes back."""

import numpy as np
import pytest

from streamer.errors import OverloadedError
from tests.engine.toy_stages import PlanStage, ToyWork, run_until_idle, toy_engine, toy_request, wait_for


def test_requests_beyond_the_slots_wait(engine):
    """Three requests on two slots all finish, each with exactly one last chunk."""
    requests = [toy_request(name) for name in "abc"]
    for request in requests:
        engine.submit(request)
    run_until_idle(engine)
    for request in requests:
        assert request.outlet.num_samples == 30
        assert [chunk.is_last for chunk in request.outlet.chunks] == [False, False, True]
    assert engine.num_open == 0


def test_a_free_slot_goes_to_the_most_urgent_request(make_stage):
    """The first sentence of a new utterance is admitted before a later sentence that was submitted earlier."""
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


def test_a_row_joins_a_running_batch(engine, make_stage):
    """A later request steps together with one that is running."""
    engine.submit(toy_request("a", 6))
    for _ in range(5):
        engine.step()
    engine.submit(toy_request("b", 6))
    run_until_idle(engine)
    assert {len(batch) for batch in make_stage.batches} == {1, 2}


def test_a_sentence_without_audio_ends_cleanly(engine):
    """A request whose last step makes nothing receives one empty last chunk."""
    request = toy_request("a", 1)
    request.work.take_audio = lambda: ToyWork(0).take_audio()
    engine.submit(request)
    run_until_idle(engine)
    assert [(len(chunk.samples), chunk.is_last) for chunk in request.outlet.chunks] == [(0, True)]


@pytest.mark.parametrize("num_steps_before", [0, 1, 3])
def test_cancel_frees_the_slot_within_a_step(engine, num_steps_before):
    """Whether the request waits or runs, the next step releases it, and its outlet receives nothing more."""
    request, other = toy_request("a", 50), toy_request("b")
    engine.submit(request)
    for _ in range(num_steps_before):
        engine.step()
    engine.submit(other)
    engine.cancel(request)
    engine.cancel(request)
    engine.cancel(toy_request("never submitted"))
    num_chunks = len(request.outlet.chunks)
    run_until_idle(engine)
    assert len(request.outlet.chunks) == num_chunks
    assert not request.outlet.errors
    assert other.outlet.num_samples == 30
    assert engine.num_open == 0


def test_a_reader_that_does_not_read_is_parked(make_stage):
    """Audio is made up to `generate_ahead_s` plus one chunk ahead, and more once some was consumed."""
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


def test_sound_that_is_played_faster_is_made_further_ahead(make_stage):
    """Twice as fast, as much sound is used up in half the time, on either side of its reader."""
    engine = toy_engine(PlanStage(), make_stage, num_slots=1, generate_ahead_s=2.0)
    request = toy_request("a", 30)
    request.speed = 2.0
    engine.submit(request)
    run_until_idle(engine)
    assert request.outlet.num_samples == 50
    engine.consumed(request, 50)
    run_until_idle(engine)
    assert request.outlet.num_samples == 100


def test_a_later_sentence_is_not_refused_for_new_utterances_that_wait(engine):
    """An utterance that has begun continues while no new one is admitted."""
    for name in "abcd":
        engine.submit(toy_request(name))
    later = toy_request("next")
    later.utterance_id, later.sentence_index = "talk", 1
    engine.submit(later)
    run_until_idle(engine)
    assert later.outlet.num_samples == 30


def test_requests_with_time_leave_a_slot_to_new_ones(make_stage):
    """Sentences that are far ahead do not take the last slot, in which they would only be parked."""
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
    """Beyond the slots and `max_waiting` a request is refused with a time to try again."""
    for name in "abcd":
        engine.submit(toy_request(name))
    with pytest.raises(OverloadedError) as caught:
        engine.submit(toy_request("e"))
    assert caught.value.retry_after_s
    run_until_idle(engine)


def test_two_requests_cannot_be_the_same_sentence(engine):
    """The second is a mistake of the caller's, which the engine survives; it is accepted once the first has ended."""
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


def test_the_thread_sleeps_wakes_and_stops(engine):
    """A request that is submitted to an idle engine is served; `stop` ends the thread."""
    engine.start()
    request = toy_request("a")
    engine.submit(request)
    wait_for(lambda: request.outlet.chunks and request.outlet.chunks[-1].is_last)
    assert engine.stop()


def test_stopping_fails_what_is_open(make_stage):
    """Requests that are open when the engine stops fail, once."""
    engine = toy_engine(PlanStage(), make_stage, num_slots=1, generate_ahead_s=0.5)
    parked, waiting = toy_request("parked", 50), toy_request("waiting", 50)
    engine.start()
    engine.submit(parked)
    engine.submit(waiting)
    wait_for(lambda: parked.outlet.chunks)
    assert engine.stop()
    assert [len(request.outlet.errors) for request in (parked, waiting)] == [1, 1]
    engine.check_integrity()


def test_the_costs_of_steps_can_be_reset(engine):
    """What the first steps took, which includes compiling, does not decide who is admitted."""
    engine.submit(toy_request("a"))
    run_until_idle(engine)
    engine.reset_costs()
    run_until_idle(engine)
    assert engine.capacity.num_listeners is None and engine.capacity.load(1) is None
    assert engine.slowest_step_s < 1.0


def test_a_sentence_that_ended_may_be_requested_again(make_stage):
    """It may be requested from within its last delivery; its discarded audio does not count as played."""
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


def test_the_wait_for_an_utterances_first_sound_is_measured_once(make_stage):
    """From when its next sentence was submitted; later sentences are not counted, even if they sound before it."""
    now_s, measured = [0.0], []
    engine = toy_engine(PlanStage(), make_stage, clock=lambda: now_s[0])
    engine.capacity.begun = measured.append
    first, second = toy_request("first", 6), toy_request("second", 3)
    first.utterance_id = second.utterance_id = "talk"
    second.sentence_index = 1
    take_audio, sounded = first.work.take_audio, []
    first.work.take_audio = lambda: take_audio() if first.work.num_made > 3 else np.zeros(0, np.float32)
    for request in (first, second):
        request.outlet = lambda _, name=request.request_id: sounded.append(name)
        engine.submit(request)
    while engine.step():
        now_s[0] += 0.125
    assert sounded[0] == "second" and sounded[-1] == "first"
    assert len(measured) == 1 and measured[0] > 0.5
