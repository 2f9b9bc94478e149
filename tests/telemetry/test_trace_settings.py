"""Traces are off unless they are asked for, and then everything about them is checked at the start."""

from __future__ import annotations

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.machinery import ModuleSpec
from typing import ClassVar

import pytest
from websockets.datastructures import Headers

from streamer.errors import ConfigError
from streamer.telemetry import trace_settings
from streamer.telemetry.trace_settings import create_tracer
from streamer.trace_config import TracesConfig

OFF = """
import sys
import streamer.server.app
from streamer.trace_config import TracesConfig
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


class Collector(BaseHTTPRequestHandler):
    """Takes what is sent to it."""

    received: ClassVar[list[tuple[str, str, bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.path, self.headers["Content-Type"], body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_spans_are_sent_to_the_address() -> None:
    """They arrive as OTLP over HTTP, at the latest when the server ends."""
    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        endpoint = f"http://127.0.0.1:{server.server_port}/v1/traces"
        tracer = create_tracer(TracesConfig(trace_endpoint=endpoint, trace_step_ratio=0.25), "1.2.3")
        tracer.begin("request", Headers()).end()
        tracer.close(10.0)
        server.shutdown()
        serving.join()
    ((path, content_type, body),) = Collector.received
    assert (path, content_type, tracer.step_ratio) == ("/v1/traces", "application/x-protobuf", 0.25)
    assert b"request" in body and b"streamer" in body and b"1.2.3" in body
