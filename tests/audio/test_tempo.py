"""Sound at another tempo: exactly as long as it is to be, at its own pitch, and streamed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from streamer.audio.samples import Samples
from streamer.audio.tempo import TempoFilter
from streamer.errors import AudioEncodeError
from tests.audio.decoding import dominant_hz, sine

RATE_HZ = 24_000


def changed(sound: Samples, tempo: float, size: int = 777) -> Samples:
    """The sound at another tempo, pushed in pieces of `size`."""
    tempo_filter = TempoFilter(RATE_HZ, tempo)
    cuts = [*range(0, len(sound), size), len(sound)]
    pieces = [tempo_filter.push(sound[start:end]) for start, end in pairwise(cuts)]
    return np.concatenate([*pieces, tempo_filter.finish()])


@pytest.mark.parametrize("tempo", [0.25, 0.5, 0.8, 1.25, 2.0, 3.0, 4.0])
def test_the_tempo_changes_the_length_and_not_the_pitch(tempo: float) -> None:
    """A sine stays one of its pitch and level up to its end, and its length is exact."""
    sound = changed(sine(4.0), tempo)
    assert len(sound) == round(4.0 * RATE_HZ / tempo)
    assert dominant_hz(sound, RATE_HZ) == pytest.approx(440, abs=3)
    assert np.sqrt(np.mean(sound**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)
    last = sound[-round(0.1 * RATE_HZ) : -round(0.03 * RATE_HZ)]
    assert np.abs(last).max() == pytest.approx(0.5, rel=0.2)


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.02, 0.05, 0.31, 1.0])
@pytest.mark.parametrize("tempo", [0.5, 0.9, 1.7, 4.0])
def test_short_sounds_have_their_length_too(seconds: float, tempo: float) -> None:
    """However little there is, nothing is left in the filter."""
    sound = sine(1.0)[: round(seconds * RATE_HZ)]
    assert len(changed(sound, tempo)) == round(len(sound) / tempo)


@pytest.mark.parametrize("tempo", [0.5, 1.3, 4.0])
def test_pieces_do_not_matter(tempo: float) -> None:
    """The same samples come out however the sound is cut on its way."""
    sound = sine(0.5)
    whole = changed(sound, tempo, len(sound))
    for size in (1, 160, 481, 5000):
        assert np.array_equal(changed(sound, tempo, size), whole)


@pytest.mark.parametrize("tempo", [0.5, 1.5, 2.0])
def test_another_tempo_streams(tempo: float) -> None:
    """Less than a tenth of a second is held back."""
    tempo_filter = TempoFilter(RATE_HZ, tempo)
    given = len(tempo_filter.push(sine(1.0)))
    assert given > (1.0 - 0.1) * RATE_HZ / tempo


def test_a_tempo_that_ffmpeg_refuses_is_one_error() -> None:
    """It is typed, so that speech can continue as usual."""
    with pytest.raises(AudioEncodeError, match="tempo"):
        TempoFilter(RATE_HZ, 1e9)
