"""A coarse window whose beginning was filled in ahead makes the tokens that it makes without."""

from dataclasses import replace

import pytest
import torch

from streamer.engine.request import Request
from streamer.models.cpu import int8_forward
from streamer.models.cpu.int8_gpt import use_int8
from streamer.sampling import SamplingParams
from streamer.stages import windows_ahead
from streamer.stages.chain import build_stages
from streamer.stages.windows_ahead import WindowsAhead, slots_per_sentence
from tests.fakes.streams import HeldStream, PromptStream
from tests.fakes.tiny_bark import Collector, run, tiny_engine, tiny_model, tiny_voice, tiny_work

SAMPLED = SamplingParams(seed=11, text_temp=0.9, waveform_temp=0.8, fine_temp=0.7, min_eos_p=1)


@pytest.fixture(scope="module")
def model():
    """A tiny model whose coarse network is in int8, as a narrow one's is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(int8_forward, "MIN_WIDTH", 1)
        patch.setattr(int8_forward, "has_fast_int8", lambda: True)
        patch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        model = tiny_model()
        use_int8(model.coarse, torch.float32)
    model.coarse.decode_step.steps_at_once = 8  # More would be nearly a whole window at once.
    return model


@pytest.fixture(autouse=True)
def no_minimum(monkeypatch):
    """Begin the tiny model's shortest windows ahead, too."""
    monkeypatch.setattr(windows_ahead, "MIN_POSITIONS", 8)


def works():
    """Return sentences whose windows have a full history, one that grows, none, another size, and more than history."""
    long_windows = replace(SAMPLED, seed=15, sliding_window_len=23, max_coarse_history=22)
    short_windows = replace(SAMPLED, seed=14, sliding_window_len=4, max_coarse_history=22)
    return [
        tiny_work(tiny_voice(40), SAMPLED, text=(3, 1, 4, 1, 5, 9, 2, 0, 5, 3, 5)),
        tiny_work(tiny_voice(5, seed=1), replace(SAMPLED, seed=12), text=(7, 1) * 8, max_tokens=23),
        tiny_work(tiny_voice(0), replace(SAMPLED, seed=13), text=(0, 1, 3) * 5, max_tokens=31),
        tiny_work(tiny_voice(40), short_windows, text=(6, 1) * 6, max_tokens=30),
        tiny_work(tiny_voice(40), long_windows, text=(6, 1) * 6, max_tokens=70),
    ]


@pytest.fixture(scope="module")
def alone(model):
    """The coarse tokens of each sentence on a single thread."""
    made = works()
    for work in made:
        run(model, work)
    return [work.coarse.tokens for work in made]


@pytest.fixture
def taken(monkeypatch):
    """The slots whose windows were begun ahead."""
    taken, original = [], WindowsAhead.put_in_place
    monkeypatch.setattr(
        WindowsAhead, "put_in_place", lambda self, slot: taken.append(slot) or original(self, slot)
    )
    return taken


@pytest.mark.parametrize("number", range(5))
def test_a_sentence_is_what_it_is_on_one_thread(model, alone, taken, number):
    """Also in a slot that was used before."""
    first, second = works()[number], works()[number]
    run(model, first, second, num_slots=1, stages=build_stages(model, num_slots=1, stream=PromptStream()))
    assert first.coarse.tokens == second.coarse.tokens == alone[number]
    assert len(taken) >= 2


@pytest.mark.parametrize("join_after", [0, 9])
def test_sentences_at_once_do_not_disturb_each_other(model, alone, stream, join_after):
    """Each has a second slot of its own."""
    together = works()
    run(
        model,
        *together,
        num_slots=4,
        join_after=join_after,
        stages=build_stages(model, num_slots=5, stream=stream),
    )
    assert [work.coarse.tokens for work in together] == alone


def begun_parts(monkeypatch):
    """Return a list of what is filled in ahead from now on: the window's step, and from where to where."""
    begun, original = [], WindowsAhead.step_beside

    def step_beside(self, work):
        before = self._by_slot.get(work.slot)
        pending = original(self, work)
        ahead = self._by_slot[work.slot]
        begun.append((ahead.step, before.num_positions if before else 0, ahead.num_positions))
        return pending

    monkeypatch.setattr(WindowsAhead, "step_beside", step_beside)
    return begun


def test_a_slot_waits_for_what_its_last_sentence_began(model, alone):
    """Else the next sentence's first window could be overwritten by what is still on its way."""
    stages = build_stages(model, num_slots=1, stream=HeldStream())
    coarse, dropped, work = stages[1], works()[0], works()[0]
    for each in (dropped, work):
        each.slot = 0
    for stage in stages:
        stage.begin(dropped)
    while not coarse.preparation.is_ready(dropped):
        (stages[0] if stages[0].is_ready(dropped) else coarse).step([dropped]).finish()
    pending = coarse.preparation.step_beside(dropped)
    assert not coarse.preparation.is_ready(dropped) and not pending.is_done()
    for stage in stages:
        stage.begin(work)
    assert pending.is_done()
    pending.finish()
    for stage in stages[:2]:
        while stage.is_ready(work):
            stage.step([work]).finish()
    assert work.coarse.tokens == alone[0]


