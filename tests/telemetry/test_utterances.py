"""Each utterance is one line in the log, and is counted for its owner; what is counted is bounded."""

from __future__ import annotations

import json
import logging

import pytest

from streamer.errors import EngineError
from streamer.telemetry import utterances
from streamer.telemetry.logs import JsonFormatter
from streamer.telemetry.metrics import MAX_OWNERS, OTHER_OWNER, Metrics
from streamer.telemetry.utterances import EndReason, UtteranceRecord


def record_of(metrics: Metrics, owner: str = "alice") -> UtteranceRecord:
    ids = {"session_id": "s", "utterance_id": "a", "trace_id": "s.1"}
    return UtteranceRecord(metrics, ids, owner=owner, protocol="native", model="m", voice="v")


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"tts_{name}", labels)


@pytest.mark.parametrize(
    ("reason", "outcome", "level"),
    [
        ("completed", "ok", "info"),
        ("truncated", "truncated", "info"),
        ("cancelled", "cancelled", "info"),
        ("client_gone", "client_gone", "info"),
        ("failed", "error", "warning"),
    ],
)
def test_the_line_says_all_of_an_utterance(
    reason: EndReason,
    outcome: str,
    level: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who had what spoken, how much, when the first sound came, how long it took, and why it ended."""
    now_s = 100.0
    monkeypatch.setattr(utterances.time, "monotonic", lambda: now_s)
    metrics = Metrics()
    error = EngineError("broke") if reason == "failed" else None
    with caplog.at_level(logging.INFO):
        record = record_of(metrics)
        now_s = 100.25
        record.note_first_audio()
        now_s = 103.0
        record.note_first_audio()  # a later packet changes nothing
        record.close(reason, audio_ms=1500, num_chars=20, num_begun_chars=12, error=error)
    (line,) = caplog.records
    told = json.loads(JsonFormatter().format(line))
    assert told.pop("ts") and told.pop("logger")
    assert told == {
        "level": level,
        "event": "utterance",
        "session_id": "s",
        "utterance_id": "a",
        "trace_id": "s.1",
        "owner": "alice",
        "protocol": "native",
        "model": "m",
        "voice": "v",
        "chars": 20,
        "begun_chars": 12,
        "audio_s": 1.5,
        "first_audio_ms": 250,
        "reason": reason,
        "duration_s": 3.0,
    } | ({"code": "engine_failed", "error": "broke"} if error else {})
    assert value(metrics, "usage_requests_total", owner="alice", outcome=outcome) == 1
    assert value(metrics, "usage_audio_seconds_total", owner="alice") == 1.5
    assert value(metrics, "usage_characters_total", owner="alice") == 12
    assert value(metrics, "requests_total", outcome=outcome) == 1
    assert value(metrics, "time_to_first_audio_seconds_count") == 1


def test_the_first_sound_counts_from_the_first_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where that came later than the utterance began."""
    monkeypatch.setattr(utterances.time, "monotonic", lambda: 100.0)
    record = record_of(Metrics())
    assert record.first_audio_ms is None
    record.note_first_audio(99.9)
    assert record.first_audio_ms == 100


def test_the_real_time_factor_is_that_of_sound() -> None:
    """An utterance without any has none."""
    metrics = Metrics()
    assert record_of(metrics).note_generation(0.5, 2000) == 0.25
    assert record_of(metrics).note_generation(0.5, 0) is None
    assert value(metrics, "realtime_factor_count") == 1


def test_the_number_of_owners_with_series_is_bounded() -> None:
    """Those beyond are counted together, and nothing is lost: the sums are those of all utterances."""
    metrics = Metrics()
    num_owners = MAX_OWNERS + 50
    for _ in range(2):
        for number in range(num_owners):
            metrics.utterance_ended("ok", audio_ms=1000, num_chars=1, owner=f"k{number}")
    names = {
        sample.labels["owner"]
        for family in metrics.registry.collect()
        for sample in family.samples
        if "owner" in sample.labels
    }
    assert len(names) == MAX_OWNERS and OTHER_OWNER in names
    others = value(metrics, "usage_requests_total", owner=OTHER_OWNER, outcome="ok")
    assert others == 2 * (num_owners - (MAX_OWNERS - 1))
    total = sum(
        sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "tts_usage_requests_total"
    )
    assert total == value(metrics, "requests_total", outcome="ok") == 2 * num_owners
