"""Sums up a load test in figures, and searches for the highest rate at which they are good enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from opuslib_next.exceptions import OpusError

from streamer.loadtest.client import Outcome, Recording
from streamer.loadtest.load import Session
from streamer.loadtest.playout import leading_silence_s, packets_of, play

MAX_FIRST_AUDIO_S: Final = 0.2
MAX_LATE_SHARE: Final = 0.05
JITTER_S: Final = 0.02
"""One Opus packet. Shorter stalls cannot be told from the jitter of this client's own clock and event loop."""
LONG_GAP_S: Final = 0.1
MAX_UNDERRUN_SHARE: Final = 0.01
MAX_LOST_SHARE: Final = 0.01
RESOLUTION: Final = 0.125
"""Relative to the rate: a hundred utterances, of which one or five may be bad, cannot tell closer rates apart."""
HALVINGS: Final = 3
"""How often a bad first rate is halved before the capacity is said to be 0."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What one client heard of an utterance, in seconds; latencies count from when its text was due."""

    first_s: float
    audible_s: float
    silence_s: float
    """Silence before the first audible sound."""
    stopped_s: float
    longest_gap_s: float

    @property
    def is_late(self) -> bool:
        return self.audible_s > MAX_FIRST_AUDIO_S

    @property
    def has_underrun(self) -> bool:
        """Whether playback without a buffer stalled for longer, in all, than jitter explains."""
        return self.stopped_s > JITTER_S


@dataclass(frozen=True, slots=True)
class Summary:
    """What clients heard at one rate. Milliseconds count from when a text was due; None means that there is no figure.

    `audible_*` ends at the first 10 ms at -45 dBFS or louder, or with `counts_silence` at the first sample. `served`,
    `refused` and `failed` are shares of all utterances, the other shares of those that were heard. `reasons` counts
    why utterances were not served. `is_cut_short`: it was clear before the end that the server does not carry the rate.
    """

    rate_hz: float
    num_utterances: int
    served_share: float
    refused_share: float
    failed_share: float
    reasons: dict[str, int]
    first_packet_p50_ms: float | None
    audible_p50_ms: float | None
    audible_p95_ms: float | None
    audible_p99_ms: float | None
    late_share: float | None
    leading_silence_p50_ms: float | None
    underrun_share: float | None
    gaps_over_100_ms_share: float | None
    longest_gap_ms: float | None
    mean_in_flight: float
    max_in_flight: int
    client_lag_p99_ms: float | None
    client_cpu_share: float
    counts_silence: bool
    is_cut_short: bool

    @property
    def is_good(self) -> bool:
        """Whether the server carries this rate: early audio, no stalls, hardly any client refused."""
        return (
            self.late_share is not None
            and self.late_share <= MAX_LATE_SHARE
            and self.underrun_share is not None
            and self.underrun_share <= MAX_UNDERRUN_SHARE
            and self.refused_share + self.failed_share <= MAX_LOST_SHARE
            and not self.is_cut_short
        )

    def as_row(self) -> dict[str, Any]:
        return {**asdict(self), "is_good": self.is_good}


class Tally:
    """Counts the bad utterances of a step as they end, to tell when the step can no longer become good."""

    def __init__(self, *, counts_silence: bool) -> None:
        self._counts_silence = counts_silence
        self._num_late = self._num_underruns = self._num_lost = 0

    def is_hopeless(self, recording: Recording, num_utterances: int) -> bool:
        """Count one of `num_utterances` more, and tell whether too many are bad already."""
        heard = hear(recording, counts_silence=self._counts_silence)
        if isinstance(heard, Heard):
            self._num_late += heard.is_late
            self._num_underruns += heard.has_underrun
        else:
            self._num_lost += 1
        return (
            self._num_late > MAX_LATE_SHARE * num_utterances
            or self._num_underruns > MAX_UNDERRUN_SHARE * num_utterances
            or self._num_lost > MAX_LOST_SHARE * num_utterances
        )


