"""The formats of the figures: Prometheus' older text, or OpenMetrics for those who accept it."""

from __future__ import annotations

from typing import Final

from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS_CONTENT_TYPE
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text"
"""The media type of OpenMetrics in a request's `Accept`."""
_OPENMETRICS_VERSIONS: Final = ("1.0.0", "0.0.1")


def plain_text(registry: Collector) -> bytes:
    """Return all figures in Prometheus' text format, version 0.0.4."""
    return generate_latest(registry)


def negotiated(registry: Collector, accept: str) -> tuple[bytes, str]:
    """Return all figures in the format that an `Accept` header prefers, OpenMetrics or the other, and its type."""
    if prefers_openmetrics(accept):
        return bytes(generate_openmetrics(registry)), OPENMETRICS_CONTENT_TYPE  # type: ignore[no-untyped-call]
    return plain_text(registry), CONTENT_TYPE


def prefers_openmetrics(accept: str) -> bool:
    """Whether an `Accept` header (RFC 9110, 12.5.1) names OpenMetrics, and ranks it no lower than plain text.

    The library's own choice fails for versions that are no numbers, and does not look at ranks.
    """
    ranks = {OPENMETRICS: 0.0, "text/plain": 0.0}
    for media_range in accept.lower().split(","):
        name, *parameters = (part.strip() for part in media_range.split(";"))
        values = dict(parameter.partition("=")[::2] for parameter in parameters)
        if (
            name == OPENMETRICS
            and values.get("version", _OPENMETRICS_VERSIONS[0]) not in _OPENMETRICS_VERSIONS
        ):
            continue
        if name in ranks:
            ranks[name] = max(ranks[name], _rank(values.get("q", "1")))
    return 0 < ranks[OPENMETRICS] >= ranks["text/plain"]


def _rank(quality: str) -> float:
    try:
        return float(quality)
    except ValueError:
        return 0.0
