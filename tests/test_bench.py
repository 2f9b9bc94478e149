"""The load test hears what a listener hears, judges by the stated rules, and says clearly why it cannot run."""

import asyncio
import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from fakes.synthesizer import FakeSynthesizer
from server.speaking import configured, running

from streamer.bench import load
from streamer.bench.client import BenchError, Recording
from streamer.bench.command import Plan, bench, run
from streamer.bench.load import Load, Session, arrival_times
from streamer.bench.sound import leading_silence_s, packets_of, play
from streamer.bench.summary import Summary, find_capacity, summarize

STARTED = {"encoding": "pcm_s16le", "sample_rate": 24_000, "pre_skip": 0, "frame_ms": 20}


def frame(index, samples):
    header = struct.pack("!BBHIi", 1, 0, 1, index, index * 960)
    return header + (np.asarray(samples) * 32767).astype("<i2").tobytes()


def recording(arrivals_s, *, due_s=0.0, num_silent=0, outcome="served"):
    """Packets of 20 ms that came at these moments, the first ones silent."""
    made = Recording(due_s, sent_s=due_s, ended_s=arrivals_s[-1], outcome=outcome, started=STARTED)
    made.frames = [
        (moment, frame(index, np.full(480, 0.0 if index < num_silent else 0.2)))
        for index, moment in enumerate(arrivals_s)
    ]
    return made


def test_a_player_without_a_buffer_stops_where_a_packet_is_late():
    """Gaps are counted from what the player has, and what comes after a stop plays later by it."""
    playout = play(packets_of(recording([1.0, 1.0, 1.0, 1.2, 1.2])))
    assert playout.first_s == 1.0
    assert playout.gaps == ((pytest.approx(0.06), pytest.approx(0.14)),)
    assert playout.plays_s(0.0) == 1.0
    assert playout.plays_s(0.08) == pytest.approx(1.22)


def test_audible_is_the_first_window_that_is_loud_enough():
    """Leading silence is told apart; sound that is never loud is never heard."""
    assert leading_silence_s(packets_of(recording([0.0] * 5, num_silent=3)), STARTED) == pytest.approx(0.06)
    assert leading_silence_s(packets_of(recording([0.0] * 5, num_silent=5)), STARTED) is None


def test_arrivals_are_poisson_and_repeatable():
    """The mean gap is the rate's, gaps vary as their mean, and a seed gives the same moments."""
    moments = arrival_times(5.0, seed=1)
    times = np.array([next(moments) for _ in range(4000)])
    gaps = np.diff(times)
    assert gaps.mean() == pytest.approx(0.2, rel=0.06)
    assert gaps.std() == pytest.approx(0.2, rel=0.08)
    again = arrival_times(5.0, seed=1)
    assert [next(again) for _ in range(5)] == times[:5].tolist()


def test_a_summary_counts_from_the_moment_a_text_was_due():
    """Waiting to be sent is waiting; refusals and failures are shares of all; silence counts as waiting, too."""
    session = Session(Load(1.0, seconds=1.0))
    session.recordings = [
        recording([0.1, 0.1, 0.12], due_s=0.0, num_silent=1),
        recording([0.3, 0.5], due_s=0.0),
        recording([0.0], outcome="rejected"),
        recording([0.0], outcome="failed"),
    ]
    summary = summarize(session)
    assert summary.audible_p50_ms == pytest.approx((120 + 300) / 2)
    assert (summary.served_share, summary.refused_share, summary.failed_share) == (0.5, 0.25, 0.25)
    assert summary.underrun_share == 0.5
    assert not summary.is_good
    assert summarize(session, counts_silence=True).audible_p50_ms == pytest.approx((100 + 300) / 2)


GOOD = Summary(1, 100, 1, 0, 0, 50, 100, 200, 250, 10, 0.01, 90, 1, 2, 1, 0.1, False)


@pytest.mark.parametrize(
    "worse",
    [{"audible_p95_ms": 201}, {"underrun_share": 0.02}, {"refused_share": 0.02}, {"failed_share": 0.02}],
)
def test_each_rule_alone_can_fail_a_rate(worse):
    """200 ms for 95 of 100, gaps for 1 of 100, refusals for 1 of 100."""
    assert GOOD.is_good
    assert not replace(GOOD, **worse).is_good


@pytest.mark.parametrize(("true_hz", "found_hz"), [(5.0, 5.0), (0.2, 0.1875), (0.05, 0.0)])
async def test_the_search_doubles_and_then_bisects(true_hz, found_hz):
    """The highest good rate within an eighth of the first bad step, or 0 where none was."""

    async def measure(rate_hz):
        return replace(GOOD, rate_hz=rate_hz, audible_p95_ms=100 if rate_hz <= true_hz else 900)

    capacity_hz, made = await find_capacity(measure, 0.5, 1000)
    assert capacity_hz == pytest.approx(found_hz)
    assert [row.rate_hz for row in made][:1] == [0.5]


async def test_a_running_server_is_measured():
    """Over real sockets: everybody is served, and the figures are in the result."""
    async with running(configured(), FakeSynthesizer(speed=20.0)) as server:
        result = await run(Plan(server.address, rate_hz=6, seconds=1, warm_up_s=0.2))
    (row,) = result["rows"]
    assert row["served_share"] == 1
    assert row["num_utterances"] >= 1
    assert 0 < row["audible_p50_ms"] < 5000
    json.dumps(result)


async def test_a_server_that_never_answers_does_not_hold_the_test_up(monkeypatch):
    """When patience is over, what has not ended is unfinished, and counts as failed."""
    monkeypatch.setattr(load, "PATIENCE_S", 0.5)
    fake = FakeSynthesizer()
    fake.stall_on = "a"
    async with running(configured(), fake) as server, asyncio.timeout(15):
        result = await run(Plan(server.address, rate_hz=6, seconds=1, warm_up_s=0.2))
    assert result["rows"][0]["failed_share"] > 0


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (Plan("http://localhost:1/"), "give ws://host:port"),
        (Plan("ws://127.0.0.1:1/v1/stream"), "cannot be reached"),
        (Plan("ws://x/", rate_hz=float("nan")), "rate_hz nan is not from"),
        (Plan("ws://x/", seconds=1e9), "seconds 1e\\+09 is not from"),
        (Plan("ws://x/", encoding="mp3"), "'mp3' is none of opus, pcm_s16le"),
    ],
)
async def test_what_cannot_be_measured_is_said(plan, message):
    """One clear error that names the value."""
    with pytest.raises(BenchError, match=message):
        await run(plan)


def test_texts_and_output_are_looked_at_before_the_work(tmp_path):
    """An empty file of texts, and a folder that is not there."""
    (tmp_path / "texts").write_text("\n\n")
    with pytest.raises(BenchError, match="one text a line"):
        Plan("ws://x/", texts_file=tmp_path / "texts").texts()
    with pytest.raises(BenchError, match="no such directory"):
        bench(Plan("ws://x/"), tmp_path / "missing" / "out.json")
