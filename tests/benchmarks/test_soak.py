"""A short soak: clients of all protocols come, break off and go, and nothing is left of them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from benchmarks import idle_connections, soak
from benchmarks.protocol_clients import CLIENTS, OTHERS, VOICE
from benchmarks.soak_clients import Ports, Tally, polite_clients, raw_requests
from benchmarks.soak_server import Holdings
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import configured, eventually, running

HELD = Holdings(1, 10, 3, 3, 1000, 0, 0, 0, 0, {"ok": 10}, 1.0)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_everything_is_back_where_it_was() -> None:
    """Tasks, descriptors and slots are as before, the log has no error, and what was heard is counted."""
    result = asyncio.run(soak.soak("metronome", minutes=0.2, num_clients=8, num_wild=5, sample_s=4))
    assert result["complaints"] == []
    assert result["counts"]["heard"] > 10
    assert len(result["rows"]) >= 2
    json.dumps(result)


@pytest.mark.parametrize("protocol", list(OTHERS))
async def test_the_other_protocols_clients_hear_sound(protocol: str) -> None:
    """Two texts over one connection."""
    config = configured(server={"wyoming_port": 0})
    async with running(config, FakeSynthesizer(voices=(VOICE,))) as server, asyncio.timeout(20):
        ports = Ports(server.server.port, server.server.tcp_ports[0])
        async with OTHERS[protocol](ports.of(protocol), "") as speak:
            for text in ("A sentence is said.", "Another one."):
                assert sum([len(piece) async for piece in speak(text)]) > 1000


def test_every_protocol_has_clients_that_behave_and_that_do_not() -> None:
    assert polite_clients().keys() == raw_requests("Hello.").keys() == {*CLIENTS, *OTHERS}


async def test_raw_requests_are_what_the_protocols_understand() -> None:
    """Sent whole and read, each of them has its utterance spoken to the end."""
    config = configured(server={"wyoming_port": 0})
    synthesizer = FakeSynthesizer(voices=(VOICE,))
    async with running(config, synthesizer) as server, asyncio.timeout(20):
        ports = Ports(server.server.port, server.server.tcp_ports[0])
        for before, (protocol, request) in enumerate(raw_requests("Hello there.").items()):
            _, writer = await asyncio.open_connection("127.0.0.1", ports.of(protocol))
            writer.write(request)
            await eventually(lambda: len(synthesizer.requests) == before + 1 and not synthesizer.num_open)  # noqa: B023
            writer.close()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"num_tasks": 4}, ["num_tasks: 3 before, 4 after"]),
        ({"num_descriptors": 11}, ["num_descriptors: 10 before, 11 after"]),
        ({"num_slots_used": 1}, ["num_slots_used: 0 before, 1 after"]),
        ({"num_errors": 2}, ["the log has 2 errors"]),
        ({"outcomes": {"ok": 11}}, ["2 utterances were heard whole, and 1 counted"]),
        ({"outcomes": {"ok": 12, "error": 9}}, ["5 utterances were asked for, and 11 counted"]),
    ],
)
def test_what_is_not_as_before_is_told(changes: dict[str, object], said: list[str]) -> None:
    tally = Tally(num_asked=5)
    tally.counts["heard"] = 2
    after = replace(HELD, **{"outcomes": {"ok": 12}, **changes})  # type: ignore[arg-type]
    assert soak.complaints(HELD, after, tally, []) == said


def test_memory_counts_from_the_tenth_minute() -> None:
    """Growth up to five hundredths of what it was then is nothing to tell."""
    rows = [{"minute": minute, "rss_mib": rss} for minute, rss in ((1, 50.0), (10, 100.0), (30, 104.0))]
    assert soak.growth(rows) == pytest.approx(0.04)
    assert soak.growth(rows[:2]) is None
    assert soak.complaints(HELD, HELD, Tally(), rows) == []
    rows[-1]["rss_mib"] = 106.0
    assert soak.complaints(HELD, HELD, Tally(), rows) == ["memory grew by 6.0% after the first 10 minutes"]


async def test_idle_connections_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are all let in, held, and cost something."""
    monkeypatch.setattr(idle_connections, "SETTLE_S", 0.2)
    async with idle_connections.bare({}) as (process_id, port):
        (row,) = await idle_connections.measure_idle(process_id, port, [200], 0.1)
    assert row["still_open"] == 200
    assert 5 < row["kib_each"] < 100