def test_a_window_waits_for_its_beginning(model, alone):
    """While the thread is at it, the window is not begun here as well."""
    stages = build_stages(model, num_slots=1, stream=HeldStream())
    semantic, coarse, work = *stages[:2], works()[0]
    work.slot = 0
    for stage in stages:
        stage.begin(work)
    while semantic.is_ready(work):
        semantic.step([work]).finish()
    num_held, pending = 0, None
    while not work.is_coarse_finished:
        if coarse.preparation.is_ready(work):
            pending = coarse.preparation.step_beside(work)
        if coarse.is_ready(work):
            coarse.step([work]).finish()
        else:
            num_held += 1
            pending.finish()
    assert num_held > 3
    assert work.coarse.tokens == alone[0]


def run_with_all_ahead(model, work):
    """Run the semantic and the coarse stage, with each window's parts filled in as soon as they are known."""
    stages = build_stages(model, num_slots=1, stream=PromptStream())
    semantic, coarse = stages[:2]
    work.slot = 0
    for stage in stages:
        stage.begin(work)
    while semantic.is_ready(work):
        semantic.step([work]).finish()
    while coarse.is_ready(work):
        while coarse.preparation.is_ready(work):
            coarse.preparation.step_beside(work).finish()
        coarse.step([work]).finish()


def fail_ahead(model, monkeypatch, number, error):
    """Have the call that fills in a window's part ahead, the first or a later one, raise `error`; returns the calls."""
    calls, original = [], model.coarse.prefill

    def prefill(embeddings, cache, slots, *, start):
        if slots.item() == 1:
            calls.append(start)
            if len(calls) == number + 1:
                raise error
        return original(embeddings, cache, slots, start=start)

    monkeypatch.setattr(model.coarse, "prefill", prefill)
    return calls


@pytest.mark.parametrize("number", [0, 1, 2, 4])
def test_a_window_for_whose_beginning_there_is_no_memory_begins_whole(
    model, alone, taken, monkeypatch, caplog, number
):
    """What was begun of it is dropped, with a warning; later windows begin ahead again."""
    calls, work = fail_ahead(model, monkeypatch, number, MemoryError("no room")), works()[4]
    run_with_all_ahead(model, work)
    assert work.failure is None and work.coarse.tokens == alone[4]
    assert len(taken) == calls.count(0) - 1 >= 1
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_another_error_ahead_is_the_engines_end(model, monkeypatch):
    """It is no lack of memory, and what it means for later windows is unknown."""
    stages = build_stages(model, num_slots=1, stream=PromptStream())
    fail_ahead(model, monkeypatch, 0, RuntimeError("a kernel failed"))
    with pytest.raises(RuntimeError, match="a kernel failed"):
        run(model, works()[0], num_slots=1, stages=stages)


def test_a_cancelled_sentence_leaves_nothing_behind(model, alone, stream):
    """Whenever it is cancelled, the next one in its slot is as ever."""
    engine = tiny_engine(model, num_slots=1, stages=build_stages(model, num_slots=1, stream=stream))
    for num_steps in (20, 40, 60, 75, 90):
        dropped = Request("dropped", works()[3], Collector())
        engine.submit(dropped)
        for _ in range(num_steps):
            engine.step()
        engine.cancel(dropped)
        work = works()[0]
        engine.submit(Request("next", work, Collector()))
        while engine.step():
            pass
        assert work.coarse.tokens == alone[0]


def test_only_windows_that_can_begin_ahead_take_a_second_slot(model):
    """A network that runs as floats, or takes single steps, has one slot for each sentence."""
    assert slots_per_sentence(model.coarse, has_stream=True) == 2
    assert slots_per_sentence(model.coarse, has_stream=False) == 1
    assert slots_per_sentence(tiny_model().coarse, has_stream=True) == 1
    assert build_stages(model, num_slots=1)[1].preparation is None


def test_no_window_is_begun_behind_the_end(model, taken, monkeypatch):
    """Each that was begun is also made."""
    begun = begun_parts(monkeypatch)
    run(model, works()[0], num_slots=1, stages=build_stages(model, num_slots=1, stream=PromptStream()))
    assert taken and len({step for step, _, _ in begun}) == len(taken)


@pytest.mark.parametrize("number", range(5))
def test_what_becomes_known_later_is_filled_in_later(model, alone, monkeypatch, number):
    """A window's parts follow each other without a gap, and it is what it is as a whole."""
    begun, work = begun_parts(monkeypatch), works()[number]
    run_with_all_ahead(model, work)
    parts = {}
    for step, start, num_positions in begun:
        assert start == parts.get(step, 0) <= num_positions - 8
        parts[step] = num_positions
    if number == 4:  # Its history is shorter than a window: none of it is known when the one before begins.
        assert len(begun) == 3 * len(parts) > 3
    assert work.coarse.tokens == alone[number]


def test_costs_are_those_of_windows_that_are_made_as_a_whole(model, monkeypatch):
    """One whose beginning was there takes a fraction of the time, and says nothing of what another will take."""
    engine = tiny_engine(model, num_slots=1, stages=build_stages(model, num_slots=1, stream=PromptStream()))
    batches, update = [], engine._scheduler.update_costs
    monkeypatch.setattr(
        engine._scheduler,
        "update_costs",
        lambda batch, took_s: batches.append(batch) or update(batch, took_s),
    )
    learnt, costs = [], engine._scheduler.costs["coarse"]
    monkeypatch.setattr(costs, "observe", lambda *rows, **_: learnt.append(rows))
    engine.submit(Request("a", works()[0], Collector()))
    while engine.step():
        pass
    coarse = [batch for batch in batches if batch.stage.name == "coarse"]
    num_prepared = sum(batch.is_prepared for batch in coarse)
    num_parts = sum(batch.prepares for batch in coarse)
    assert num_parts >= num_prepared > 3
    assert len(learnt) == len(coarse) - num_prepared - num_parts
