"""Spans as OpenTelemetry records them: whose trace they belong to, what they tell, and what they keep to themselves."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from typing import cast

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, format_span_id, format_trace_id
from websockets.datastructures import Headers

from streamer.errors import OverloadedError
from streamer.telemetry.open_telemetry import (
    MAX_ATTRIBUTE_CHARS,
    MAX_FOLLOWED_PER_S,
    OpenTelemetryTracer,
    ReportingExporter,
    create_processor,
)
from streamer.telemetry.traces import NO_SPAN
from tests.telemetry.recorded import Recorded

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def begun(recorded: Recorded, *fields: tuple[str, str]) -> tuple[str, str | None]:
    """Begin and end a span with these header fields; returns its trace and its parent."""
    recorded.tracer.begin("request", Headers(fields)).end()
    span = recorded.spans[-1]
    assert span.context is not None
    return format_trace_id(span.context.trace_id), span.parent and format_span_id(span.parent.span_id)


@pytest.mark.parametrize("flags", ["01", "03", "ff"])
def test_a_request_continues_the_trace_of_its_client(flags: str) -> None:
    """The trace and the parent are those of the header `traceparent`, and `tracestate` comes along."""
    recorded = Recorded(ratio=0.0)
    fields = ("Traceparent", f"00-{TRACE}-{PARENT}-{flags}"), ("tracestate", "a=1"), ("tracestate", "b=2")
    assert begun(recorded, *fields) == (TRACE, PARENT)
    context = recorded.spans[0].context
    assert context is not None and context.trace_state.to_header() == "a=1,b=2"


@pytest.mark.parametrize(
    "values",
    [
        [],
        [""],
        ["nonsense"],
        [f"00-{TRACE}-{PARENT}"],
        [f"00-{TRACE.upper()}-{PARENT}-01"],
        [f"ff-{TRACE}-{PARENT}-01"],
        [f"00-{'0' * 32}-{PARENT}-01"],
        [f"00-{TRACE}-{'0' * 16}-01"],
        [f"00-{TRACE}-{PARENT}-01-more"],
        [f"00-{TRACE}-{PARENT}-01{'0' * 9000}"],
        [f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-01"],
        ["\u00e9" * 55],
    ],
)
def test_what_is_no_traceparent_begins_a_trace(values: list[str]) -> None:
    """A header that is broken, or that comes twice, is as none (W3C Trace Context, 3.2.2)."""
    trace, parent = begun(Recorded(), *(("traceparent", value) for value in values))
    assert trace not in (TRACE, "0" * 32) and parent is None


@pytest.mark.parametrize("state", ["", "=", "a" * 9000, "a=1," * 40, "\u00e9=\u00e9"])
def test_a_broken_tracestate_harms_nothing(state: str) -> None:
    """The parent counts all the same."""
    fields = ("traceparent", f"00-{TRACE}-{PARENT}-01"), ("tracestate", state)
    assert begun(Recorded(), *fields) == (TRACE, PARENT)


def test_what_is_not_sampled_is_not_recorded() -> None:
    """A client's decision against it, and the operator's ratio, hold for all that begins within the span."""
    recorded = Recorded(ratio=1.0)
    unsampled = recorded.tracer.begin("request", Headers(traceparent=f"00-{TRACE}-{PARENT}-00"))
    assert unsampled is NO_SPAN and unsampled.child("utterance") is NO_SPAN and not unsampled.traceparent
    assert recorded.tracer.continued(f"00-{TRACE}-{PARENT}-00") is NO_SPAN
    assert Recorded(ratio=0.0).tracer.begin("request", Headers()) is NO_SPAN
    assert recorded.spans == ()


def test_clients_cannot_have_everything_recorded() -> None:
    """Beyond some a second, the operator's ratio decides, and the trace is ours; each second counts by itself."""
    now_s = 0.0
    exporter = InMemorySpanExporter()
    tracer = OpenTelemetryTracer(SimpleSpanProcessor(exporter), ratio=0.0, clock=lambda: now_s)
    asking, other = (
        Headers(traceparent=f"00-{TRACE}-{PARENT}-01"),
        Headers(traceparent=f"00-{TRACE}-{PARENT}-00"),
    )
    for second in range(3):
        now_s = second * 1.5
        for _ in range(3 * MAX_FOLLOWED_PER_S):
            tracer.begin("request", other)
            tracer.begin("request", asking).end()
        assert len(exporter.get_finished_spans()) == (second + 1) * MAX_FOLLOWED_PER_S
    everything = OpenTelemetryTracer(SimpleSpanProcessor(exporter), ratio=1.0, clock=lambda: now_s)
    traces = [everything.begin("request", asking).trace_id for _ in range(MAX_FOLLOWED_PER_S + 5)]
    assert [trace == TRACE for trace in traces] == [True] * MAX_FOLLOWED_PER_S + [False] * 5


