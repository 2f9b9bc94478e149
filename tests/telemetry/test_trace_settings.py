"""Traces are off unless they are asked for, and then everything about them is checked at the start."""

from __future__ import annotations

import subprocess
import sys
from importlib.machinery import ModuleSpec

import pytest

from streamer.config import TracesConfig
from streamer.errors import ConfigError
from streamer.telemetry import trace_settings
from streamer.telemetry.open_telemetry import OpenTelemetryTracer
from streamer.telemetry.trace_settings import create_tracer

OFF = """
import sys
import streamer.server.app
from streamer.config import TracesConfig
from streamer.telemetry.trace_settings import create_tracer
from streamer.telemetry.traces import NO_TRACER
assert create_tracer(TracesConfig(), "1") is NO_TRACER
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""


def test_without_an_address_nothing_is_imported() -> None:
    """A server that is to make no traces does not even load the packages that are installed."""
    done = subprocess.run([sys.executable, "-c", OFF], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "collector",
        "collector:4318",
        "localhost:4318/v1/traces",
        "ftp://a/",
        "http://",
        "http://a:b/",
        "http://[::1",
    ],
)
def test_an_address_that_is_none_is_refused(endpoint: str) -> None:
    """The message names it and shows one."""
    with pytest.raises(
        ConfigError, match=r"trace_endpoint .* is no address: write http://HOST:4318/v1/traces"
    ):
        create_tracer(TracesConfig(trace_endpoint=endpoint), "1")


@pytest.mark.parametrize(
    "missing", ["opentelemetry", "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"]
)
def test_a_package_that_is_missing_is_named_with_the_remedy(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever it is, the same extra brings it."""

    def find_spec(name: str) -> ModuleSpec | None:
        if name != missing and name.startswith(missing):
            raise ModuleNotFoundError(missing)
        return None if name == missing else ModuleSpec(name, None)

    monkeypatch.setattr(trace_settings.importlib.util, "find_spec", find_spec)
    with pytest.raises(ConfigError, match=r"pip install 'bark-streamer\[otel\]'"):
        create_tracer(TracesConfig(trace_endpoint="http://localhost:4318/v1/traces"), "1")


def test_an_address_makes_a_tracer() -> None:
    """It has the ratios of the settings, and ends although nothing answers there."""
    config = TracesConfig(trace_endpoint="http://127.0.0.1:9/v1/traces", trace_step_ratio=0.25)
    tracer = create_tracer(config, "1")
    assert isinstance(tracer, OpenTelemetryTracer) and tracer.step_ratio == 0.25
    tracer.close(5.0)
