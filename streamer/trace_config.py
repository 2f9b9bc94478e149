"""The options of traces, a section of `config`."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.options import option


@dataclass(frozen=True, slots=True)
class TracesConfig:
    """Which traces are recorded, and where they are sent."""

    trace_endpoint: str | None = option(
        None, "OTLP/HTTP address of a collector, http://HOST:4318/v1/traces; none: there are no traces"
    )
    trace_ratio: float = option(
        1.0,
        "part of the traces that are recorded, of those that do not continue a client's",
        minimum=0,
        maximum=1,
    )
    trace_step_ratio: float = option(
        0.0,
        "part of the engine's steps that have a span of their own; each stage of a sentence always has one",
        minimum=0,
        maximum=1,
    )
