"""What records nothing is nothing, and costs nothing."""

from __future__ import annotations

import pytest

from streamer.telemetry.traces import NO_SPAN, NO_TRACER


def test_what_records_nothing_takes_everything() -> None:
    """The span of no trace is its own child, and has no name to hand on."""
    with NO_SPAN.child("sentence", 1.0, index=3) as span:
        span.set(outcome="ok")
        span.event("underrun", seconds=1.0)
        span.fail("code", "message")
        span.end(2.0)
    assert span is NO_SPAN and not (span.is_recorded or span.trace_id or span.traceparent)
    assert NO_TRACER.continued("00-1-2-01") is NO_SPAN
    with pytest.raises(ValueError, match="passes"), NO_SPAN:
        raise ValueError("passes")