def test_a_trace_is_continued_by_what_a_span_hands_on() -> None:
    """Another thread or process begins spans within it by its `traceparent` alone."""
    recorded = Recorded()
    with recorded.tracer.begin("request", Headers()) as request:
        recorded.tracer.continued(request.traceparent).child("semantic").end()
    assert recorded.tree() == ["request", "request > semantic"]
    assert request.traceparent.split("-")[1] == request.trace_id


def test_a_span_tells_how_its_block_was_left() -> None:
    """Our errors with code and message, others by their type alone; a cancel or a lost connection is no failure."""
    recorded = Recorded()
    for error in (
        OverloadedError("try later"),
        ValueError("secret text"),
        asyncio.CancelledError(),
        GeneratorExit(),
        ConnectionResetError(),
    ):
        with pytest.raises(type(error)), recorded.tracer.begin("request", Headers()):
            raise error
    statuses = [(span.status.status_code, span.status.description) for span in recorded.spans]
    assert statuses == [
        (StatusCode.ERROR, "try later"),
        (StatusCode.ERROR, "ValueError"),
        *[(StatusCode.UNSET, None)] * 3,
    ]
    attributes = [dict(span.attributes or {}) for span in recorded.spans]
    assert attributes == [
        {"error.type": "overloaded"},
        {"error.type": "ValueError"},
        *[{"streamer.cancelled": True}] * 3,
    ]
    assert "secret" not in recorded.everything()


def test_a_span_may_be_told_of_afterwards() -> None:
    """Its times are those of the monotonic clock, in the nanoseconds of the day."""
    recorded, now_s = Recorded(), time.monotonic()
    span = recorded.tracer.begin("request", Headers(), **{"url.path": "/" + "x" * 9000, "number": 3})
    span.child("semantic", now_s - 2.0).end(now_s - 0.5)
    span.event("underrun", seconds=0.25)
    span.end()
    with span:
        span.event("late")
        span.set(late=True)
        span.fail("late")
    semantic, request = recorded.spans
    assert semantic.start_time and semantic.end_time
    assert round((semantic.end_time - semantic.start_time) / 1e9, 2) == 1.5
    assert abs(semantic.end_time / 1e9 - (time.time() - 0.5)) < 60
    assert request.attributes is not None and request.attributes["streamer.number"] == 3
    assert len(str(request.attributes["url.path"])) == MAX_ATTRIBUTE_CHARS
    assert "late" not in recorded.everything()
    assert [(event.name, dict(event.attributes or {})) for event in request.events] == [
        ("underrun", {"streamer.seconds": 0.25})
    ]


