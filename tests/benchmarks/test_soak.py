"""A short soak: clients of all protocols come, break off and go, and nothing is left of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from unittest import mock

import pytest

from benchmarks import idle_connections, soak, soak_clients
from benchmarks.protocol_clients import CLIENTS, OTHERS, UNTOLD, VOICE, RefusedError
from benchmarks.soak_clients import Ports, listen_politely, misbehave, polite_clients, raw_requests
from benchmarks.soak_server import Holdings
from benchmarks.soak_tally import HEARD, LEFT, NO_SOUND, TIMED_OUT, Tally, broken_off, failed, refused
from streamer.errors import OverloadedError
from streamer.synthesis import PcmChunk, SentenceRequest
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import configured, eventually, running

HELD = Holdings(1, 10, 3, 3, 1000, 0, 0, 0, 0, {"ok": 10}, {}, 1.0)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_everything_is_back_where_it_was() -> None:
    """Tasks, descriptors and slots are as before, the log has no error, and what was heard is counted."""
    result = asyncio.run(soak.soak("metronome", minutes=0.2, num_clients=8, num_wild=5, sample_s=4))
    assert result["complaints"] == []
    assert sum(counts[HEARD] for counts in result["outcomes"].values() if HEARD in counts) > 10
    assert sum(sum(counts.values()) for counts in result["outcomes"].values()) == result["asked"]
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
        (
            {"outcomes": {"ok": 12, "error": 9}, "errors": {"overloaded": 9}},
            ["5 utterances were asked for, and 11 counted"],
        ),
        ({"outcomes": {"ok": 12, "error": 2}}, ["2 utterances failed, and 0 errors have a code"]),
        ({"outcomes": {"ok": 12, "error": 2}, "errors": {"overloaded": 2}}, []),
        ({"errors": {"internal_error": 1, "overloaded": 3}}, ["clients were told 1 x internal_error"]),
    ],
)
def test_what_is_not_as_before_is_told(changes: dict[str, object], said: list[str]) -> None:
    tally = Tally(num_asked=5)
    for outcome in (HEARD, HEARD, LEFT, LEFT, LEFT):
        tally.note("native", outcome)
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


class Full(FakeSynthesizer):
    """Has no room for anybody."""

    async def synthesize(self, request: SentenceRequest) -> AsyncGenerator[PcmChunk, None]:  # noqa: ARG002
        raise OverloadedError("the engine is full", retry_after_s=2.0)
        yield  # what makes it a generator


@pytest.mark.parametrize("protocol", [*CLIENTS, *OTHERS])
async def test_a_refusal_is_told_by_its_reason(protocol: str) -> None:
    """Each protocol's client knows that the server is full, except that a telephone's stream has no message for it."""
    config = configured(server={"wyoming_port": 0})
    async with running(config, Full(voices=(VOICE,))) as server, asyncio.timeout(20):
        ports = Ports(server.server.port, server.server.tcp_ports[0])
        client, encoding = polite_clients()[protocol][0]
        tally = Tally()
        async with client(ports.of(protocol), encoding) as speak:
            with contextlib.suppress(RefusedError):
                await soak_clients._listen(speak, protocol, tally, random.Random(1))
    ((outcome, count),) = tally.outcomes[protocol].items()
    told = {"cartesia": "429 Concurrency limited", "telephony": UNTOLD}.get(protocol, "overloaded")
    has_retry = protocol in ("native", "native, HTTP", "openai")
    assert (outcome, count) == (refused(RefusedError(told, is_retry_told=has_retry)), 1)
    assert tally.complaints() == []


async def test_every_utterance_has_one_outcome() -> None:
    """Of clients that listen, that leave, and that misbehave, while the server speaks and while it is gone."""
    config = configured(server={"wyoming_port": 0}, max_connections_per_address=1000)
    tally = Tally()
    async with running(config, FakeSynthesizer(voices=(VOICE,), speed=1000.0)) as server:
        ports = Ports(server.server.port, server.server.tcp_ports[0])
        until_s = time.monotonic() + 0.3
        with mock.patch.object(soak_clients, "SILENT_S", 0.1):
            async with asyncio.TaskGroup() as tasks:
                for number in range(4):
                    tasks.create_task(listen_politely(ports, tally, random.Random(number), until_s))
                    tasks.create_task(misbehave(ports, tally, random.Random(-number), until_s))
    assert tally.num_asked == tally.totals().total() > 8 and tally.complaints() == []
    until_s = time.monotonic() + 0.01
    await listen_politely(ports, tally, random.Random(1), until_s)
    await misbehave(ports, tally, random.Random(1), time.monotonic() + 0.01)
    assert tally.num_unconnected >= 2
    assert all("while nothing was asked for" in complaint for complaint in tally.complaints())


@pytest.mark.parametrize(
    ("outcome", "is_a_complaint"),
    [
        (HEARD, False),
        (LEFT, False),
        (TIMED_OUT, True),
        (NO_SOUND, True),
        (refused(RefusedError("overloaded", is_retry_told=True)), False),
        (refused(RefusedError("rate_limited")), False),
        (refused(RefusedError("internal_error", is_retry_told=True)), True),
        (refused(RefusedError("engine_failed")), True),
        (failed(ConnectionResetError("by peer\nagain")), True),
        (broken_off("fall silent", is_cut=True), False),
        (broken_off("reset in the middle", is_cut=False), False),
    ],
)
def test_only_what_should_not_be_is_complained_of(outcome: str, is_a_complaint: bool) -> None:
    tally = Tally(num_asked=2)
    tally.note("native", outcome)
    tally.note("native", outcome)
    assert tally.complaints() == ([f"2 x native: {outcome}"] if is_a_complaint else [])
    assert "\n" not in outcome


@pytest.mark.parametrize(("num_asked", "said"), [(0, 1), (1, 0), (2, 1)])
def test_an_utterance_without_an_outcome_is_complained_of(num_asked: int, said: int) -> None:
    """And one with two."""
    tally = Tally(num_asked=num_asked)
    tally.note("native", HEARD)
    tally.note_unconnected("openai", OSError("refused"))
    assert len(tally.complaints()) == 1 + said
