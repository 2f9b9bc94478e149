"""The first sentences measure the machine, and the log says how fast it is."""

from __future__ import annotations

import logging

import llvmlite.binding
import pytest

from streamer.backends import warm_up
from streamer.backends.warm_up import Speed, log_speed
from streamer.errors import CheckpointError, EngineError, ModelNumericError
from tests.backends.tiny_speaker import tiny_synthesizer


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
        assert "slots" in memory.plan and memory.whole_process.endswith("of main memory")


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
