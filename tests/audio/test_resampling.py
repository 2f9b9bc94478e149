"""Resampling keeps the sound, its place and its length, however the input is cut."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.audio.resampling import Resampler
from streamer.audio.samples import Samples
from tests.audio.decoding import sine, speechlike

RATES_HZ = [8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000]


def resampled(samples: Samples, rate_hz: int, cuts: list[int]) -> Samples:
    resampler = Resampler(24_000, rate_hz)
    pieces, start, turn = [], 0, 0
    while start < len(samples):
        size = cuts[turn % len(cuts)]
        pieces.append(resampler.push(samples[start : start + size]))
        start += size
        turn += 1
    return np.concatenate([*pieces, resampler.finish()])


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("cuts", [[1], [7, 1, 480], [1_920]])
@pytest.mark.parametrize("num_samples", [1, 2, 100, 2_401])
def test_cutting_changes_nothing(rate_hz: int, cuts: list[int], num_samples: int) -> None:
    """Chunked equals whole, and the length is the rounded-up share of the input's."""
    samples = speechlike(0.2)[:num_samples]
    whole = resampled(samples, rate_hz, [num_samples])
    assert len(whole) == -(-num_samples * rate_hz // 24_000)
    np.testing.assert_allclose(resampled(samples, rate_hz, cuts), whole, atol=1e-6)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("pitch_hz", [100.0, 1_000.0, 3_000.0])
def test_a_sine_stays_itself_in_time_and_level(rate_hz: int, pitch_hz: float) -> None:
    """It equals the same sine sampled at the new rate, with no delay."""
    outcome = resampled(sine(0.2, pitch_hz), rate_hz, [480])
    edge = rate_hz // 50
    expected = sine(0.2, pitch_hz, rate_hz)
    np.testing.assert_allclose(outcome[edge:-edge], expected[edge:-edge], atol=1e-3)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_sound_comes_out_while_it_is_made(rate_hz: int) -> None:
    """No more than 10 ms are held back for what follows."""
    resampler = Resampler(24_000, rate_hz)
    num_out = sum(len(resampler.push(speechlike(0.1))) for _ in range(5))
    assert rate_hz // 2 - rate_hz // 100 <= num_out <= rate_hz // 2


def test_what_the_new_rate_cannot_hold_is_gone() -> None:
    """A tone above the new Nyquist frequency does not come back as another one."""
    for rate_hz, pitch_hz in ((8_000, 5_000.0), (16_000, 9_000.0), (22_050, 11_500.0)):
        outcome = resampled(sine(0.2, pitch_hz), rate_hz, [480])
        assert np.abs(outcome[200:-200]).max() < 1e-3