def hear(recording: Recording, *, counts_silence: bool) -> Heard | tuple[Outcome, str]:
    """Return what a client without a buffer heard, or the outcome and reason if there was nothing to hear."""
    if recording.outcome != "served":
        return recording.outcome, recording.reason or recording.outcome
    packets = packets_of(recording)
    if not packets:
        return "failed", "no sound"
    try:
        silence_s = 0.0 if counts_silence else leading_silence_s(packets, recording.started)
    except (OpusError, ValueError, KeyError, TypeError, ZeroDivisionError):
        return "failed", "sound that cannot be decoded"
    if silence_s is None:
        return "failed", "nothing audible"
    playout = play(packets)
    return Heard(
        first_s=playout.first_s - recording.due_s,
        audible_s=playout.plays_s(silence_s) - recording.due_s,
        silence_s=silence_s,
        stopped_s=playout.stopped_s,
        longest_gap_s=playout.longest_gap_s,
    )


def summarize(session: Session, *, counts_silence: bool = False) -> Summary:
    """Return the figures of the measured utterances; with `counts_silence` the first sample counts as audible."""
    heard: list[Heard] = []
    outcomes: Counter[Outcome] = Counter()
    reasons: Counter[str] = Counter()
    for recording in session.recordings:
        if session.is_cut_short and recording.outcome == "unfinished":
            continue
        result = hear(recording, counts_silence=counts_silence)
        if isinstance(result, Heard):
            heard.append(result)
        else:
            outcomes[result[0]] += 1
            reasons[result[1]] += 1
    num_utterances = len(heard) + outcomes.total()
    in_flight = _in_flight(session)
    return Summary(
        rate_hz=session.load.rate_hz,
        num_utterances=num_utterances,
        served_share=len(heard) / num_utterances,
        refused_share=outcomes["rejected"] / num_utterances,
        failed_share=(outcomes["failed"] + outcomes["unfinished"]) / num_utterances,
        reasons=dict(reasons),
        first_packet_p50_ms=_percentile_ms([item.first_s for item in heard], 50),
        audible_p50_ms=_percentile_ms([item.audible_s for item in heard], 50),
        audible_p95_ms=_percentile_ms([item.audible_s for item in heard], 95),
        audible_p99_ms=_percentile_ms([item.audible_s for item in heard], 99),
        late_share=_share([item.is_late for item in heard]),
        leading_silence_p50_ms=_percentile_ms([item.silence_s for item in heard], 50),
        underrun_share=_share([item.has_underrun for item in heard]),
        gaps_over_100_ms_share=_share([item.longest_gap_s > LONG_GAP_S for item in heard]),
        longest_gap_ms=_percentile_ms([item.longest_gap_s for item in heard], 100),
        mean_in_flight=float(np.mean(in_flight)),
        max_in_flight=int(np.max(in_flight)),
        client_lag_p99_ms=_percentile_ms(session.lags_s, 99),
        client_cpu_share=session.cpu_share,
        counts_silence=counts_silence,
        is_cut_short=session.is_cut_short,
    )


async def find_capacity(
    measure: Callable[[float], Awaitable[Summary]], first_rate_hz: float, most_hz: float
) -> float:
    """Return the highest good rate, or 0: doubled until it is bad, or halved until it is good, then bisected."""
    good_hz, bad_hz, rate_hz = 0.0, None, first_rate_hz
    least_hz = first_rate_hz / 2**HALVINGS
    while least_hz <= rate_hz <= most_hz and (not good_hz or bad_hz is None):
        if (await measure(rate_hz)).is_good:
            good_hz, rate_hz = rate_hz, 2 * rate_hz
        else:
            bad_hz, rate_hz = rate_hz, rate_hz / 2
    while good_hz and bad_hz is not None and bad_hz - good_hz > RESOLUTION * bad_hz:
        rate_hz = (good_hz + bad_hz) / 2
        if (await measure(rate_hz)).is_good:
            good_hz = rate_hz
        else:
            bad_hz = rate_hz
    return good_hz


def _in_flight(session: Session) -> list[int]:
    """Return how many utterances were open, ten times per second of the measured time."""
    every: list[Recording] = [*session.recordings, *session.others]
    moments = session.began_s + np.arange(0, max(session.ended_s - session.began_s, 0.1), 0.1)
    return [
        sum(
            item.sent_s is not None
            and item.sent_s <= moment
            and (item.ended_s is None or item.ended_s > moment)
            for item in every
        )
        for moment in moments
    ]


def _percentile_ms(values_s: list[float], percent: float) -> float | None:
    return 1000 * float(np.percentile(values_s, percent)) if values_s else None


def _share(values: list[bool]) -> float | None:
    return float(np.mean(values)) if values else None
