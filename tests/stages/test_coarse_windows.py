"""A window may start exactly when everything that it will read exists."""

from dataclasses import replace

import numpy as np
import pytest

from streamer.errors import ConfigError
from streamer.models.config import SMALL
from streamer.stages.chain import build_stages
from streamer.stages.coarse_windows import CoarseWindows
from streamer.stages.sentence import coarse_histories
from tests.fakes.tiny_bark import TINY, tiny_model, tiny_voice

BARK = CoarseWindows.from_config(SMALL)
OTHER = CoarseWindows(semantic_context=64, max_history=120, window=30, num_codebooks=2, ratio=3.0)


def reference_slice(windows, semantic, history, first_step):
    """Return the slice as the reference takes it from the finished sentence, with -1 for padding."""
    index = len(history) + round(first_step / windows.ratio)
    joined = [*history, *semantic][max(0, index - windows.max_semantic_history) :][: windows.semantic_context]
    return joined + [-1] * (windows.semantic_context - len(joined))


def test_barks_numbers():
    """With a full history Bark has M = 209, 626 coarse tokens, and windows at 47, 67, 87 and so on."""
    assert BARK.max_semantic_history == 209
    assert BARK.history_lengths(346, 1038) == (209, 628)
    assert [BARK.tokens_needed(60 * k, 209) for k in range(5)] == [47, 67, 87, 107, 127]
    assert BARK.tokens_needed(0, 0) == 256
    assert [BARK.num_steps(count) for count in (0, 47, 100)] == [0, 140, 300]


@pytest.mark.parametrize("windows", [BARK, OTHER], ids=["bark", "other"])
@pytest.mark.parametrize("share_of_history", [0.0, 0.3, 0.95, 1.0])
def test_a_window_reads_the_same_early_as_late_and_no_earlier(windows, share_of_history):
    """With `tokens_needed` tokens the slice is that of the finished sentence; with one fewer it is not."""
    num_history = int(windows.max_semantic_history * share_of_history)
    history = list(range(10_000, 10_000 + num_history))
    semantic = list(range(1, 700))
    for first_step in range(0, 14 * windows.window, windows.window):
        needed = windows.tokens_needed(first_step, num_history)
        complete = reference_slice(windows, semantic, history, first_step)
        assert reference_slice(windows, semantic[:needed], history, first_step) == complete
        assert reference_slice(windows, semantic[: needed - 1], history, first_step) != complete
        assert windows.num_steps(needed) >= first_step + windows.window


@pytest.mark.parametrize("windows", [BARK, OTHER], ids=["bark", "other"])
def test_lengths_are_rounded_as_the_reference_rounds(windows):
    """History lengths and step counts equal the reference's expressions in numpy."""
    for num_semantic in range(2, 400, 7):
        num_coarse = int(num_semantic * windows.ratio) // 2 * 2
        used = int(
            np.min(
                [
                    int(np.floor(windows.max_history / windows.ratio)),
                    num_semantic - num_semantic % 2,
                    int(np.floor(num_coarse / windows.ratio)),
                ]
            )
        )
        assert windows.history_lengths(num_semantic, num_coarse) == (used, round(used * windows.ratio))
        assert windows.num_steps(num_semantic) == round(float(np.floor(num_semantic * windows.ratio / 2) * 2))


@pytest.mark.parametrize(("dropped", "num_left"), [(2, 19), (0, 21), (21, 0), (30, 0)])
def test_the_end_of_a_voices_coarse_history_is_cut_off(dropped, num_left):
    """By as many tokens as the model declares: what is left ends so much before the semantic tokens do."""
    config = replace(TINY, coarse=replace(TINY.coarse, dropped_history=dropped))
    windows, voice = CoarseWindows.from_config(config), tiny_voice(40)
    semantic, coarse = coarse_histories(voice, config, windows)
    _, whole = coarse_histories(voice, replace(TINY, coarse=replace(TINY.coarse, dropped_history=0)), windows)
    assert len(semantic) == 7 and len(whole) == 21
    assert coarse == whole[:num_left]


@pytest.mark.parametrize(("max_history", "window"), [(90, 60), (60, 90), (45, 10), (90, 2)])
@pytest.mark.parametrize("num_history", [0, 7, 20, 1000])
def test_a_sentence_goes_on_behind_its_last_coarse_token_unless_its_end_is_known(
    max_history, window, num_history
):
    """For at least so many frames, whichever coarse tokens there are."""
    windows = CoarseWindows(64, max_history, window, num_codebooks=2, ratio=3.0)
    num_history = min(num_history, windows.max_semantic_history)
    for num_coarse in range(1, 400):
        begun = (num_coarse - 1) // window * window
        num_semantic = windows.tokens_needed(begun, num_history)
        num_ahead = (windows.num_steps(num_semantic) - num_coarse) // windows.num_codebooks
        assert num_ahead >= windows.num_frames_ahead


def test_no_more_frames_may_join_a_chunk_than_are_known_of():
    """Else a border would depend on when the sentence's end is known."""
    model = tiny_model(replace(TINY, fine=replace(TINY.fine, joined_frames=9)))
    with pytest.raises(
        ConfigError, match="joined_frames is 9, but of a sentence no more than 9 frames are known"
    ):
        build_stages(model, num_slots=1)
