"""Permits are counted and given back, and owners with a greater share are served more."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from streamer.config import LimitsConfig
from streamer.errors import OverloadedError, RateLimitedError
from streamer.server.admission import Admission
from tests.server.speaking import eventually


def test_open_utterances_of_a_key_are_bounded_and_given_back() -> None:
    """Beyond the limit a start is refused with a time to come back; a permit is given back once."""
    admission = Admission(LimitsConfig(max_utterances_per_key=2))
    permits = [admission.admit("k"), admission.admit("k")]
    with pytest.raises(OverloadedError) as refused:
        admission.admit("k")
    assert refused.value.retry_after_s
    admission.admit("other")
    permits[0].release()
    permits[0].release()
    admission.admit("k")
    with pytest.raises(OverloadedError):
        admission.admit("k")


async def test_waiting_starts_are_bounded() -> None:
    """As many as the rate lets through in the longest wait stand in line, and the next is refused."""
    admission = Admission(LimitsConfig(max_starts_per_s=2, max_start_wait_s=1.0))
    permits = [admission.admit("k") for _ in range(3)]
    with pytest.raises(RateLimitedError) as refused:
        admission.admit("k")
    assert refused.value.retry_after_s == pytest.approx(1.5, rel=0.11)  # three at two a second
    await permits[0].wait()
    admission.admit("k")
    permits[1].release()
    admission.admit("k")


async def test_starts_are_as_many_a_second_as_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of a second start at once, and the others when it is over."""
    now_s = 100.0
    monkeypatch.setattr("asyncio_throttle.throttler.time", SimpleNamespace(monotonic=lambda: now_s))
    admission = Admission(LimitsConfig(max_starts_per_s=2))
    waits = [asyncio.ensure_future(admission.admit("k").wait()) for _ in range(5)]
    for num_seconds, expected in ((0.0, 2), (0.9, 2), (1.1, 4), (2.2, 5)):
        now_s = 100.0 + num_seconds
        await eventually(lambda expected=expected: sum(wait.done() for wait in waits) >= expected)
        await asyncio.sleep(0.1)  # in which no more may start
        assert sum(wait.done() for wait in waits) == expected


def test_quotas_of_clients_that_are_gone_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and addresses that come and go take no memory for good; one with an open utterance is remembered."""
    monkeypatch.setattr("streamer.server.admission._MAX_QUOTAS", 10)
    admission = Admission(LimitsConfig(max_utterances_per_key=1))
    admission.admit("open")
    for number in range(100):
        admission.admit(str(number)).release()
    assert len(admission._quotas) <= 10
    with pytest.raises(OverloadedError):
        admission.admit("open")
