"""Figures that are counted elsewhere, read at the moment when `metrics` is asked for them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    StateSetMetricFamily,
)
from prometheus_client.registry import Collector

from streamer.synthesis import EngineStats, WorkersHealth


class LogCollector(Collector):
    """Counts the log records that were dropped, when that is asked for."""

    def __init__(self, num_dropped: Callable[[], int]) -> None:
        self._num_dropped = num_dropped

    def collect(self) -> Iterable[Metric]:
        yield CounterMetricFamily(
            "tts_log_records_dropped", "Log records that nobody read in time.", self._num_dropped()
        )


class AuthenticationCollector(Collector):
    """Tells how often clients were not let in, when that is asked for."""

    def __init__(self, failures: Mapping[str, int], reasons: Sequence[str]) -> None:
        self._failures = failures
        self._reasons = reasons

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(
            "tts_authentication_failures", "Keys and tickets that were not accepted.", labels=["reason"]
        )
        for reason in self._reasons:
            family.add_metric([reason], self._failures.get(reason, 0))
        yield family


class StateCollector(Collector):
    """Tells what the server is doing, when that is asked for."""

    def __init__(self, state: Callable[[], str], states: Sequence[str]) -> None:
        self._state = state
        self._states = states

    def collect(self) -> Iterable[Metric]:
        state = self._state()
        family = StateSetMetricFamily("tts_state", "1 for what `/v1/status` says that the server does.")
        family.add_metric([], {known: known == state for known in self._states})
        yield family


class WorkersCollector(Collector):
    """Tells how a front end's workers are, when that is asked for; labels are the addresses that the operator chose."""

    def __init__(self, workers: Callable[[], WorkersHealth | None]) -> None:
        self._workers = workers

    def collect(self) -> Iterable[Metric]:
        workers = self._workers()
        if workers is None:
            return
        gauges = {
            "is_answering": GaugeMetricFamily("tts_worker_up", "1 while it answers.", labels=["worker"]),
            "is_ready": GaugeMetricFamily(
                "tts_worker_ready", "1 while it takes new sentences.", labels=["worker"]
            ),
            "num_sentences": GaugeMetricFamily(
                "tts_worker_sentences_open", "Sentences of this front end.", labels=["worker"]
            ),
            "num_listeners": GaugeMetricFamily(
                "tts_worker_listeners", "Listeners, those of other front ends too.", labels=["worker"]
            ),
            "max_listeners": GaugeMetricFamily(
                "tts_worker_listeners_limit", "Beyond it new ones wait.", labels=["worker"]
            ),
        }
        counters = {
            "num_asked": CounterMetricFamily(
                "tts_worker_sentences", "Sentences that it was asked for.", labels=["worker"]
            ),
            "num_refusals": CounterMetricFamily(
                "tts_worker_refusals", "Sentences that it had no room for.", labels=["worker"]
            ),
            "num_retries": CounterMetricFamily(
                "tts_worker_retries", "Sentences made by another because it was lost.", labels=["worker"]
            ),
            "num_losses": CounterMetricFamily(
                "tts_worker_losses", "Times that it was lost.", labels=["worker"]
            ),
        }
        for family_of in (gauges, counters):
            for name, family in family_of.items():
                for worker in workers.each:
                    if (value := getattr(worker, name)) is not None:
                        family.add_metric([worker.address], float(value))
                yield family


class EngineCollector(Collector):
    """Turns the engine's own counts into metrics at the moment they are asked for."""

    def __init__(self, figures: Callable[[], EngineStats | None]) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        figures = self._figures()
        if figures is None:
            return
        steps = HistogramMetricFamily("tts_engine_step_seconds", "Duration of a step.", labels=["stage"])
        rows = CounterMetricFamily("tts_engine_rows", "Rows of all steps.", labels=["stage"])
        for name, stage in figures.stages.items():
            borders = [*map(str, stage.step_borders_s), "+Inf"]
            totals = itertools.accumulate(stage.step_counts)
            steps.add_metric([name], list(zip(borders, totals, strict=True)), stage.step_seconds)
            rows.add_metric([name], stage.num_rows)
        yield steps
        yield rows
        yield GaugeMetricFamily("tts_slots", "Sentences that can be generated at once.", figures.num_slots)
        yield GaugeMetricFamily("tts_slots_used", "Sentences being generated.", figures.num_running)
        yield GaugeMetricFamily("tts_sentences_waiting", "Sentences without a slot.", figures.num_waiting)
        yield GaugeMetricFamily("tts_listeners", "Listeners being served.", figures.num_listeners)
        if figures.load is not None:
            yield GaugeMetricFamily("tts_engine_load", "Part of its time they take.", figures.load)
        if figures.max_listeners is not None:
            yield GaugeMetricFamily("tts_listeners_limit", "Beyond it new ones wait.", figures.max_listeners)
