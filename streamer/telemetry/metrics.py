"""The server's figures for Prometheus, named `tts_…` or `process_…`; `worker_metrics` has those of a worker.

Labels come from closed sets only (error codes, outcomes, reasons), so that no client can make new series. Exemplars
lead from a histogram to an utterance; OpenMetrics has them, Prometheus' older text format does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

from streamer.errors import StreamerError
from streamer.synthesis import Health
from streamer.telemetry.collectors import (
    AuthenticationCollector,
    HealthCollector,
    LogCollector,
    StateCollector,
    WithoutWorkers,
)
from streamer.telemetry.exposition import negotiated, plain_text

OTHER_OWNER: Final = "other"
"""The label of all utterances whose client has no named key."""
MAX_OWNERS: Final = 200
"""The most owners with series of their own; those beyond are counted as `OTHER_OWNER`."""
CONTINUOUS_UNDERRUN_S: Final = 0.1
"""The silence in a playback, all underruns together, that still counts as continuous; vllm-omni's benchmark has the
same threshold (its pull request 3618)."""
OUTCOMES: Final = ("ok", "truncated", "cancelled", "client_gone", "error")
"""How an utterance may end."""
PLAYBACKS: Final = ("continuous", "interrupted")
"""How its playback may have been."""
_LAGS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
_FIRST_AUDIO_S = (0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1, 2, 5)
_REAL_TIME_FACTORS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 4)
_SECONDS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)


Exemplar = dict[str, str]
"""The labels of an exemplar."""


class Metrics:
    """One registry per server, so that several may live in one process (tests do that)."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.connections = Gauge("tts_connections", "Open sessions.", registry=registry)
        self.requests_running = Gauge("tts_requests_running", "Open utterances.", registry=registry)
        self.utterances_queued = Gauge(
            "tts_utterances_queued", "Utterances that wait for room.", registry=registry
        )
        self.ready = Gauge("tts_ready", "1 when new utterances are accepted.", registry=registry)
        self.engine_up = Gauge("tts_engine_up", "1 while the engine is alive.", registry=registry)
        self.step_age = Gauge(
            "tts_engine_last_step_age_seconds",
            "How long the engine's step in progress has taken so far.",
            registry=registry,
        )
        self.certificate_expiry = Gauge(
            "tts_tls_certificate_expiry_timestamp_seconds",
            "When the server's certificate expires, in seconds since 1970; 0 without TLS.",
            registry=registry,
        )
        self.event_loop_lag = Histogram(
            "tts_event_loop_lag_seconds",
            "How late a timer of the event loop was, four times a second.",
            buckets=_LAGS_S,
            registry=registry,
        )
        self.egress_buffer = Gauge(
            "tts_egress_buffer_bytes", "Bytes written to sockets and not yet taken.", registry=registry
        )
        self.first_audio = Histogram(
            "tts_time_to_first_audio_seconds",
            "From the first text of an utterance to its first packet.",
            buckets=_FIRST_AUDIO_S,
            registry=registry,
        )
        self.real_time_factor = Histogram(
            "tts_realtime_factor",
            "Time of generating over time of sound; below 1 is faster than real time.",
            buckets=_REAL_TIME_FACTORS,
            registry=registry,
        )
        self.audio_seconds = Histogram(
            "tts_audio_seconds", "Sound of an utterance.", buckets=_SECONDS, registry=registry
        )
        self.session_seconds = Histogram(
            "tts_session_seconds", "Length of a session.", buckets=_SECONDS, registry=registry
        )
        self.underrun_seconds = Histogram(
            "tts_playback_underrun_seconds",
            "Silence of a listener who had played all that was sent, of text that was known.",
            buckets=_FIRST_AUDIO_S,
            registry=registry,
        )
        self._owners = {OTHER_OWNER}
        ProcessCollector(registry=registry)
        self._build = Info("tts_build", "Version and model.", registry=registry)
        self._add_counters(registry)

    def _add_counters(self, registry: CollectorRegistry) -> None:
        self.text_chars = Counter("tts_text_chars", "Code points spoken.", registry=registry)
        self.requests = Counter("tts_requests", "Ended utterances.", ["outcome"], registry=registry)
        self.errors = Counter("tts_errors", "Errors sent to clients.", ["code"], registry=registry)
        self.connections_rejected = Counter(
            "tts_connections_rejected", "Refused connections.", ["reason"], registry=registry
        )
        self.underruns = Counter(
            "tts_underruns",
            "Times that a client's playback underran although the text was known.",
            registry=registry,
        )
        self.paced_audio_seconds = Counter(
            "tts_paced_audio_seconds",
            "Sound that was sent at the pace of its playback, of which underruns are counted.",
            registry=registry,
        )
        self.audio_continuity = Counter(
            "tts_audio_continuity",
            "Utterances that were sent so: continuous, or interrupted for more than 0.1 s.",
            ["playback"],
            registry=registry,
        )
        self.bytes_sent = Counter("tts_bytes_sent", "Bytes of messages and sound.", registry=registry)
        self.slow_clients_closed = Counter(
            "tts_slow_client_closed", "Connections cut because nothing was read.", registry=registry
        )

        self.usage_characters = Counter(
            "tts_usage_characters", "Code points spoken for the owner of a key.", ["owner"], registry=registry
        )
        self.usage_audio_seconds = Counter(
            "tts_usage_audio_seconds", "Sound sent to the owner of a key.", ["owner"], registry=registry
        )
        self.usage_requests = Counter(
            "tts_usage_requests",
            "Ended utterances of a key's owner.",
            ["owner", "outcome"],
            registry=registry,
        )
        # A series that appears with its first count would hide that count from `rate` and `increase`.
        for counter, values in (
            (self.requests, OUTCOMES),
            (self.audio_continuity, PLAYBACKS),
            (self.errors, sorted(_error_codes(StreamerError))),
        ):
            for value in values:
                counter.labels(value)

    def describe_build(self, *, version: str, model: str) -> None:
        self._build.info({"version": version, "model": model})

    def utterance_ended(
        self,
        outcome: str,
        exemplar: Exemplar | None = None,
        *,
        audio_ms: int,
        num_chars: int,
        owner: str = OTHER_OWNER,
    ) -> None:
        """Count an utterance that ended with this one of the `OUTCOMES`. `owner`: a name that the operator chose."""
        self.requests.labels(outcome).inc()
        self.audio_seconds.observe(audio_ms / 1000, exemplar)
        self.text_chars.inc(num_chars)
        if len(self._owners) < MAX_OWNERS:
            self._owners.add(owner)
        owner = owner if owner in self._owners else OTHER_OWNER
        self.usage_requests.labels(owner, outcome).inc()
        self.usage_audio_seconds.labels(owner).inc(audio_ms / 1000)
        self.usage_characters.labels(owner).inc(num_chars)

    def playback_ended(self, underrun_s: float) -> None:
        """Count an utterance that was sent at the pace of its playback, and underran for so long in all."""
        is_continuous = underrun_s <= CONTINUOUS_UNDERRUN_S
        self.audio_continuity.labels(PLAYBACKS[0] if is_continuous else PLAYBACKS[1]).inc()

    def count_underrun(self, seconds: float, exemplar: Exemplar | None = None) -> None:
        self.underruns.inc()
        self.underrun_seconds.observe(seconds, exemplar)

    def read_health(self, health: Callable[[], Health]) -> None:
        """Have the figures of the engine, or of the workers, read whenever the others are asked for."""
        self.registry.register(HealthCollector(health))

    def read_state(self, state: Callable[[], str], states: Sequence[str]) -> None:
        """Have the server's state, one of `states`, read whenever the figures are asked for."""
        self.registry.register(StateCollector(state, states))

    def read_authentication(self, failures: Mapping[str, int], reasons: Sequence[str]) -> None:
        """Have the failures, counted by one of the `reasons`, read whenever the figures are asked for."""
        self.registry.register(AuthenticationCollector(failures, reasons))

    def read_log(self, num_dropped: Callable[[], int]) -> None:
        """Have the number of dropped log records read whenever the others are asked for."""
        self.registry.register(LogCollector(num_dropped))

    def render(self) -> bytes:
        """All figures in Prometheus' text format, version 0.0.4."""
        return plain_text(self.registry)

    def negotiated(self, accept: str, *, shows_workers: bool = True) -> tuple[bytes, str]:
        """Return all figures in the format that an `Accept` header prefers, and its content type.

        `shows_workers`: whether those of each worker are among them, which have its address.
        """
        return negotiated(self.registry if shows_workers else WithoutWorkers(self.registry), accept)


def _error_codes(kind: type[StreamerError]) -> set[str]:
    """Return the code of a kind of error, and those of the kinds below it."""
    return {kind.code}.union(*(_error_codes(below) for below in kind.__subclasses__()))


def exemplar(trace_id: str) -> Exemplar:
    """Return the labels of an exemplar: what leads from a figure to the trace, or to the lines of the log."""
    return {"trace_id": trace_id}
