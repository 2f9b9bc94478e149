"""A client without a buffer: when it plays, where it stalls, and what is audible."""

from __future__ import annotations

import pytest

from streamer.loadtest.playout import leading_silence_s, packets_of, play
from tests.loadtest.recordings import STARTED, recording


def test_a_player_without_a_buffer_stops_where_a_packet_is_late() -> None:
    """Gaps are counted from what the player has, and what comes after a stop plays later by it."""
    playout = play(packets_of(recording([1.0, 1.0, 1.0, 1.2, 1.2])))
    assert playout.first_s == 1.0
    assert playout.gaps == ((pytest.approx(0.06), pytest.approx(0.14)),)
    assert playout.plays_s(0.0) == 1.0
    assert playout.plays_s(0.08) == pytest.approx(1.22)


def test_audible_is_the_first_window_that_is_loud_enough() -> None:
    """Leading silence is told apart; sound that is never loud is never heard."""
    assert leading_silence_s(packets_of(recording([0.0] * 5, num_silent=3)), STARTED) == pytest.approx(0.06)
    assert leading_silence_s(packets_of(recording([0.0] * 5, num_silent=5)), STARTED) is None
