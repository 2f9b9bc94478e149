"""Figures that are counted elsewhere, read at the moment when `metrics` is asked for them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    StateSetMetricFamily,
)
from prometheus_client.registry import Collector

from streamer.synthesis import EngineStats, Health, WorkersHealth

MAX_WORKERS: Final = 256
"""The most workers of a front end with series of their own; all are counted."""
_EACH_WORKER: Final = "tts_remote_worker_"
"""What the names of the figures of single workers begin with."""


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


class HealthCollector(Collector):
    """Turns what a synthesizer counts into metrics at the moment they are asked for."""

    def __init__(self, health: Callable[[], Health]) -> None:
        self._health = health

    def collect(self) -> Iterable[Metric]:
        health = self._health()
        if health.engine is not None:
            yield from _engine_metrics(health.engine)
        if health.workers is not None:
            yield _workers_metric(health.workers)
            yield from _each_worker(health.workers)


class WithoutWorkers(Collector):
    """The figures of a registry but for those of single workers."""

    def __init__(self, registry: Collector) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        return (family for family in self._registry.collect() if not family.name.startswith(_EACH_WORKER))


def _each_worker(workers: WorkersHealth) -> Iterable[Metric]:
    """Tell of each worker, up to a number, by its address: the operator's choice, or that of an application of Ray."""
    for kind, name, attribute, help_text in (
        (GaugeMetricFamily, "up", "is_answering", "1 while it answers."),
        (GaugeMetricFamily, "ready", "is_ready", "1 while it takes new sentences."),
        (GaugeMetricFamily, "sentences_open", "num_sentences", "Sentences of this front end."),
        (GaugeMetricFamily, "listeners", "num_listeners", "Listeners, those of other front ends too."),
        (GaugeMetricFamily, "listeners_limit", "max_listeners", "Beyond it new ones wait."),
        (CounterMetricFamily, "sentences", "num_asked", "Sentences that it was asked for."),
        (CounterMetricFamily, "refusals", "num_refusals", "Sentences that it had no room for."),
        (CounterMetricFamily, "retries", "num_retries", "Sentences made by another because it was lost."),
        (CounterMetricFamily, "losses", "num_losses", "Times that it was lost."),
    ):
        family = kind(f"{_EACH_WORKER}{name}", help_text, labels=["worker"])
        for worker in workers.each[:MAX_WORKERS]:
            if (value := getattr(worker, attribute)) is not None:
                family.add_metric([worker.address], float(value))
        yield family


def _workers_metric(counts: WorkersHealth) -> Metric:
    family = GaugeMetricFamily(
        "tts_workers", "Workers that this front end was given, by how it finds them.", labels=["state"]
    )
    family.add_metric(["ready"], counts.num_ready)
    family.add_metric(["not_ready"], counts.num_answering - counts.num_ready)
    family.add_metric(["silent"], counts.num_all - counts.num_answering)
    return family


def _engine_metrics(figures: EngineStats) -> Iterable[Metric]:
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
