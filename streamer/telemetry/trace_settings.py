"""Makes the tracer that the settings ask for, for `assembly`; without an address no library for tracing is imported."""

from __future__ import annotations

import importlib.util
from typing import Final
from urllib.parse import urlsplit

from streamer.errors import ConfigError
from streamer.telemetry.traces import NO_TRACER, Tracer
from streamer.trace_config import TracesConfig

_PACKAGES: Final = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


def create_tracer(config: TracesConfig, version: str) -> Tracer:
    """Return the tracer that the settings ask for. Raises `ConfigError` for an address that is none, or a package that
    is not installed."""
    check_traces(config)
    if config.trace_endpoint is None:
        return NO_TRACER
    from streamer.telemetry.open_telemetry import OpenTelemetryTracer, create_processor

    return OpenTelemetryTracer(
        create_processor(config.trace_endpoint),
        version=version,
        ratio=config.trace_ratio,
        step_ratio=config.trace_step_ratio,
    )


def check_traces(config: TracesConfig) -> None:
    """Raise `ConfigError` for an address that is none, or a package that is not installed."""
    endpoint = config.trace_endpoint
    if endpoint is None:
        return
    try:
        address = urlsplit(endpoint)
        is_address = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        message = f"trace_endpoint {endpoint!r} is no address: write http://HOST:4318/v1/traces"
        raise ConfigError(message, param="trace_endpoint")
    if any(not _is_installed(package) for package in _PACKAGES):
        message = "trace_endpoint needs OpenTelemetry: pip install 'bark-streamer[otel]'"
        raise ConfigError(message, param="trace_endpoint")


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of the package that it would be in
        return False
