"""The figures of a load test, and the highest rate at which they are good enough."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from streamer.bench.client import Recording
from streamer.bench.load import Session
from streamer.bench.sound import leading_silence_s, packets_of, play

MAX_FIRST_AUDIO_S: Final = 0.2
GAP_S: Final = 0.1
MAX_UNDERRUN_SHARE: Final = 0.01
MAX_REFUSED_SHARE: Final = 0.01
BISECTIONS: Final = 3


@dataclass(frozen=True, slots=True)
class Summary:
    """What listeners went through at one rate. Milliseconds from the moment a text was due; shares of utterances.

    `audible_*`: to the first 10 ms at -45 dBFS or louder, or, where `counts_silence`, to the first sample.
    """

    rate_hz: float
    num_utterances: int
    served_share: float
    refused_share: float
    failed_share: float
    first_packet_p50_ms: float
    audible_p50_ms: float
    audible_p95_ms: float
    audible_p99_ms: float
    leading_silence_p50_ms: float
    underrun_share: float
    longest_gap_ms: float
    mean_in_flight: float
    max_in_flight: int
    client_lag_p99_ms: float
    client_cpu_share: float
    counts_silence: bool

    @property
    def is_good(self) -> bool:
        """Whether the server carries this rate: soon, without gaps, hardly anybody refused."""
        return (
            self.audible_p95_ms <= 1000 * MAX_FIRST_AUDIO_S
            and self.underrun_share <= MAX_UNDERRUN_SHARE
            and self.refused_share + self.failed_share <= MAX_REFUSED_SHARE
        )

    def as_row(self) -> dict[str, Any]:
        return {**asdict(self), "is_good": self.is_good}


def summarize(session: Session, *, counts_silence: bool = False) -> Summary:
    """The figures of the measured utterances. `counts_silence`: the first sample stands in for the audible one."""
    first_s, audible_s, silence_s, gaps_s = [], [], [], []
    for recording in session.recordings:
        packets = packets_of(recording) if recording.outcome == "served" else []
        if not packets:
            continue
        playout = play(packets)
        silent_s = 0.0 if counts_silence else leading_silence_s(packets, recording.started)
        if silent_s is None:  # nothing to hear in it at all
            continue
        first_s.append(playout.first_s - recording.due_s)
        audible_s.append(playout.plays_s(silent_s) - recording.due_s)
        silence_s.append(silent_s)
        gaps_s.append(playout.longest_gap_s)
    count = len(session.recordings)
    outcomes = [recording.outcome for recording in session.recordings]
    in_flight = _in_flight(session)
    return Summary(
        rate_hz=session.load.rate_hz,
        num_utterances=count,
        served_share=outcomes.count("served") / count,
        refused_share=outcomes.count("rejected") / count,
        failed_share=(outcomes.count("failed") + outcomes.count("unfinished")) / count,
        first_packet_p50_ms=_percentile_ms(first_s, 50),
        audible_p50_ms=_percentile_ms(audible_s, 50),
        audible_p95_ms=_percentile_ms(audible_s, 95),
        audible_p99_ms=_percentile_ms(audible_s, 99),
        leading_silence_p50_ms=_percentile_ms(silence_s, 50),
        underrun_share=float(np.mean([gap_s > GAP_S for gap_s in gaps_s])) if gaps_s else 1.0,
        longest_gap_ms=1000 * max(gaps_s, default=0.0),
        mean_in_flight=float(np.mean(in_flight)),
        max_in_flight=int(np.max(in_flight)),
        client_lag_p99_ms=_percentile_ms(session.lags_s, 99),
        client_cpu_share=session.cpu_share,
        counts_silence=counts_silence,
    )


async def find_capacity(
    measure: Callable[[float], Awaitable[Summary]], first_rate_hz: float, most_hz: float
) -> tuple[float, list[Summary]]:
    """The highest good rate (0: none was), and all that was measured: doubled until it fails, then bisected."""
    made: list[Summary] = []
    good_hz, bad_hz, rate_hz = 0.0, None, first_rate_hz
    while bad_hz is None and rate_hz <= most_hz:
        made.append(await measure(rate_hz))
        if made[-1].is_good:
            good_hz, rate_hz = rate_hz, 2 * rate_hz
        else:
            bad_hz = rate_hz
    for _ in range(BISECTIONS if bad_hz is not None else 0):
        rate_hz = (good_hz + (bad_hz or 0)) / 2
        made.append(await measure(rate_hz))
        if made[-1].is_good:
            good_hz = rate_hz
        else:
            bad_hz = rate_hz
    return good_hz, made


def _in_flight(session: Session) -> list[int]:
    """How many utterances were open, seen ten times a second of the measured time."""
    every: list[Recording] = [*session.recordings, *session.others]
    moments = session.began_s + np.arange(0, session.load.seconds, 0.1)
    return [
        sum(
            item.sent_s is not None
            and item.sent_s <= moment
            and (item.ended_s is None or item.ended_s > moment)
            for item in every
        )
        for moment in moments
    ]


def _percentile_ms(values_s: list[float], percent: float) -> float:
    return 1000 * float(np.percentile(values_s, percent)) if values_s else float("inf")
