"""The figures: named tts_…, with a fixed number of series, readable by Prometheus."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from streamer.telemetry.metrics import Metrics


def test_figures_can_be_scraped_and_are_ours() -> None:
    """Everything rendered parses, and carries the prefix."""
    metrics = Metrics()
    metrics.utterance_ended("ok", audio_ms=1500, num_chars=12)
    metrics.listener_ran_dry(0.2)
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
