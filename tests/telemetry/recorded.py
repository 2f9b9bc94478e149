"""A tracer whose spans stay in memory, and what tests ask about them."""

from __future__ import annotations

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from streamer.telemetry.open_telemetry import OpenTelemetryTracer


class Recorded:
    """Spans that have ended, in the order of their ends."""

    def __init__(self, *, ratio: float = 1.0, step_ratio: float = 0.0) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracer = OpenTelemetryTracer(
            SimpleSpanProcessor(self._exporter), version="1", ratio=ratio, step_ratio=step_ratio
        )

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def tree(self) -> list[str]:
        """The names of the spans with those they are in, from the outermost on, sorted."""
        by_id = {span.context.span_id: span for span in self.spans if span.context}
        paths = []
        for span in self.spans:
            path, above = [span.name], span.parent
            while above is not None and (found := by_id.get(above.span_id)) is not None:
                path.append(found.name)
                above = found.parent
            paths.append(" > ".join(reversed(path)))
        return sorted(paths)

    def everything(self) -> str:
        """All that would be sent."""
        return "\n".join(span.to_json() for span in self.spans)
