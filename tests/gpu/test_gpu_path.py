"""On a GPU the stages give the results of a CPU, recorded or not, and launch steps without waiting for the device."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from streamer.engine.device.cuda_graphs import CudaRecorder
from streamer.engine.request import Request
from streamer.models.gpt import set_dtype
from streamer.sampling import SamplingParams
from streamer.stages.chain import build_stages
from streamer.stages.memory import free_memory, plan_memory
from tests.fakes.tiny_bark import Collector, run, tiny_engine, tiny_model, tiny_voice, tiny_work

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here"),
]

SAMPLED = SamplingParams(seed=11, text_temp=0.9, waveform_temp=0.8, fine_temp=0.7, min_eos_p=0.008)
RECORDED = pytest.mark.parametrize("is_recorded", [False, True], ids=["plain", "recorded"])


def works():
    return [
        tiny_work(tiny_voice(40), SAMPLED),
        tiny_work(tiny_voice(5, seed=1), replace(SAMPLED, seed=12, top_k=20), text=(7, 7), max_tokens=23),
        tiny_work(tiny_voice(0), replace(SAMPLED, seed=13, text_temp=0, top_p=0.9), max_tokens=31),
        tiny_work(tiny_voice(40), replace(SAMPLED, seed=14), text=(9, 2), max_tokens=66),
    ]


def model_on_gpu(dtype=torch.float32):
    model = tiny_model()
    for network in (model.semantic, model.coarse, model.fine):
        set_dtype(network, dtype)
    model.fine.tie_weights()
    for network in (model.semantic, model.coarse, model.fine, model.codec):
        network.to("cuda")
    return model


def recorded_stages(model, num_slots, *, is_recorded):
    stages = build_stages(model, num_slots=num_slots, record=CudaRecorder() if is_recorded else None)
    for stage in stages[:3]:
        stage.record(lambda: None)
    return stages


def speak(model, together, *, num_slots=3, is_recorded, join_after=0):
    stages = recorded_stages(model, num_slots, is_recorded=is_recorded)
    engine = tiny_engine(model, num_slots=num_slots, stages=stages)
    outlets = [Collector() for _ in together]
    for index, (work, outlet) in enumerate(zip(together, outlets, strict=True)):
        engine.submit(Request(str(index), work, outlet))
        for _ in range(join_after):
            engine.step()
    while engine.step():
        pass
    engine.check_integrity()
    return outlets


@RECORDED
@pytest.mark.parametrize("join_after", [0, 17])
def test_float32_tokens_are_the_cpus(is_recorded, join_after):
    """In float32 a batch whose rows join and leave has the CPU's tokens, codes and audio."""
    together, alone = works(), works()
    outlets = speak(model_on_gpu(), together, is_recorded=is_recorded, join_after=join_after)
    cpu = tiny_model()
    for work, outlet, other in zip(together, outlets, alone, strict=True):
        (expected,) = run(cpu, other)
        assert work.semantic.tokens == other.semantic.tokens
        assert work.coarse.tokens == other.coarse.tokens
        assert torch.equal(work.fine.codes.cpu(), other.fine.codes)
        np.testing.assert_allclose(outlet.samples, expected.samples, atol=1e-4)


@RECORDED
def test_bfloat16_speaks_the_same_twice(is_recorded):
    """In bfloat16 the same batch gives the same result; its rounding may depend on the batch's shape."""
    first, second = works(), works()
    model = model_on_gpu(torch.bfloat16)
    speak(model, first, is_recorded=is_recorded)
    speak(model, second, is_recorded=is_recorded)
    for work, other in zip(first, second, strict=True):
        assert work.coarse.tokens == other.coarse.tokens
        assert torch.equal(work.fine.codes, other.fine.codes)


@RECORDED
def test_no_step_waits_for_the_device(is_recorded):
    """After warm-up, launching decode steps and fine chunks makes no synchronizing call; only finishing them does."""
    model = model_on_gpu()
    stages = recorded_stages(model, 1, is_recorded=is_recorded)
    for repetition in range(2):
        work = works()[0]
        work.slot = 0
        for stage in stages:
            stage.begin(work)
        for stage in stages:
            while stage.is_ready(work):
                torch.cuda.set_sync_debug_mode("error" if repetition else "default")
                try:
                    pending = stage.step([work])
                finally:
                    torch.cuda.set_sync_debug_mode("default")
                pending.finish()
        assert work.is_finished


def test_memory_is_planned_by_what_is_free():
    """The plan has as many slots as fit and are useful, and allocating them does not fail."""
    model = model_on_gpu()
    free_bytes, total_bytes = free_memory(torch.device("cuda"))
    assert 0 < free_bytes <= total_bytes
    plan = plan_memory(model, None, free_bytes=free_bytes, total_bytes=total_bytes)
    build_stages(model, num_slots=plan.num_slots)
