"""The figures: named tts_…, with a fixed number of series, readable by Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from streamer.synthesis import EngineStats, Health, StageStats, WorkerHealth, WorkersHealth
from streamer.telemetry.exposition import OPENMETRICS
from streamer.telemetry.metrics import OUTCOMES, Metrics, exemplar


def test_figures_can_be_scraped_and_are_ours() -> None:
    """Everything rendered parses, and carries our prefix or that of the process."""
    metrics = Metrics()
    metrics.utterance_ended("ok", audio_ms=1500, num_chars=12)
    metrics.count_underrun(0.2)
    metrics.describe_build(version="1", model="m")
    families = {family.name: family for family in text_string_to_metric_families(metrics.render().decode())}
    assert {name.partition("_")[0] for name in families} == {"tts", "process"}
    ended = [s for s in families["tts_requests"].samples if s.name == "tts_requests_total"]
    assert {sample.labels["outcome"]: sample.value for sample in ended} == {
        outcome: float(outcome == "ok") for outcome in OUTCOMES
    }


def test_a_count_is_there_before_it_is_counted() -> None:
    """`rate` and `increase` see the first failure too, because its series was at 0 before."""
    text = Metrics().render().decode()
    for series in (
        'tts_requests_total{outcome="error"}',
        'tts_errors_total{code="engine_failed"}',
        'tts_errors_total{code="internal_error"}',
        'tts_errors_total{code="model_numeric"}',
        'tts_audio_continuity_total{playback="interrupted"}',
    ):
        assert f"{series} 0.0" in text


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
    metrics.read_health(lambda: Health(alive=True, ready=True, engine=figures[0]))
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


def test_exemplars_lead_from_histograms_to_utterances() -> None:
    """Each bucket names the last utterance in it, in OpenMetrics alone."""
    metrics, trace = Metrics(), exemplar("4bf92f3577b34da6a3ce929d0e0e4736")
    metrics.first_audio.observe(0.07, trace)
    metrics.real_time_factor.observe(0.25, trace)
    metrics.session_seconds.observe(3, trace)
    metrics.count_underrun(0.3, trace)
    metrics.utterance_ended("ok", trace, audio_ms=1500, num_chars=12)
    body, _ = metrics.negotiated(OPENMETRICS)
    found = {
        (family.name, sample.labels["le"]): sample.exemplar
        for family in openmetrics_families(body.decode())
        for sample in family.samples
        if sample.exemplar
    }
    assert {place: (shown.labels, shown.value) for place, shown in found.items()} == {
        ("tts_time_to_first_audio_seconds", "0.08"): (trace, 0.07),
        ("tts_realtime_factor", "0.3"): (trace, 0.25),
        ("tts_session_seconds", "5.0"): (trace, 3.0),
        ("tts_playback_underrun_seconds", "0.3"): (trace, 0.3),
        ("tts_audio_seconds", "2.0"): (trace, 1.5),
    }
    assert b"4bf92f" not in metrics.render()


def test_both_formats_tell_the_same() -> None:
    """Who asks for the one does not learn less than from the other."""
    metrics = Metrics()
    metrics.describe_build(version="1", model="m")
    metrics.read_state(lambda: "ready", ("loading", "ready"))
    metrics.errors.labels("overloaded").inc()

    def series(families: Iterable[Metric]) -> set[tuple[str, str]]:
        samples = [sample for family in families for sample in family.samples]
        return {
            (sample.name, str(sorted(sample.labels.items())))
            for sample in samples
            if not sample.name.endswith("_created")
        }

    body, _ = metrics.negotiated(OPENMETRICS)
    assert series(openmetrics_families(body.decode())) == series(
        text_string_to_metric_families(metrics.render().decode())
    )


def test_a_playback_is_continuous_if_its_underruns_were_short() -> None:
    """A tenth of a second in all still counts; more is an interruption, in one piece or in many."""
    metrics = Metrics()
    for underrun_s in (0.0, 0.05, 0.1, 0.11, 3.0):
        metrics.playback_ended(underrun_s)
    text = metrics.render().decode()
    assert 'tts_audio_continuity_total{playback="continuous"} 3.0' in text
    assert 'tts_audio_continuity_total{playback="interrupted"} 2.0' in text


def test_one_state_is_set() -> None:
    """It is read whenever the figures are."""
    states, metrics = ["loading"], Metrics()
    metrics.read_state(lambda: states[-1], ("loading", "ready"))
    assert 'tts_state{tts_state="loading"} 1.0' in metrics.render().decode()
    states.append("ready")
    text = metrics.render().decode()
    assert 'tts_state{tts_state="loading"} 0.0' in text and 'tts_state{tts_state="ready"} 1.0' in text


def test_each_worker_of_a_front_end_has_its_series() -> None:
    """They are labelled by address; what a worker did not tell has no series, and a server without workers has none."""
    metrics, workers = Metrics(), [WorkersHealth(())]
    metrics.read_health(lambda: Health(alive=True, ready=True, workers=workers[0]))
    assert "tts_remote_worker_up{" not in metrics.render().decode()
    workers[0] = WorkersHealth(
        (
            WorkerHealth("ws://a:1", True, "", 2, 3, 8, 40, 5, 6, 7),
            WorkerHealth("ws://b:1", False, "it drains", 0, None, None, 0, 0, 0, 1),
        )
    )
    told = metrics.render().decode()
    for name, first, second in (
        ("up", 1, 0), ("ready", 1, 0), ("sentences_open", 2, 0), ("listeners", 3, None), ("listeners_limit", 8, None),
        ("sentences_total", 40, 0), ("refusals_total", 5, 0), ("retries_total", 6, 0), ("losses_total", 7, 1),
    ):  # fmt: skip
        assert f'tts_remote_worker_{name}{{worker="ws://a:1"}} {first:.1f}\n' in told
        assert (f'tts_remote_worker_{name}{{worker="ws://b:1"}}' in told) == (second is not None)
        assert second is None or f'tts_remote_worker_{name}{{worker="ws://b:1"}} {second:.1f}\n' in told
    assert metrics.negotiated("application/openmetrics-text")[0].endswith(b"# EOF\n")


def test_a_front_end_tells_how_it_finds_its_workers() -> None:
    """Each worker is in one state, so that the states add up to all of them."""
    metrics = Metrics()
    kinds = [(True, "")] * 2 + [(True, "it drains")] * 3 + [(False, "it cannot be reached")] * 2
    each = tuple(
        WorkerHealth(f"ws://{number}:1", is_answering, problem, 0, None, None, 0, 0, 0, 0)
        for number, (is_answering, problem) in enumerate(kinds)
    )
    metrics.read_health(lambda: Health(alive=True, ready=True, workers=WorkersHealth(each)))
    text = metrics.render().decode()
    for state, number in (("ready", 2), ("not_ready", 3), ("silent", 2)):
        assert f'tts_workers{{state="{state}"}} {number}.0' in text
    assert "tts_slots" not in text
