"""A voice with the end of another behind it: what a sentence continues with `continuity: "preset+chain"`."""

import numpy as np
import pytest

from streamer.models.config import SMALL
from streamer.stages.coarse_windows import CoarseWindows
from streamer.voices.voice import Voice


def voice(num_tokens, *, of):
    """All of its tokens and codes are `of`."""
    fine = np.full((8, num_tokens * 3 // 2), of)
    return Voice(np.full(num_tokens, of), fine[:2], fine)


@pytest.mark.parametrize("num_preset", [158, 346, 731])
@pytest.mark.parametrize("num_last", [6, 60, 105, 400, 768])
def test_both_are_read_and_fit(num_preset, num_last):
    """The arrays belong together, and the later voice has at most half of every stage's window."""
    joined = voice(num_preset, of=1).followed_by(voice(num_last, of=2), SMALL)
    assert joined.problem(SMALL) is None
    semantic_window = joined.semantic[-SMALL.semantic.text_context :]
    num_tokens, num_coarse = CoarseWindows.from_config(SMALL).history_lengths(
        len(joined.semantic), joined.coarse.size
    )
    coarse_windows = joined.semantic[-num_tokens:], joined.coarse[:, -(num_coarse // 2) :]
    fine_window = joined.fine[:, -SMALL.fine.history :]
    for window in (semantic_window, *coarse_windows, fine_window):
        share = (window == 2).mean()
        assert 0 < share <= 0.51
        if num_last >= 105:
            assert share > 0.25
    assert (joined.semantic[:num_preset] == 1).all()
    assert len(joined.semantic) == num_preset + min(num_last, 104)


def test_a_narrower_window_is_kept_to():
    """Who lets the coarse stage look back less far still hears the preset."""
    joined = voice(300, of=1).followed_by(voice(300, of=2), SMALL, max_coarse_history=60)
    assert 0.4 < (joined.coarse[:, -30:] == 2).mean() <= 0.5


def test_without_a_preset_the_later_one_is_all():
    """A model that makes up its speaker continues the one it made up, whole."""
    last = voice(300, of=2)
    assert Voice.without_history(SMALL).followed_by(last, SMALL) is last
