"""The figures: named tts_…, with a fixed number of series, readable by Prometheus."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from streamer.synthesis import EngineStats, StageStats
from streamer.telemetry.metrics import Metrics


def test_figures_can_be_scraped_and_are_ours() -> None:
    """Everything rendered parses, and carries the prefix."""
    metrics = Metrics()
    metrics.utterance_ended("ok", audio_ms=1500, num_chars=12)
    metrics.count_underrun(0.2)
    metrics.describe_build(version="1", model="m")
    families = {family.name: family for family in text_string_to_metric_families(metrics.render().decode())}
    assert families and all(name.startswith("tts_") for name in families)
    (sample,) = [s for s in families["tts_requests"].samples if s.name == "tts_requests_total"]
    assert (sample.labels, sample.value) == ({"outcome": "ok"}, 1.0)


def test_two_servers_keep_their_own_figures() -> None:
    """Nothing is global."""
    one, other = Metrics(), Metrics()
    one.underruns.inc()
    assert b"tts_underruns_total 1.0" in one.render() and b"tts_underruns_total 0.0" in other.render()


def test_lags_of_the_event_loop_are_a_histogram() -> None:
    """From 1 ms to 1 s, so that a quantile over any time can be asked for."""
    metrics = Metrics()
    for lag_s in (0.0005, 0.02, 3.0):
        metrics.event_loop_lag.observe(lag_s)
    families = {family.name: family for family in text_string_to_metric_families(metrics.render().decode())}
    family = families["tts_event_loop_lag_seconds"]
    buckets = {s.labels["le"]: s.value for s in family.samples if s.name.endswith("_bucket")}
    assert family.type == "histogram" and [*buckets][::9] == ["0.001", "1.0"]
    assert (buckets["0.001"], buckets["0.025"], buckets["1.0"], buckets["+Inf"]) == (1, 2, 2, 3)


def test_the_engines_figures_are_read_when_asked_for() -> None:
    """Steps as a histogram by stage, slots, listeners; nothing while there is no engine to tell of."""
    figures: list[EngineStats | None] = [None]
    metrics = Metrics()
    metrics.read_engine(lambda: figures[0])
    assert b"tts_engine_step" not in metrics.render()
    fine = StageStats((0.0005, 0.001), (0, 2, 1), 0.5, 7)
    figures[0] = EngineStats({"fine": fine}, 16, 3, 1, 2, load=0.25, max_listeners=4)
    text = metrics.render().decode()
    for line in (
        'tts_engine_step_seconds_bucket{le="0.001",stage="fine"} 2.0',
        'tts_engine_step_seconds_bucket{le="+Inf",stage="fine"} 3.0',
        'tts_engine_step_seconds_sum{stage="fine"} 0.5',
        'tts_engine_rows_total{stage="fine"} 7.0',
        "tts_slots_used 3.0",
        "tts_sentences_waiting 1.0",
        "tts_engine_load 0.25",
        "tts_listeners_limit 4.0",
    ):
        assert line in text
