"""The wall clock may be set at any moment, by an hour or by years: what is timed is not affected."""

from __future__ import annotations

import asyncio
import random
import re
import time
from pathlib import Path

import pytest

import streamer
from tests.fakes.synthesizer import FakeSynthesizer
from tests.faults.conversations import CONVERSATIONS, for_all
from tests.server.speaking import figure, running

STEPS_S = (3600.0, -7200.0, 86_400.0 * 365 * 40, -86_400.0 * 365 * 80, 0.5, -0.5)
ON_THE_WALL = {
    "server/tickets.py": "tickets expire in other processes, too",
    "server/keys.py": "keys expire on a day",
    "server/tls.py": "so does a certificate",
    "commands/keys.py": "a list says which keys have expired",
    "telemetry/open_telemetry.py": "the spans of several machines are put in order by it",
    "server/service.py": "a list says since when its models are served",
    "server/cartesia/voices.py": "a list says when its voices were made",
}
"""Where the wall clock is read, and why; nothing there measures how long something takes."""
_READS = re.compile(r"\btime\.time(_ns)?\b|\bdate(time)?\.(now|utcnow|today)\b|\bfrom time import\b")


async def test_a_clock_that_jumps_is_not_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does so at each look at it, while each protocol speaks as far ahead as its client may have sound."""
    chance, read = random.Random(1), time.time
    num_reads = 0

    def jumping() -> float:
        nonlocal num_reads
        num_reads += 1
        return max(0.0, read() + chance.choice(STEPS_S))

    config = for_all(speech={"lead_ms": 300}, ping_interval_s=0.05)
    async with running(config, FakeSynthesizer(speed=5.0)) as server, server.client() as idle:
        expected = await asyncio.gather(*(converse(server) for converse in CONVERSATIONS))
        monkeypatch.setattr(time, "time", jumping)
        sounds = await asyncio.gather(*(converse(server) for converse in CONVERSATIONS))
        assert await idle.pong() == []
        monkeypatch.undo()
        assert sounds == expected and num_reads > 0
        assert figure(server.server, "tts_session_seconds_sum") < 60  # type: ignore[operator]


def test_the_wall_clock_is_read_only_to_tell_the_time() -> None:
    """Intervals are measured by `time.monotonic` or the event loop's clock, which is the same."""
    package = Path(streamer.__file__).parent
    files = {path.relative_to(package).as_posix(): path.read_text() for path in package.rglob("*.py")}
    assert {name for name, text in files.items() if _READS.search(text)} == set(ON_THE_WALL)
