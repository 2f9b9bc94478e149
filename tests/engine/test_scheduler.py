"""The policy: who has heard nothing first, then the least lead; nobody too far ahead."""

from toy_stages import MakeStage, PlanStage, toy_request

from streamer.engine.scheduler import Scheduler


def speaking(name, *, first_audio_s, delivered_s, consumed_s=None):
    """A request under way that is ready for both stages."""
    request = opened(toy_request(name, 9))
    request.listener.deliver(0, delivered_s, first_audio_s)
    request.listener.take(0, delivered_s if consumed_s is None else consumed_s)
    request.work.num_planned = 4
    return request


def opened(request):
    request.listener.open(request.sentence_index)
    return request


def scheduler(**options):
    return Scheduler([PlanStage(), MakeStage()], **{"generate_ahead_s": 8.0, **options})


def names(tick):
    return [request.request_id for request in tick.requests]


def test_who_has_heard_nothing_decides_the_stage():
    """A new request's first stage steps before an older one's last, and the older joins where it is ready."""
    tick = scheduler().pick(
        [speaking("old", first_audio_s=0.0, delivered_s=1.0), opened(toy_request("new"))], 0.0
    )
    assert tick.stage.name == "plan"
    assert names(tick) == ["new", "old"]


def test_new_requests_are_served_in_the_order_they_came():
    """Among those without sound the longest waiting is first."""
    late, early = opened(toy_request("late")), opened(toy_request("early"))
    late.submitted_s, early.submitted_s = 2.0, 1.0
    assert names(scheduler().pick([late, early], 0.0)) == ["early", "late"]


def test_the_least_lead_comes_first():
    """Of two listeners the one who falls silent sooner leads the batch."""
    ahead = speaking("ahead", first_audio_s=0.0, delivered_s=5.0)
    behind = speaking("behind", first_audio_s=3.0, delivered_s=1.0)
    tick = scheduler().pick([ahead, behind], 0.0)
    assert tick.stage.name == "make"
    assert names(tick) == ["behind", "ahead"]


def test_the_next_sentence_of_a_listener_is_in_no_hurry():
    """Made ahead, it yields to every listener who would fall silent sooner, and to its own first sentence."""
    first = speaking("first", first_audio_s=0.0, delivered_s=2.0)
    second = toy_request("second")
    second.listener, second.sentence_index = first.listener, 1
    opened(second)
    other = speaking("other", first_audio_s=0.0, delivered_s=1.0)
    assert names(scheduler().pick([second, first, other], 0.0)) == ["other", "first"]
    silent, next_of_silent = opened(toy_request("silent")), toy_request("next")
    next_of_silent.listener, next_of_silent.sentence_index = silent.listener, 1
    opened(next_of_silent)
    assert names(scheduler().pick([next_of_silent, silent], 0.0)) == ["silent", "next"]


def test_a_listener_far_ahead_parks_all_his_sentences():
    """What waits of an earlier sentence counts for the later ones."""
    first = speaking("first", first_audio_s=0.0, delivered_s=9.0, consumed_s=0.0)
    second = toy_request("second")
    second.listener, second.sentence_index = first.listener, 1
    assert scheduler().pick([first, opened(second)], 0.0) is None


def test_a_batch_is_cut_to_the_stages_rows():
    """More than `max_rows` are ready: the most urgent go."""
    requests = [speaking(str(index), first_audio_s=0.0, delivered_s=20.0 - index) for index in range(10)]
    assert names(scheduler().pick(requests, 0.0)) == [str(index) for index in range(9, 1, -1)]


def test_who_is_too_far_ahead_is_parked():
    """A request whose sound has piled up takes no part, and with nobody else there is nothing to do."""
    parked = speaking("parked", first_audio_s=0.0, delivered_s=9.0, consumed_s=0.5)
    moving = speaking("moving", first_audio_s=0.0, delivered_s=9.0, consumed_s=1.5)
    assert names(scheduler().pick([parked, moving], 0.0)) == ["moving"]
    assert scheduler().pick([parked], 0.0) is None


def test_cancelled_requests_are_left_out():
    """A mark is enough: no step is spent on it."""
    request = opened(toy_request("a"))
    request.is_cancelled = True
    assert scheduler().pick([request], 0.0) is None


def heavy_tick(now_s):
    """A tick of four requests ready to plan; the last three's steps are heavy, the first falls silent at 1 s."""
    requests = [
        speaking(name, first_audio_s=0.0, delivered_s=1.0 + place) for place, name in enumerate("abcd")
    ]
    plan = PlanStage()
    plan.heavy_works = [request.work for request in requests[1:]]
    return Scheduler([plan], generate_ahead_s=8.0).pick(requests, now_s)


def test_while_a_listener_presses_one_heavy_step_joins_at_most():
    """Who falls silent within moments waits for one other's heavy step, the next urgent's, and not for all."""
    assert names(heavy_tick(now_s=0.9)) == ["a", "b"]


def test_when_nobody_presses_heavy_steps_go_together():
    """With time in hand a batch is what costs the least."""
    assert names(heavy_tick(now_s=0.1)) == ["a", "b", "c", "d"]
