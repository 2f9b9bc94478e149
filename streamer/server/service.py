"""What the sessions of a server share."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from streamer.config import Config
from streamer.server.admission import Admission, ApiKeys
from streamer.synthesis import Synthesizer
from streamer.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Service:
    """There is one per server; every session and every route is given it."""

    config: Config
    synthesizer: Synthesizer
    admission: Admission
    keys: ApiKeys
    metrics: Metrics


def package_version() -> str:
    """The version of the installed distribution."""
    try:
        return version("bark-streamer")
    except PackageNotFoundError:
        return "0"
