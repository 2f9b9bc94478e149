"""The formats of figures: which one a request gets, by its `Accept`."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from streamer.telemetry.exposition import CONTENT_TYPE, negotiated, prefers_openmetrics

OPENMETRICS = "application/openmetrics-text"


@pytest.mark.parametrize(
    ("accept", "is_preferred"),
    [
        ("", False),
        ("*/*", False),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", False),
        ("text/plain; version=0.0.4", False),
        (OPENMETRICS, True),
        (f"{OPENMETRICS}; version=1.0.0; charset=utf-8", True),
        ("Application/OpenMetrics-Text;VERSION=1.0.0", True),
        # Prometheus 2 and 3
        (
            f"{OPENMETRICS};version=1.0.0,{OPENMETRICS};version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5",
            True,
        ),
        (
            f"{OPENMETRICS};version=1.0.0;escaping=allow-utf-8;q=0.6,{OPENMETRICS};version=0.0.1;q=0.5,"
            "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            True,
        ),
        (f"text/plain;q=0.9, {OPENMETRICS};q=0.1", False),
        (f"{OPENMETRICS};q=0, text/plain", False),
        (f"{OPENMETRICS};q=0", False),
        (f"{OPENMETRICS};q=much", False),
        (f"{OPENMETRICS};q=nan", False),
        (f"{OPENMETRICS};version=x", False),
        (f"{OPENMETRICS};version=2.0.0", False),
        (";;;=,,", False),
    ],
)
def test_openmetrics_is_given_to_those_who_ask_for_it(accept: str, is_preferred: bool) -> None:
    """All others, and what is no such header, get Prometheus' text as ever."""
    assert prefers_openmetrics(accept) is is_preferred
    body, content_type = negotiated(CollectorRegistry(), accept)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0") is is_preferred
    assert body.endswith(b"# EOF\n") is is_preferred and (content_type == CONTENT_TYPE) is not is_preferred
