"""The server's answers say what is spoken here, and leave out what there is not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from streamer.config import Config
from streamer.sampling import CoarseLimits
from streamer.server.native.messages import encode
from streamer.server.native.replies import greeting
from tests.fakes.synthesizer import FakeSynthesizer


@pytest.mark.parametrize("schedule", ["latency", "throughput", None])
def test_the_schedule_of_chunks_is_announced_if_there_is_one(schedule: str | None) -> None:
    """A seed's sound depends on it; a synthesizer without one adds nothing to the first message."""
    info = replace(FakeSynthesizer().info, chunk_schedule=schedule)
    session = json.loads(encode(greeting("a", info, Config())))
    assert session.get("chunk_schedule") == schedule
    assert ("chunk_schedule" in session) == (schedule is not None)


def test_the_ranges_of_coarse_windows_are_the_models_own() -> None:
    """A page can tell what it may ask for before it asks."""
    info = replace(FakeSynthesizer().info, coarse_limits=CoarseLimits(90, 60, 151))
    session = json.loads(encode(greeting("a", info, Config())))
    params = {"max_coarse_history": [60, 90], "sliding_window_len": [10, 91]}
    assert session["capabilities"]["params"] == params
