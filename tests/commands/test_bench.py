"""The load test hears what a listener hears, judges by the stated rules, and says clearly why it cannot run."""

import asyncio
import json
import struct
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from websockets.asyncio.server import serve

from streamer.commands.bench import Plan, bench, run
from streamer.loadtest import load
from streamer.loadtest.client import PROTOCOL, BenchError, Recording
from streamer.loadtest.environment import commit, write_result
from streamer.loadtest.load import Load, Session, arrival_times
from streamer.loadtest.playout import leading_silence_s, packets_of, play
from streamer.loadtest.summary import Summary, Tally, find_capacity, summarize
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import configured, running

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


def test_stops_that_come_to_more_than_a_packet_are_an_underrun():
    """Short stops add up for who has no buffer; only jitter of one packet is let pass, and long gaps are told apart."""
    session = Session(Load(1.0, seconds=1.0))
    session.recordings = [
        recording([0.0, 0.02, 0.055]),  # 15 ms late
        recording([0.0, 0.035, 0.07]),  # 15 ms late twice
        recording([0.0, 0.02, 0.2]),
    ]
    summary = summarize(session)
    assert summary.underrun_share == pytest.approx(2 / 3)
    assert summary.gaps_over_100_ms_share == pytest.approx(1 / 3)


def test_what_nobody_can_hear_has_failed():
    """Silence throughout is a failure with a reason, unless silence counts; so is no sound at all, always."""
    session = Session(Load(1.0, seconds=1.0))
    empty = Recording(0.0, sent_s=0.0, ended_s=0.1, outcome="served", started=STARTED)
    session.recordings = [recording([0.0] * 5, num_silent=5), empty]
    summary = summarize(session)
    assert (summary.served_share, summary.failed_share) == (0, 1)
    assert summary.reasons == {"nothing audible": 1, "no sound": 1}
    assert summarize(session, counts_silence=True).reasons == {"no sound": 1}


def test_a_figure_that_is_not_there_is_null(tmp_path):
    """Where nobody was heard there are no times and no share of underruns, and JSON says so."""
    session = Session(Load(1.0, seconds=1.0))
    session.recordings = [recording([0.0], outcome="rejected")]
    summary = summarize(session)
    assert summary.audible_p95_ms is None and summary.underrun_share is None and not summary.is_good
    write_result(tmp_path / "row.json", summary.as_row())
    assert json.loads((tmp_path / "row.json").read_text())["longest_gap_ms"] is None
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_result(tmp_path / "row.json", {"figure": float("inf")})


def test_a_rate_is_measured_until_enough_utterances_have_arrived():
    """At least so many and at least so long, and nothing of the warm-up."""
    slow = Load(0.5, seconds=10.0, warm_up_s=5.0, num_utterances=100).measured()
    assert len(slow) == 100
    quick = Load(50.0, seconds=10.0, warm_up_s=5.0, num_utterances=100).measured()
    assert len(quick) == pytest.approx(500, rel=0.2)
    assert quick.start == pytest.approx(250, rel=0.2)


def test_a_step_is_hopeless_when_more_are_bad_than_may_be():
    """One underrun of a hundred is allowed and two are not; five late ones are, six are not."""
    underruns, lates = Tally(counts_silence=False), Tally(counts_silence=False)
    stopping, late = recording([0.0, 0.2]), recording([0.3, 0.3])
    assert [underruns.is_hopeless(stopping, 100) for _ in range(2)] == [False, True]
    assert [lates.is_hopeless(late, 100) for _ in range(6)] == [False] * 5 + [True]


def test_a_commit_is_named_dirty_unless_only_results_differ(tmp_path):
    """Recording one figure does not make the next one's commit dirty; changing the code does."""

    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    code, figure = tmp_path / "code.py", tmp_path / "benchmarks" / "results" / "figure.json"
    code.touch()
    figure.touch()
    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    clean = commit(tmp_path)
    figure.write_text("{}")
    assert clean and commit(tmp_path) == clean
    code.write_text("1")
    assert commit(tmp_path) == clean + "-dirty"
    assert commit(tmp_path / "benchmarks") is None


GOOD = Summary(
    rate_hz=1,
    num_utterances=100,
    served_share=1,
    refused_share=0,
    failed_share=0,
    reasons={},
    first_packet_p50_ms=50,
    audible_p50_ms=100,
    audible_p95_ms=200,
    audible_p99_ms=250,
    late_share=0.05,
    leading_silence_p50_ms=10,
    underrun_share=0.01,
    gaps_over_100_ms_share=0,
    longest_gap_ms=90,
    mean_in_flight=1,
    max_in_flight=2,
    client_lag_p99_ms=1,
    client_cpu_share=0.1,
    counts_silence=False,
    is_cut_short=False,
)


