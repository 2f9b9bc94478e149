"""Records `traces` by OpenTelemetry; the only module that knows its packages, imported if traces are asked for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span as LibrarySpan
from opentelemetry.trace import (
    SpanKind,
    StatusCode,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)
from opentelemetry.trace import Tracer as LibraryTracer
from opentelemetry.trace.propagation import get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from streamer.telemetry.traces import NO_SPAN, Headers, Span, Tracer, Value

logger = logging.getLogger(__name__)
SERVICE_NAME: Final = "streamer"
"""The `service.name` of the traces, unless OTEL_SERVICE_NAME says otherwise."""
MAX_ATTRIBUTE_CHARS: Final = 256
"""Code points of an attribute beyond which it is cut: some quote what a client names, such as a path."""
MAX_FOLLOWED_PER_S: Final = 20
"""How many traces that clients have recorded are continued each second; of those beyond, the ratio decides."""
SAY_EVERY_S: Final = 60.0
"""How often the log may say that spans cannot be exported."""
_PROPAGATOR: Final = TraceContextTextMapPropagator()
logging.getLogger("opentelemetry.trace").setLevel(logging.ERROR)  # its warnings quote the headers of clients
_LIBRARY_LOGGERS: Final = ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal")
"""What the library logs of exports: attempts that failed, and spans that were dropped because too many wait."""
_SAMPLED: Final = 0x01


def create_processor(endpoint: str) -> SpanProcessor:
    """Return what sends spans to an OTLP/HTTP address, in batches and from a thread of its own.

    At most 2,048 spans wait; further ones are dropped. The library reads further settings, such as headers and
    certificates, from the variables `OTEL_EXPORTER_OTLP_…` and `OTEL_BSP_…`.
    """
    where = urlsplit(endpoint).netloc.rpartition("@")[2]  # without a password
    return BatchSpanProcessor(ReportingExporter(OTLPSpanExporter(endpoint), where))


class ReportingExporter(SpanExporter):
    """Exports as another one does, and logs when that begins to fail and when it works again, once a minute at most.

    The library logs each attempt, some with a traceback, for as long as the collector is gone. Its lines are kept from
    the log, and the last one is the reason that ours gives.
    """

    def __init__(
        self, exporter: SpanExporter, where: str, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """`where`: what the log calls the collector; `now_s` returns the time of a monotonic clock in s."""
        self._exporter = exporter
        self._where = where
        self._now_s = now_s
        self._num_lost = 0  # since the log has said that it works
        self._is_failing = False  # as the log has it
        self._said_s = -SAY_EVERY_S
        self._reasons = _LastLine()
        for name in _LIBRARY_LOGGERS:
            library = logging.getLogger(name)
            library.handlers, library.propagate = [self._reasons], False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export a batch. Raises nothing: the library would log a traceback."""
        self._reasons.line = ""
        try:
            result = self._exporter.export(spans)
        except Exception as error:
            self._reasons.line, result = f"{type(error).__name__}: {error}", SpanExportResult.FAILURE
        if result is not SpanExportResult.SUCCESS:
            self._num_lost += len(spans)
            if not self._is_failing and self._now_s() >= self._said_s + SAY_EVERY_S:
                self._is_failing, self._said_s = True, self._now_s()
                told = {"collector": self._where, "reason": self._reasons.line[:MAX_ATTRIBUTE_CHARS]}
                logger.warning(
                    "traces cannot be exported: they are lost until the collector takes them", extra=told
                )
        elif self._is_failing:
            logger.info(
                "traces are exported again", extra={"collector": self._where, "spans_lost": self._num_lost}
            )
            self._num_lost, self._is_failing = 0, False
        return result

    def shutdown(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return whether everything has been exported."""
        return self._exporter.force_flush(timeout_millis)


class _LastLine(logging.Handler):
    """Keeps the last line that was logged, and writes none."""

    def __init__(self) -> None:
        super().__init__()
        self.line = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.line = record.getMessage()


class OpenTelemetryTracer(Tracer):
    """Begins traces that are recorded.

    `ratio`: the part of the traces that are recorded, of those that begin here; if a client's trace continues here,
    its own flag decides, up to `MAX_FOLLOWED_PER_S`. A client needs no key for that.
    """

    def __init__(
        self,
        processor: SpanProcessor,
        *,
        version: str = "",
        ratio: float = 1.0,
        step_ratio: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.step_ratio = step_ratio
        self._clock = clock
        self._followed_since_s = clock()
        self._num_followed = 0  # since then
        ours = Resource({"service.name": SERVICE_NAME, "service.version": version})
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)),
            resource=Resource.create().merge(ours).merge(OTELResourceDetector().detect()),
            span_limits=SpanLimits(max_attribute_length=MAX_ATTRIBUTE_CHARS),
            shutdown_on_exit=False,  # it would wait for half a minute if nothing answers
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer(SERVICE_NAME, version)

    def begin(self, name: str, headers: Headers, **attributes: Value) -> Span:
        """Begin the span of a request; a `traceparent` that is not valid, or one of several, does not count.

        Neither does one that asks for a recording when too many have.
        """
        parents = headers.get_all("traceparent")
        carrier: dict[str, str | list[str]] = {"tracestate": headers.get_all("tracestate")}
        if len(parents) == 1:
            carrier["traceparent"] = parents[0]
        context = _PROPAGATOR.extract(carrier, Context())
        if get_current_span(context).get_span_context().trace_flags & _SAMPLED and not self._may_follow():
            context = Context()
        span = self._tracer.start_span(name, context, SpanKind.SERVER, _named(attributes))
        return _RecordedSpan(self._tracer, span) if span.is_recording() else NO_SPAN

    def continued(self, traceparent: str) -> Span:
        """Return a span of another thread or process, to begin others within it."""
        found = get_current_span(_PROPAGATOR.extract({"traceparent": traceparent}, Context()))
        is_sampled = found.get_span_context().trace_flags & _SAMPLED
        return _RecordedSpan(self._tracer, found) if is_sampled else NO_SPAN

    def _may_follow(self) -> bool:
        """Whether one more client may have its trace recorded in this second."""
        now_s = self._clock()
        if now_s - self._followed_since_s >= 1:
            self._followed_since_s, self._num_followed = now_s, 0
        self._num_followed += 1
        return self._num_followed <= MAX_FOLLOWED_PER_S

    def close(self, timeout_s: float) -> None:
        """Send what is left, for so long at most: the library itself waits half a minute for what does not answer."""
        closing = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(timeout_s)


class _RecordedSpan(Span):
    """A span of the library, which warns of what is noted after its end; that is left out."""

    def __init__(self, tracer: LibraryTracer, span: LibrarySpan) -> None:
        context = span.get_span_context()
        self.trace_id = format_trace_id(context.trace_id)
        span_id = format_span_id(context.span_id)
        self.traceparent = f"00-{self.trace_id}-{span_id}-{context.trace_flags:02x}"
        self._tracer = tracer
        self._span = span

    def child(self, name: str, began_s: float | None = None, **attributes: Value) -> Span:
        context = set_span_in_context(self._span, Context())
        start_time = None if began_s is None else _nanoseconds(began_s)
        span = self._tracer.start_span(name, context, attributes=_named(attributes), start_time=start_time)
        return _RecordedSpan(self._tracer, span)

    def set(self, **attributes: Value) -> None:
        if self._span.is_recording():
            self._span.set_attributes(_named(attributes))

    def event(self, name: str, **attributes: Value) -> None:
        if self._span.is_recording():
            self._span.add_event(name, _named(attributes))

    def fail(self, kind: str, message: str = "") -> None:
        if self._span.is_recording():
            self._span.set_status(StatusCode.ERROR, message or kind)
            self._span.set_attribute("error.type", kind)

    def end(self, ended_s: float | None = None) -> None:
        if self._span.is_recording():
            self._span.end(None if ended_s is None else _nanoseconds(ended_s))


def _named(attributes: dict[str, Value]) -> dict[str, Value]:
    """Return the attributes under the names that they have in a trace."""
    return {name if "." in name else f"streamer.{name}": value for name, value in attributes.items()}


def _nanoseconds(at_s: float) -> int:
    """Return a time of `time.monotonic` in the library's unit, nanoseconds since 1970."""
    return time.time_ns() - round((time.monotonic() - at_s) * 1e9)
