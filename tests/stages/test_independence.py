"""A sentence is the same whatever else is in the batch and whenever its stages run."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from streamer.engine.request import Request
from streamer.engine.scheduler import Scheduler
from streamer.errors import EngineError, ModelNumericError
from streamer.models.cpu import int8_forward
from streamer.models.cpu.int8_gpt import use_int8
from streamer.models.gpt import CausalGpt
from streamer.sampling import SamplingParams
from streamer.stages import token_stage
from streamer.stages.chain import build_stages
from tests.fakes.streams import HeldStream
from tests.fakes.tiny_bark import (
    TINY,
    TINY_WITH_PATH,
    Collector,
    run,
    tiny_engine,
    tiny_model,
    tiny_voice,
    tiny_work,
)

SAMPLED = SamplingParams(
    seed=11, text_temp=0.9, waveform_temp=0.8, fine_temp=0.7, top_k=30, top_p=0.95, min_eos_p=1
)


def model_of(config, steps_at_once):
    """Return a tiny model whose decode steps follow one another in such numbers."""
    model = tiny_model(config)
    for network in (model.semantic, model.coarse):
        network.decode_step.steps_at_once = steps_at_once
    return model


WITHOUT_PADS = replace(TINY, fine=replace(TINY.fine, is_padded=False, last_chunk_frames=3, joined_frames=5))


@pytest.fixture(
    scope="module",
    params=[(TINY, 1), (TINY_WITH_PATH, 1), (TINY_WITH_PATH, 5), (WITHOUT_PADS, 1)],
    ids=["free", "path", "path-at-once", "without-pads"],
)
def model(request):
    return model_of(*request.param)


def works():
    """Return three sentences that differ in voice, length, text and parameters."""
    return [
        tiny_work(tiny_voice(40), SAMPLED, text=(3, 1, 4, 1, 5, 9, 2, 0, 5, 3, 5)),
        tiny_work(
            tiny_voice(5, seed=1), replace(SAMPLED, seed=12, top_k=None), text=(7, 1) * 8, max_tokens=23
        ),
        tiny_work(
            tiny_voice(0),
            replace(SAMPLED, seed=13, text_temp=0, top_p=None),
            text=(0, 1, 3) * 5,
            max_tokens=31,
        ),
    ]


def unfiltered_works(seed=24):
    """Return two sentences as the compiled draw takes them; with the usual seed, one soon meets a likely end."""
    usual = SamplingParams(seed=seed, text_temp=0.7, waveform_temp=0.7, fine_temp=0.5, min_eos_p=0.005)
    return [
        tiny_work(tiny_voice(40), usual, text=(2, 7, 1, 8, 2, 8) * 3, max_tokens=60),
        tiny_work(
            tiny_voice(9, seed=2), replace(usual, seed=22, min_eos_p=1), text=(5, 3) * 6, max_tokens=33
        ),
    ]


def assert_same(work, outlet, other, other_outlet):
    assert work.semantic.tokens == other.semantic.tokens
    assert work.coarse.tokens == other.coarse.tokens
    assert torch.equal(work.fine.codes, other.fine.codes)
    np.testing.assert_allclose(outlet.samples, other_outlet.samples, atol=1e-5)


@pytest.fixture(scope="module")
def alone(model):
    """Each of the three sentences, run by itself."""
    return [(work, run(model, work)[0]) for work in works()]


@pytest.mark.parametrize("steps_at_once", [6, 16])
@pytest.mark.parametrize("config", [TINY, TINY_WITH_PATH], ids=["free", "path"])
def test_steps_at_once_are_the_same_steps(config, steps_at_once):
    """Sentences, filtered or not, with ends and windows anywhere within these steps, are what single steps make."""
    singly, together = [*works(), *unfiltered_works()], [*works(), *unfiltered_works()]
    outlets = run(model_of(config, 1), *singly)
    others = run(model_of(config, steps_at_once), *together, join_after=2)
    for work, outlet, other, other_outlet in zip(singly, outlets, together, others, strict=True):
        assert_same(work, outlet, other, other_outlet)
    # Some sentence has an end within such a run, and tokens behind it that were dropped.
    assert any(work.semantic.num_issued > len(work.semantic.tokens) + 1 for work in together)
    assert all(work.semantic.num_issued <= len(work.semantic.tokens) + 1 for work in singly)


@pytest.mark.parametrize("is_nan_at", [0, 1, 4])
def test_nan_within_steps_in_a_row_fails_its_sentence(is_nan_at, monkeypatch):
    """What is drawn behind it is dropped, and its slot speaks again; the other sentence is as ever."""
    singly = unfiltered_works(21)
    outlets = run(model_of(TINY, 1), *singly)
    model, calls = model_of(TINY, 8), []
    original = model.coarse.decode

    def poisoned(*arguments, **options):
        logits = original(*arguments, **options).clone()
        if len(logits) == 2:
            calls.append(logits)
            if len(calls) == is_nan_at + 1:
                logits[0] = torch.nan
        return logits

    monkeypatch.setattr(model.coarse, "decode", poisoned)
    together = unfiltered_works(21)
    others = run(model, *together)
    assert sum(bool(outlet.errors) for outlet in others) == 1
    for work, outlet, other, other_outlet in zip(singly, outlets, together, others, strict=True):
        if not other_outlet.errors:
            assert_same(work, outlet, other, other_outlet)
    monkeypatch.undo()
    again = unfiltered_works(21)
    for work, outlet, other, other_outlet in zip(singly, outlets, again, run(model, *again), strict=True):
        assert_same(work, outlet, other, other_outlet)


def test_windows_that_begin_beside_others_take_one_step(monkeypatch):
    """A batch with a prefill is one step, whose cost is not divided; without one it is as many as all can take.

    Several take fewer than one that is alone.
    """
    monkeypatch.setattr(token_stage, "STEPS_TOGETHER", 4)
    stage = build_stages(model_of(TINY, 8), num_slots=3)[0]
    first, second = unfiltered_works()
    for slot, work in enumerate((first, second)):
        work.slot = slot
        stage.begin(work)
    assert stage.step([first]).num_steps == 1
    assert stage.step([first, second]).num_steps == 1
    assert [work.semantic.num_issued for work in (first, second)] == [2, 1]
    pending = stage.step([first, second])
    assert pending.num_steps == 4
    assert [work.semantic.num_issued for work in (first, second)] == [6, 5]


def test_the_first_steps_in_a_row_end_where_the_next_stage_can_begin():
    """So that nothing is drawn before the first sound that it does not need; later ones go on."""
    stages = semantic, coarse, fine, _ = build_stages(model_of(TINY, 16), num_slots=1)
    work, _ = unfiltered_works(21)
    work.slot = 0
    for stage in stages:
        stage.begin(work)
    num_needed = work.windows.tokens_needed(0, len(work.semantic_history))
    for num_there in (1, num_needed, num_needed + 16):
        semantic.step([work]).finish()
        assert len(work.semantic.tokens) == num_there
    window, first_chunk = TINY.coarse.window, 2 * TINY.fine.chunk_frames[0]
    assert window < first_chunk < 3 * window and first_chunk % window
    counts = []
    while not fine.is_ready(work):
        coarse.step([work]).finish()
        counts.append(len(work.coarse.tokens))
    assert counts[-1] == first_chunk and window in counts
    coarse.step([work]).finish()
    assert len(work.coarse.tokens) == 3 * window


@pytest.mark.parametrize("join_after", [0, 1, 17, 50])
def test_batched_is_alone(model, alone, join_after):
    """Rows that join and leave at any step make the same tokens and audio as by themselves."""
    together = works()
    outlets = run(model, *together, join_after=join_after)
    for (work, outlet), other, other_outlet in zip(alone, together, outlets, strict=True):
        assert_same(work, outlet, other, other_outlet)


@pytest.mark.parametrize(("join_after", "num_slots"), [(0, 3), (17, 3), (50, 2), (0, 1)])
def test_on_two_threads_is_on_one(model, alone, stream, join_after, num_slots):
    """Each stage makes the same on the other thread, also in slots that were used before."""
    together = [*works(), *works()]
    stages = build_stages(model, num_slots=num_slots, stream=stream)
    outlets = run(model, *together, join_after=join_after, num_slots=num_slots, stages=stages)
    for (work, outlet), other, other_outlet in zip([*alone, *alone], together, outlets, strict=True):
        assert_same(work, outlet, other, other_outlet)


@pytest.mark.parametrize("stage_name", ["fine", "codec"])
@pytest.mark.parametrize("num_before", [0, 1, 2])
def test_memory_that_runs_out_on_the_other_thread_fails_one_sentence(
    model, alone, stream, stage_name, num_before, monkeypatch
):
    """What was launched behind the step finds no codes and does no harm; the slot then speaks as ever."""
    stages = build_stages(model, num_slots=1, stream=stream)
    stage = next(stage for stage in stages if stage.name == stage_name)
    original, calls = stage._run, []

    def run_out(*given, **more):
        calls.append(given)
        if len(calls) == num_before + 1:
            raise MemoryError("no room")
        return original(*given, **more)

    monkeypatch.setattr(stage, "_run", run_out)
    failed, work = works()[0], works()[0]
    outlets = run(model, failed, work, num_slots=1, stages=stages)
    assert [type(error) for error in outlets[0].errors] == [EngineError]
    assert_same(*alone[0], work, outlets[1])


@pytest.mark.parametrize("every", [1, 2])
def test_a_chunk_that_the_engines_thread_fills_in_is_the_other_ones(stream, every, monkeypatch):
    """Whether it takes all of these steps or every other one, with the codec's on the other thread."""
    monkeypatch.setattr(int8_forward, "MIN_WIDTH", 1)
    monkeypatch.setattr(int8_forward, "has_fast_int8", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    model, numbers, singly, together = tiny_model(), itertools.count(), works(), works()
    assert (
        build_stages(model, num_slots=3, stream=stream)[2].step_here is None
    )  # In floats torch shares its work.
    use_int8(model.fine, torch.float32)
    alone = [run(model, work)[0] for work in singly]
    stages = build_stages(model, num_slots=3, stream=stream)

    def may_run_here(_, stage, leader, beside, _now_s):
        is_free = not any(other.stage is stage and leader in other.requests for other in beside)
        return stage is stages[2] and is_free and next(numbers) % every == 0

    monkeypatch.setattr(Scheduler, "_may_run_here", may_run_here)
    outlets = run(model, *together, stages=stages)
    assert next(numbers) > len(together)
    for work, outlet, other, other_outlet in zip(singly, alone, together, outlets, strict=True):
        assert_same(work, outlet, other, other_outlet)


@pytest.mark.parametrize("number", [0, 1])
def test_an_idle_thread_takes_steps_of_these_stages_too(model, alone, stream, number, monkeypatch):
    """Of the semantic and the coarse stage; what they make there is what they make here."""
    stages = build_stages(model, num_slots=3, stream=stream)
    stages[1].max_rows = 1  # else all that are ready share a step
    taken, original = [], stages[number].step_beside
    monkeypatch.setattr(stages[number], "step_beside", lambda batch: taken.append(batch) or original(batch))
    together = works()
    outlets = run(model, *together, stages=stages)
    assert taken
    for (work, outlet), other, other_outlet in zip(alone, together, outlets, strict=True):
        assert_same(work, outlet, other, other_outlet)


@pytest.mark.parametrize("number", [0, 1])
def test_memory_that_runs_out_in_such_a_step_fails_its_sentences_alone(
    model, alone, stream, number, monkeypatch
):
    """Those whose step it was; their slots then speak as ever."""
    stages = build_stages(model, num_slots=3, stream=stream)
    stages[1].max_rows = 1
    original, has_failed = stages[number]._step_beside, []

    def step_beside(batch):
        pending = original(stream, batch)
        if not has_failed:
            has_failed.extend(batch)
            pending.commit = run_out
        return pending

    def run_out(_):
        raise MemoryError("no room")

    monkeypatch.setattr(stages[number], "step_beside", step_beside)
    first, later = works(), works()
    outlets = run(model, *first, *later, num_slots=3, stages=stages)
    assert has_failed
    for work, outlet in zip(first, outlets, strict=False):
        assert bool(outlet.errors) == (work in has_failed)
    for (work, outlet), other, other_outlet in zip(alone, later, outlets[3:], strict=True):
        assert_same(work, outlet, other, other_outlet)


@pytest.mark.parametrize("number", [0, 1])
def test_a_slot_waits_for_what_its_last_sentence_left_beside(model, alone, number):
    """A sentence that is given up within such a step leaves nothing behind, not even what is not a number."""
    stream = HeldStream()
    stages = build_stages(model, num_slots=1, stream=stream)
    stage, dropped, work = stages[number], works()[1], works()[0]
    for each in (dropped, work):
        each.slot = 0
    for every in stages:
        every.begin(dropped)
    while not stages[1].is_ready(dropped):
        stages[0].step([dropped]).finish()
    if number == 0:
        dropped.semantic.is_finished = False
    pending = stage.step_beside([dropped])
    assert not stage.is_ready(dropped) and not pending.is_done()
    cache = stage._steps._cache
    cache.keys[:, 0] = torch.nan  # as such a step may leave it
    for every in stages:
        every.begin(work)
    assert pending.is_done() and cache.keys[:, 0].isfinite().all()
    pending.finish()
    assert work.semantic.num_issued == 0 and not getattr(work, stage.name).is_made_beside
    for every in stages:
        while every.is_ready(work):
            every.step([work]).finish()
    assert work.semantic.tokens == alone[0][0].semantic.tokens
    assert work.coarse.tokens == alone[0][0].coarse.tokens


def test_a_sentence_that_is_cancelled_on_two_threads_disturbs_no_other(model, alone, stream):
    """The next sentence in its slot is as ever, though steps of the cancelled one may still be on their way."""
    stages = build_stages(model, num_slots=1, stream=stream)
    engine = tiny_engine(model, num_slots=1, stages=stages)
    for num_steps in (20, 60, 75, 90, 110):
        dropped = Request("dropped", works()[1], Collector())
        engine.submit(dropped)
        for _ in range(num_steps):
            engine.step()
        engine.cancel(dropped)
        work, outlet = works()[0], Collector()
        engine.submit(Request("next", work, outlet))
        while engine.step():
            pass
        assert_same(*alone[0], work, outlet)
    engine.check_integrity()


def test_one_step_serves_several_sentences(model):
    """Together the three take fewer steps than one after another, though one alone takes twice as many in a row."""

    def count_steps(*group):
        engine = tiny_engine(model)
        for index, work in enumerate(group):
            engine.submit(Request(str(index), work, Collector()))
        num_steps = 0
        while engine.step():
            num_steps += 1
        return num_steps

    share = 0.8 if model.semantic.decode_step.steps_at_once == 1 else 0.95
    assert count_steps(*works()) < share * sum(count_steps(work) for work in works())


def run_one_after_another(model, work):
    """Run each stage to its end before the next one begins."""
    outlet, stages = Collector(), build_stages(model, num_slots=1)
    work.slot = 0
    for stage in stages:
        stage.begin(work)
    for stage in stages:
        while stage.is_ready(work):
            if (pending := stage.step([work])) is not None:
                pending.finish()
    outlet.chunks = [type("Chunk", (), {"samples": work.take_audio()})]
    return outlet


def test_early_is_late(model, alone):
    """Stages that run one after another, each to its end, make what overlapping stages make."""
    work = works()[0]
    assert_same(*alone[0], work, run_one_after_another(model, work))


@pytest.mark.parametrize("window", [6, 16, 24])
@pytest.mark.parametrize("num_tokens", range(8, 20))
def test_frames_join_a_chunk_whenever_the_end_is_known_or_never(window, num_tokens):
    """Also where a client's windows tell of a sentence's end later than the model's own."""
    model = model_of(replace(TINY, fine=replace(WITHOUT_PADS.fine, joined_frames=8)), 1)
    params = replace(SAMPLED, sliding_window_len=window, max_coarse_history=22)
    late, early = (tiny_work(tiny_voice(40), params, max_tokens=num_tokens) for _ in range(2))
    assert_same(late, run(model, late)[0], early, run_one_after_another(model, early))


def test_a_slot_keeps_nothing_of_its_last_sentence(model, alone):
    """A sentence is the same in a slot that another one used before."""
    first, second = works()[1], works()[0]
    outlets = run(model, first, second, num_slots=1)
    assert_same(*alone[0], second, outlets[1])


def test_another_seed_changes_the_result(model, alone):
    """The same sentence with another seed has other tokens."""
    other = tiny_work(tiny_voice(40), replace(SAMPLED, seed=99))
    run(model, other)
    assert other.semantic.tokens != alone[0][0].semantic.tokens


@pytest.mark.parametrize(
    ("stage_name", "num_rows"), [("semantic", 3), ("coarse", 3), ("fine", 1), ("codec", 1)]
)
def test_nan_fails_only_its_own_sentence(model, alone, stage_name, num_rows, monkeypatch):
    """NaN in one row of any stage ends that request with a numeric error and changes no other."""
    together = works()
    method = {"fine": "forward", "codec": "decode_chunk"}.get(stage_name, "decode")
    owner = type(getattr(model, stage_name))
    if owner is CausalGpt:
        owner = getattr(model, stage_name)  # semantic and coarse share their class
    original, is_spoiled = getattr(owner, method), []

    def mark_poisoned(*arguments, **options):
        result = original(*arguments, **options).clone()
        if len(result) >= num_rows and not is_spoiled:
            result[0] = torch.nan
            is_spoiled.append(True)
        return result

    monkeypatch.setattr(owner, method, mark_poisoned)
    outlets = run(model, *together)
    failed = [index for index, outlet in enumerate(outlets) if outlet.errors]
    assert len(failed) == 1
    for index, outlet in enumerate(outlets):
        if index in failed:
            assert isinstance(outlet.errors[0], ModelNumericError)
            assert not any(chunk.is_last for chunk in outlet.chunks)
        else:
            assert_same(*alone[index], together[index], outlet)
    monkeypatch.undo()
    again = works()
    for index, outlet in enumerate(run(model, *again)):
        assert_same(*alone[index], again[index], outlet)