@pytest.mark.parametrize(
    "worse",
    [{"late_share": 0.06}, {"underrun_share": 0.02}, {"refused_share": 0.02}, {"failed_share": 0.02}],
)
def test_each_rule_alone_can_fail_a_rate(worse):
    """200 ms for 95 of 100, underruns for 1 of 100, refusals for 1 of 100."""
    assert GOOD.is_good
    assert not replace(GOOD, **worse).is_good


@pytest.mark.parametrize(("true_hz", "found_hz"), [(5.0, 5.0), (0.5, 0.5), (0.2, 0.1875), (0.05, 0.0)])
async def test_the_search_doubles_or_halves_and_then_bisects(true_hz, found_hz):
    """The highest good rate within an eighth of the lowest bad one, or 0 where none was after three halvings."""
    rates_hz = []

    async def measure(rate_hz):
        rates_hz.append(rate_hz)
        return replace(GOOD, rate_hz=rate_hz, late_share=0 if rate_hz <= true_hz else 1)

    assert await find_capacity(measure, 0.5, 1000) == pytest.approx(found_hz)
    assert rates_hz[0] == 0.5 and len(rates_hz) <= 8


async def test_a_search_gives_a_bad_rate_up_early_and_tells_each_step():
    """A rate at which everybody is refused does not last for all its utterances."""
    steps = []
    async with running(
        configured(max_starts_per_s=1, max_start_wait_s=0.0), FakeSynthesizer(speed=20.0)
    ) as server:
        plan = Plan(server.address, rate_hz=32, search=True, seconds=1, num_utterances=400, warm_up_s=0.2)
        async with asyncio.timeout(40):
            result = await run(plan, lambda result: steps.append(len(result["rows"])))
    assert steps == [1, 2, 3, 4]
    assert all(row["is_cut_short"] and row["num_utterances"] < 100 for row in result["rows"])
    assert result["capacity_hz"] == 0 and result["is_complete"]


async def test_a_running_server_is_measured():
    """Over real sockets: everybody is served, and the figures are in the result."""
    async with running(configured(), FakeSynthesizer(speed=20.0)) as server:
        result = await run(Plan(server.address, rate_hz=6, seconds=1, num_utterances=2, warm_up_s=0.2))
    (row,) = result["rows"]
    assert row["served_share"] == 1
    assert row["num_utterances"] >= 1
    assert 0 < row["audible_p50_ms"] < 5000
    assert {"cpu", "cores", "version", "commit"} <= result.keys()
    json.dumps(result, allow_nan=False)


async def test_a_server_that_never_answers_does_not_hold_the_test_up(monkeypatch):
    """When patience is over, what has not ended is unfinished, and counts as failed."""
    monkeypatch.setattr(load, "PATIENCE_S", 0.5)
    fake = FakeSynthesizer()
    fake.stall_on = "a"
    async with running(configured(), fake) as server, asyncio.timeout(15):
        result = await run(Plan(server.address, rate_hz=6, seconds=1, num_utterances=2, warm_up_s=0.2))
    assert result["rows"][0]["failed_share"] > 0


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (Plan("http://localhost:1/"), "give ws://host:port"),
        (Plan("ws://127.0.0.1:1/v1/stream"), "cannot be reached"),
        (Plan("ws://[::1/v1/stream"), "give ws://host:port"),
        (Plan("ws://localhost:99999/v1/stream"), "give ws://host:port"),
        (Plan("ws://localhost:abc/v1/stream"), "give ws://host:port"),
        (Plan("ws://localhost:1/v1/stream?framing=bare"), "leave out `framing`"),
        (Plan("ws://x/", seed=-1), "seed -1 is not from"),
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
    for output in (tmp_path / "missing" / "out.json", tmp_path):
        with pytest.raises(BenchError, match="no file can be written"):
            bench(Plan("ws://x/"), output)
    (tmp_path / "keys").write_text("secret-a\nsecret-b\n")
    with pytest.raises(BenchError, match="one key and nothing else") as raised:
        Plan("ws://x/", api_key_file=tmp_path / "keys").target()
    assert "secret" not in raised.value.message


@pytest.mark.parametrize(
    "answer",
    ["not JSON", "[]", '{"type": "done"}', '{"type": "error"}', '{"type": "done", "reason": "completed"}'],
)
async def test_a_server_that_answers_nonsense_fails_its_utterances_and_not_the_test(answer):
    """Whatever comes back counts as failed, with a reason, and the run goes on to its end."""

    async def serve_nonsense(connection):
        await connection.send(json.dumps({"type": "session", "protocol": PROTOCOL}))
        async for _ in connection:
            await connection.send(b"\1\0\0\1" + bytes(8) + b"no opus")
            await connection.send(answer)

    async with serve(serve_nonsense, "127.0.0.1", 0, subprotocols=[PROTOCOL]) as server:
        port = server.sockets[0].getsockname()[1]
        plan = Plan(f"ws://127.0.0.1:{port}/", rate_hz=6, seconds=1, num_utterances=2, warm_up_s=0)
        (row,) = (await run(plan))["rows"]
    assert row["failed_share"] == 1 and row["reasons"]
