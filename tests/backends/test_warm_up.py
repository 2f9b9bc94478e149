"""The first sentences measure the machine, and the log says how fast it is."""

from __future__ import annotations

import logging

import llvmlite.binding
import numpy as np
import pytest

from streamer.backends import local, warm_up
from streamer.backends.warm_up import Speed, fitting_schedule, log_speed
from streamer.errors import CheckpointError, EngineError, ModelNumericError
from streamer.sampling import SamplingParams
from streamer.stages.fine_windows import scheduled
from streamer.synthesis import SentenceRequest
from tests.backends.tiny_speaker import tiny_synthesizer
from tests.fakes.tiny_bark import TINY


def logged(caplog: pytest.LogCaptureFixture, speed: Speed) -> dict[str, str]:
    """The messages of `log_speed`, by level."""
    with caplog.at_level(logging.INFO, logger="streamer"):
        log_speed(speed)
    return {record.levelname: record.getMessage() for record in caplog.records}


def test_the_speed_and_the_instruction_sets_are_logged(caplog, monkeypatch):
    """One line names the time to the first audio, the real-time factor and what the CPU has."""
    features = {"avx2": True, "avx512f": True, "avx512vnni": True, "amx-int8": False, "sse2": True}
    monkeypatch.setattr(llvmlite.binding, "get_host_cpu_features", lambda: features)
    messages = logged(caplog, Speed(0.061, 0.264))
    assert set(messages) == {"INFO"}
    assert "0.06 s" in messages["INFO"] and "0.26 s" in messages["INFO"]
    assert "AVX2, AVX-512, AVX-512 VNNI" in messages["INFO"] and "AMX" not in messages["INFO"]


@pytest.mark.parametrize(
    ("speed", "measured"),
    [
        (Speed(0.5, 0.7), "0.70 s"),
        (Speed(0.5, 0.98), "0.98 s"),
        (Speed(1.9, 3.0), "3.00 s"),
        (Speed(5.5, None), "5.50 s"),
    ],
)
def test_a_slow_machine_is_warned_of_with_a_remedy(caplog, monkeypatch, speed, measured):
    """Near real time, above it, or too slow to be measured; a CPU without any known instruction set included."""
    monkeypatch.setattr(llvmlite.binding, "get_host_cpu_features", dict)
    messages = logged(caplog, speed)
    assert measured in messages["WARNING"] and "set start to safe" in messages["WARNING"]
    assert "no known vector instructions" in messages["WARNING"]


@pytest.mark.parametrize("factor", [0.0, 0.3, 0.69])
def test_a_fast_machine_is_not_warned_of(caplog, factor):
    """Below the limit there is only the line of information."""
    assert set(logged(caplog, Speed(0.1, factor))) == {"INFO"}


@pytest.mark.parametrize(
    ("factor", "schedule"),
    [
        (0.0, "latency"),
        (0.26, "latency"),
        (0.99, "latency"),
        (1.0, "balanced"),
        (1.9, "balanced"),
        (2.0, "throughput"),
        (30.0, "throughput"),
        (None, "throughput"),
    ],
)
def test_a_machine_that_cannot_keep_up_makes_fewer_chunks(factor, schedule):
    """At real time and faster sound comes early; slower, or so slow that it was not measured, whole sentences do."""
    assert fitting_schedule(Speed(0.5, factor)) == schedule


@pytest.mark.parametrize(
    ("given", "factor", "schedule"),
    [
        ("auto", 0.3, "latency"),
        ("auto", None, "throughput"),
        ("balanced", None, "balanced"),
        ("whole", 0.3, "whole"),
    ],
)
async def test_the_schedule_is_measured_once_unless_it_is_given(
    tmp_path, monkeypatch, given, factor, schedule
):
    """Whatever the machine's speed, a given schedule stays; the model's description names the one in use."""

    async def measured(*_, **__):
        return Speed(0.5, factor)

    monkeypatch.setattr(local, "warm_up", measured)
    synthesizer = tiny_synthesizer(tmp_path, chunk_schedule=given)
    await synthesizer.start()
    synthesizer.reload_voices()
    assert synthesizer.info.chunk_schedule == schedule
    assert synthesizer.model_config.fine == scheduled(TINY.fine, schedule)
    await synthesizer.close()


async def test_a_measured_schedule_sounds_as_the_same_one_given(tmp_path, monkeypatch):
    """A schedule and a seed give the same sound, whether a slow machine has chosen the schedule or its operator."""

    async def spoken(schedule, factor):
        async def measured(*_, **__):
            return Speed(0.5, factor)

        monkeypatch.setattr(local, "warm_up", measured)
        synthesizer = tiny_synthesizer(tmp_path, chunk_schedule=schedule)
        await synthesizer.start()
        request = SentenceRequest("a", "hello there", "one", SamplingParams(seed=3, min_eos_p=None))
        chunks = [chunk.samples async for chunk in synthesizer.synthesize(request)]
        await synthesizer.close()
        return np.concatenate(chunks)

    for schedule, slow in (("balanced", 1.5), ("throughput", None)):
        given, measured_one = await spoken(schedule, 0.1), await spoken("auto", slow)
        np.testing.assert_array_equal(given, measured_one)
    early = await spoken("auto", 0.1)
    assert len(early) == len(given) and np.abs(early - given).max() > 1e-3


async def test_the_start_measures_one_sentence(tmp_path, caplog, monkeypatch):
    """The real-time factor is measured unless the first audio takes long; the log names the process's memory too."""
    for slow_s, is_measured in ((1e9, True), (0.0, False)):
        monkeypatch.setattr(warm_up, "SLOW_S", slow_s)
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="streamer"):
            synthesizer = tiny_synthesizer(tmp_path)
            await synthesizer.start()
            await synthesizer.close()
        speed = next(record.getMessage() for record in caplog.records if "speed of" in record.getMessage())
        assert ("a second of audio" in speed) == is_measured
        memory = next(record for record in caplog.records if record.getMessage() == "memory")
        assert "slots" in memory.plan and memory.whole_process.endswith("at most")


@pytest.mark.parametrize("error", [EngineError("no"), ModelNumericError("NaN")])
async def test_a_model_that_makes_no_sound_is_a_mistake_and_no_failure(tmp_path, monkeypatch, error):
    """The start ends with one error that says what to do, and not with one that has a supervisor try again."""
    synthesizer = tiny_synthesizer(tmp_path)

    async def fail(_request):
        raise error
        yield

    monkeypatch.setattr(synthesizer, "synthesize", fail)
    with pytest.raises(CheckpointError, match=f"no first sound: {error}.*models verify"):
        await synthesizer.start()
    await synthesizer.close()