def test_traces_name_the_service_as_the_operator_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is called streamer unless the variables of OpenTelemetry say otherwise."""
    names = []
    for variable, value in (("A", "a"), ("OTEL_SERVICE_NAME", "voice"), ("OTEL_RESOURCE_ATTRIBUTES", "a=b")):
        with monkeypatch.context() as context:
            context.setenv(variable, value)
            recorded = Recorded()
        begun(recorded)
        attributes = recorded.spans[0].resource.attributes
        names.append((attributes["service.name"], attributes["service.version"], attributes.get("a")))
    assert names == [("streamer", "1", None), ("voice", "1", None), ("streamer", "1", "b")]


def test_a_collector_that_does_not_answer_holds_up_no_end() -> None:
    """Closing returns although what is left cannot be sent."""

    is_over = threading.Event()

    class Stuck(SpanProcessor):
        def shutdown(self) -> None:
            is_over.wait()

    OpenTelemetryTracer(Stuck()).close(0.01)  # would not return otherwise
    is_over.set()


class Collector(SpanExporter):
    """Takes spans, or does what a dead collector makes of exports."""

    def __init__(self) -> None:
        self.failure = ""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002
        match self.failure:
            case "result":
                logging.getLogger("opentelemetry.exporter.otlp.common.http").error(
                    "Failed to export: refused"
                )
                return SpanExportResult.FAILURE
            case "raise":
                raise OSError("refused")
            case _:
                return SpanExportResult.SUCCESS


@pytest.mark.parametrize("failure", ["result", "raise"])
def test_a_dead_collector_is_one_line_and_one_when_it_is_back(
    failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    """However many exports fail, and again each time; the reason is the library's, whose own lines are not logged."""
    collector, now_s = Collector(), 0.0
    exporter = ReportingExporter(collector, "collector:4318", lambda: now_s)
    spans = cast("Sequence[ReadableSpan]", [None] * 3)
    with caplog.at_level(logging.INFO):
        for times in (5, 2):
            assert exporter.export(spans) is SpanExportResult.SUCCESS
            collector.failure, now_s = failure, now_s + 60.0
            for _ in range(times):
                assert exporter.export(spans) is SpanExportResult.FAILURE
                logging.getLogger("opentelemetry.sdk._shared_internal").warning("Queue full, dropping Span.")
            collector.failure = ""
            for _ in range(2):
                assert exporter.export(spans) is SpanExportResult.SUCCESS
    told = [(record.levelname, getattr(record, "spans_lost", None)) for record in caplog.records]
    assert told == [("WARNING", None), ("INFO", 15), ("WARNING", None), ("INFO", 6)]
    assert "refused" in caplog.records[0].reason and caplog.records[0].collector == "collector:4318"


def test_a_collector_that_comes_and_goes_is_told_of_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """No span that was lost meanwhile is left out of the count."""
    collector, now_s = Collector(), 0.0
    exporter = ReportingExporter(collector, "collector:4318", lambda: now_s)
    span = cast("Sequence[ReadableSpan]", [None])
    with caplog.at_level(logging.INFO):
        for second in range(0, 180, 5):
            now_s = float(second)
            collector.failure = "" if second % 10 else "raise"
            exporter.export(span)
    told = [(record.levelname, getattr(record, "spans_lost", None)) for record in caplog.records]
    assert told == [("WARNING", None), ("INFO", 1)] + [("WARNING", None), ("INFO", 6)] * 2


def test_a_port_where_nobody_listens_is_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With the library's own exporter: nothing else is written, and no password of the address."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1")
    recorded = Recorded()
    begun(recorded)
    with caplog.at_level(logging.INFO):
        processor = create_processor("http://user:secret@127.0.0.1:1/v1/traces")
        for _ in range(2):
            processor.on_end(recorded.spans[0])
            processor.force_flush()
        processor.shutdown()
    ours = [record for record in caplog.records if "traces cannot be exported" in record.getMessage()]
    assert len(ours) == 1 and ours[0].reason and ours[0].collector == "127.0.0.1:1"
    assert [record for record in caplog.records if record.name.startswith("opentelemetry")] == []
    assert "secret" not in caplog.text
