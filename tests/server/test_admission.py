"""Keys are compared without telling anything by time; shares are counted and given back."""

from __future__ import annotations

import hmac
from pathlib import Path

import pytest

from streamer.config import LimitsConfig
from streamer.errors import OverloadedError, RateLimitedError
from streamer.server.admission import Admission, ApiKeys


def test_every_key_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look-up compares digests of one length with every known key, found or not."""
    lengths: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def spy(a: bytes, b: bytes) -> bool:
        lengths.append((len(a), len(b)))
        return compare(a, b)

    monkeypatch.setattr("streamer.server.admission.hmac.compare_digest", spy)
    keys = ApiKeys(("one", "two"))
    assert keys.find("one") and not keys.find("x" * 1000) and not keys.find("\ud800")
    assert lengths == [(32, 32)] * 6


def test_keys_are_named_by_their_digest(tmp_path: Path) -> None:
    """What is kept of a key does not reveal it; comments and empty lines are no keys."""
    path = tmp_path / "keys"
    path.write_text("secret # mine\n\n# nothing\n")
    keys = ApiKeys.read(path)
    assert keys.are_required and not ApiKeys.read(None).are_required
    name = keys.find("secret")
    assert name is not None and "secret" not in name and keys.find("") is None


def test_open_utterances_of_a_key_are_bounded_and_given_back() -> None:
    """Beyond the limit a start is refused with a time to come back; a turn is given back once."""
    admission = Admission(LimitsConfig(max_utterances_per_key=2))
    with admission.share("k"), admission.share("other"):
        turns = [admission.admit("k"), admission.admit("k")]
        with pytest.raises(OverloadedError) as refused:
            admission.admit("k")
        assert refused.value.retry_after_s
        admission.admit("other")
        turns[0].release()
        turns[0].release()
        admission.admit("k")
        with pytest.raises(OverloadedError):
            admission.admit("k")


async def test_waiting_starts_are_bounded() -> None:
    """As many as fit into the longest wait stand in line, the next is refused."""
    admission = Admission(LimitsConfig(max_starts_per_s=2, max_start_wait_s=1.0))
    with admission.share("k"):
        turns = [admission.admit("k") for _ in range(3)]
        with pytest.raises(RateLimitedError) as refused:
            admission.admit("k")
        assert refused.value.retry_after_s == 1.5
        await turns[0].wait()
        admission.admit("k")


def test_connections_are_counted_by_address() -> None:
    """Full is full, for one address and for all, until somebody leaves."""
    admission = Admission(LimitsConfig(max_connections=3, max_connections_per_address=2))
    admission.connected("a")
    admission.connected("a")
    assert admission.refuse_connection("a") == "address_full"
    assert admission.refuse_connection("b") is None
    admission.connected("b")
    assert admission.refuse_connection("c") == "server_full"
    admission.disconnected("a")
    assert admission.refuse_connection("a") is None
