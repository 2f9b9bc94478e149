"""The figures of a load test, the rules for a good rate, and the search for the highest one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from streamer.loadtest.client import Recording
from streamer.loadtest.load import Load, Session
from streamer.loadtest.summary import Summary, Tally, find_capacity, summarize
from tests.loadtest.recordings import STARTED, recording


def test_a_summary_counts_from_the_moment_a_text_was_due() -> None:
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


def test_stops_that_come_to_more_than_a_packet_are_an_underrun() -> None:
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


def test_what_nobody_can_hear_has_failed() -> None:
    """Silence throughout is a failure with a reason, unless silence counts; so is no sound at all, always."""
    session = Session(Load(1.0, seconds=1.0))
    empty = Recording(0.0, sent_s=0.0, ended_s=0.1, outcome="served", started=STARTED)
    session.recordings = [recording([0.0] * 5, num_silent=5), empty]
    summary = summarize(session)
    assert (summary.served_share, summary.failed_share) == (0, 1)
    assert summary.reasons == {"nothing audible": 1, "no sound": 1}
    assert summarize(session, counts_silence=True).reasons == {"no sound": 1}


def test_a_figure_that_is_not_there_is_null() -> None:
    """If nothing was heard, times and the share of underruns are null in JSON."""
    session = Session(Load(1.0, seconds=1.0))
    session.recordings = [recording([0.0], outcome="rejected")]
    summary = summarize(session)
    assert summary.audible_p95_ms is None and summary.underrun_share is None and not summary.is_good
    assert json.loads(json.dumps(summary.as_row(), allow_nan=False))["longest_gap_ms"] is None


def test_a_step_is_hopeless_when_more_are_bad_than_may_be() -> None:
    """One underrun of a hundred is allowed and two are not; five late ones are, six are not."""
    underruns, lates = Tally(counts_silence=False), Tally(counts_silence=False)
    stopping, late = recording([0.0, 0.2]), recording([0.3, 0.3])
    assert [underruns.is_hopeless(stopping, 100) for _ in range(2)] == [False, True]
    assert [lates.is_hopeless(late, 100) for _ in range(6)] == [False] * 5 + [True]


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
def test_each_rule_alone_can_fail_a_rate(worse: dict[str, Any]) -> None:
    """200 ms for 95 of 100, underruns for 1 of 100, refusals for 1 of 100."""
    assert GOOD.is_good
    assert not replace(GOOD, **worse).is_good


@pytest.mark.parametrize(("true_hz", "found_hz"), [(5.0, 5.0), (0.5, 0.5), (0.2, 0.1875), (0.05, 0.0)])
async def test_the_search_doubles_or_halves_and_then_bisects(true_hz: float, found_hz: float) -> None:
    """The search finds the highest good rate within an eighth of the lowest bad one, or 0 after three bad halvings."""
    rates_hz: list[float] = []

    async def measure(rate_hz: float) -> Summary:
        rates_hz.append(rate_hz)
        return replace(GOOD, rate_hz=rate_hz, late_share=0 if rate_hz <= true_hz else 1)

    assert await find_capacity(measure, 0.5, 1000) == pytest.approx(found_hz)
    assert rates_hz[0] == 0.5 and len(rates_hz) <= 8
