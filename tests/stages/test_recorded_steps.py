"""Recorded steps and late results change nothing in a sentence."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from streamer.engine.device.transfer import Readback
from streamer.engine.request import Request
from streamer.sampling import SamplingParams
from streamer.stages import codec, fine, token_stage
from streamer.stages.chain import build_stages
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

SAMPLED = SamplingParams(seed=11, text_temp=0.9, waveform_temp=0.8, fine_temp=0.7, min_eos_p=0.008)


@pytest.fixture(scope="module", params=[TINY, TINY_WITH_PATH], ids=["free", "path"])
def model(request):
    return tiny_model(request.param)


def works():
    """Return five different sentences, of which one has filters and most end by themselves."""
    return [
        tiny_work(tiny_voice(40), SAMPLED),
        tiny_work(tiny_voice(5, seed=1), replace(SAMPLED, seed=12, top_k=20), text=(7, 7), max_tokens=23),
        tiny_work(tiny_voice(0), replace(SAMPLED, seed=13, text_temp=0), max_tokens=31),
        tiny_work(tiny_voice(40), replace(SAMPLED, seed=14), text=(9, 2), max_tokens=66),
        tiny_work(tiny_voice(12), replace(SAMPLED, seed=15, min_eos_p=1), max_tokens=17),
    ]


@pytest.fixture(scope="module")
def alone(model):
    return [(work, run(model, work)[0]) for work in works()]


class LateReadback(Readback):
    """Arrives only after it was polled three times, as from a device that is behind."""

    def __init__(self, tensor) -> None:
        super().__init__(tensor.clone())
        self._host = self._host.clone()
        self._num_asked = 0

    def is_done(self) -> bool:
        self._num_asked += 1
        return self._num_asked > 3


def run_recorded(model, together, *, join_after=0):
    stages = build_stages(model, num_slots=3, record=lambda run: run)
    for stage in stages[:3]:
        num_recorded = []
        stage.record(lambda num_recorded=num_recorded: num_recorded.append(None))
        assert len(num_recorded) == stage.num_recordings() > 0
    engine = tiny_engine(model, stages=stages)
    outlets = [Collector() for _ in together]
    for index, (work, outlet) in enumerate(zip(together, outlets, strict=True)):
        engine.submit(Request(str(index), work, outlet))
        for _ in range(join_after):
            engine.step()
    while engine.step():
        pass
    engine.check_integrity()
    assert engine.num_open == 0
    return outlets


@pytest.mark.parametrize("is_late", [False, True], ids=["at once", "late"])
@pytest.mark.parametrize("join_after", [0, 17])
def test_recorded_and_late_is_plain_and_alone(model, alone, is_late, join_after, monkeypatch):
    """Padded batches, replayed steps and ends that are known late give the same tokens, codes and audio."""
    if is_late:
        for module in (token_stage, fine, codec):
            monkeypatch.setattr(module, "Readback", LateReadback)
    together = works()
    outlets = run_recorded(model, together, join_after=join_after)
    for (work, outlet), other, other_outlet in zip(alone, together, outlets, strict=True):
        assert work.semantic.tokens == other.semantic.tokens
        assert work.coarse.tokens == other.coarse.tokens
        assert torch.equal(work.fine.codes, other.fine.codes)
        np.testing.assert_allclose(outlet.samples, other_outlet.samples, atol=1e-5)
        assert [chunk.is_last for chunk in other_outlet.chunks].count(True) == 1
        assert other_outlet.chunks[-1].is_last
    assert any(not work.is_truncated for work, _ in alone)


def test_sentences_cancelled_while_their_steps_are_in_flight_disturb_no_other(model, alone, monkeypatch):
    """The slot goes to the next sentence at once, which late results of the one before do not reach."""
    for module in (token_stage, fine, codec):
        monkeypatch.setattr(module, "Readback", LateReadback)
    stages = build_stages(model, num_slots=2)
    engine = tiny_engine(model, num_slots=2, stages=stages)
    together, outlets = works(), [Collector() for _ in range(5)]
    for num_steps in (1, 2, 5, 30, 60, 90):
        dropped = Collector()
        request = Request("dropped", tiny_work(tiny_voice(40), replace(SAMPLED, seed=num_steps)), dropped)
        engine.submit(request)
        for _ in range(num_steps):
            engine.step()
        engine.cancel(request)
        num_chunks = len(dropped.chunks)
        if num_steps == 30:
            for index, (work, outlet) in enumerate(zip(together, outlets, strict=True)):
                engine.submit(Request(str(index), work, outlet))
        engine.step()
        assert len(dropped.chunks) == num_chunks
    while engine.step():
        pass
    engine.check_integrity()
    for (work, outlet), other, other_outlet in zip(alone, together, outlets, strict=True):
        assert work.coarse.tokens == other.coarse.tokens
        np.testing.assert_allclose(outlet.samples, other_outlet.samples, atol=1e-5)
