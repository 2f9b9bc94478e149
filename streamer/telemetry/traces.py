"""Traces: what a request waited for, as a tree of spans; the server and the back ends record them through this module.

It knows no library for tracing, and what it does by itself is nothing: `NO_SPAN` takes everything and keeps none of it.
`open_telemetry` records, and is only imported if the operator asks for traces.
"""

# ruff: noqa: ARG002  (what records nothing needs none of its arguments)

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Protocol

from streamer.errors import StreamerError

Value = str | int | float | bool
"""What an attribute of a span may be."""


class Headers(Protocol):
    """The header fields of a request, of which one name may have several."""

    def get_all(self, name: str, /) -> list[str]: ...


class Span:
    """A part of the work, with a beginning and an end; this one, and all that begins in it, is recorded nowhere.

    Attributes and events never hold a client's text. Names of attributes without a dot are ours. Times are those of
    `time.monotonic`; None is now. As a context manager it ends with its block, and tells how the block was left.
    """

    trace_id = ""
    """The trace's id, 32 hexadecimal digits; empty if nothing is recorded."""
    traceparent = ""
    """By what another thread or process continues the trace (W3C Trace Context); empty if nothing is recorded."""

    @property
    def is_recorded(self) -> bool:
        """Whether anything is kept of it."""
        return self.trace_id != ""

    def child(self, name: str, began_s: float | None = None, **attributes: Value) -> Span:
        """Begin a span within this one."""
        return self

    def set(self, **attributes: Value) -> None:
        """Set attributes."""

    def event(self, name: str, **attributes: Value) -> None:
        """Note what happens now."""

    def fail(self, kind: str, message: str = "") -> None:
        """Mark the span as failed; `kind` is a code or a type."""

    def end(self, ended_s: float | None = None) -> None:
        """End the span. A second call does nothing, and nothing is noted of the span after it."""

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if isinstance(error, StreamerError):
            self.fail(error.code, error.message)
        elif isinstance(error, asyncio.CancelledError | GeneratorExit | ConnectionError):
            self.set(cancelled=True)
        elif kind is not None:  # its message may quote a text
            self.fail(kind.__name__)
        self.end()


NO_SPAN: Final = Span()


class Tracer:
    """Begins traces; this one begins none."""

    step_ratio = 0.0
    """The part of the engine's steps that have a span of their own."""

    def begin(self, name: str, headers: Headers, **attributes: Value) -> Span:
        """Begin the span of a request, in the trace that its `traceparent` names, or in one of its own."""
        return NO_SPAN

    def continued(self, traceparent: str) -> Span:
        """Return a span of another thread or process, to begin others within it."""
        return NO_SPAN

    def close(self, timeout_s: float) -> None:
        """Send what is left, for so long at most."""


NO_TRACER: Final = Tracer()
