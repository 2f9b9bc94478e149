"""A worker's figures for Prometheus: those of its engine, as a server tells them, and those of its sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from streamer.synthesis import Health
from streamer.telemetry.collectors import HealthCollector, LogCollector
from streamer.telemetry.exposition import negotiated
from streamer.telemetry.logs import num_dropped


@dataclass(frozen=True, slots=True)
class WorkerFigures:
    """What a worker counts. `model`: the loaded model's name, empty until then; `num_ended`: by outcome."""

    version: str
    model: str
    is_ready: bool
    num_connections: int
    num_open: int
    num_ended: Mapping[str, int]
    audio_s: float


class WorkerMetrics:
    """One registry per worker, so that several may live in one process (tests do that)."""

    def __init__(self, health: Callable[[], Health], figures: Callable[[], WorkerFigures]) -> None:
        """Both functions are called whenever the figures are asked for."""
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(HealthCollector(health))
        registry.register(LogCollector(num_dropped))
        registry.register(_WorkerCollector(health, figures))

    def negotiated(self, accept: str) -> tuple[bytes, str]:
        """Return all figures in the format that an `Accept` header prefers, and its content type."""
        return negotiated(self.registry, accept)


class _WorkerCollector(Collector):
    def __init__(self, health: Callable[[], Health], figures: Callable[[], WorkerFigures]) -> None:
        self._health = health
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        health, figures = self._health(), self._figures()
        build = {"version": figures.version, "model": figures.model}
        yield InfoMetricFamily("tts_build", "Version and model.", build)
        yield GaugeMetricFamily("tts_ready", "1 when new sentences are accepted.", figures.is_ready)
        yield GaugeMetricFamily("tts_engine_up", "1 while the engine is alive.", health.alive)
        yield GaugeMetricFamily(
            "tts_engine_last_step_age_seconds",
            "How long the engine's step in progress has taken so far.",
            health.step_age_s,
        )
        yield GaugeMetricFamily(
            "tts_worker_connections", "Connections of front ends.", figures.num_connections
        )
        yield GaugeMetricFamily("tts_worker_sentences_open", "Sentences being made.", figures.num_open)
        ended = CounterMetricFamily("tts_worker_sentences", "Ended sentences.", labels=["outcome"])
        for outcome, number in figures.num_ended.items():
            ended.add_metric([outcome], number)
        yield ended
        yield CounterMetricFamily("tts_worker_audio_seconds", "Sound sent to front ends.", figures.audio_s)
