"""Filled in whole, long sentences are those of Suno's own code: with prompts and without, over several windows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.suno_bark import SunoBark
from streamer.models.config import SMALL
from streamer.synthesis import SamplingParams

pytestmark = pytest.mark.suno

WHOLE = replace(SMALL.fine, is_whole=True)


@pytest.mark.parametrize("fine_temp", [0.5, None], ids=["drawn", "greedy"])
@pytest.mark.parametrize(
    ("num_prompt_frames", "num_frames", "num_windows"),
    [(None, 900, 1), (None, 1154, 2), (237, 900, 2), (1098, 900, 2), (1098, 1154, 3), (237, 480, 1)],
)
def test_fine_codes_of_whole_sentences_are_sunos(
    judge: SunoBark,
    prompts: list[str],
    num_prompt_frames: int | None,
    num_frames: int,
    num_windows: int,
    fine_temp: float | None,
) -> None:
    """Of 6, 12 and 15 s, with Suno's shortest and its longest prompt: also what a later window filled in again."""
    by_length = {np.load(path)["fine_prompt"].shape[1]: path for path in prompts}
    prompt = None if num_prompt_frames is None else by_length[num_prompt_frames]
    params = SamplingParams(seed=5, fine_temp=fine_temp)
    coarse = np.random.default_rng(num_frames).integers(0, 1024, (2, num_frames))
    codes, windows = judge.filled_in(coarse, prompt, params, WHOLE)
    assert len(windows) == num_windows
    np.testing.assert_array_equal(codes, judge.fine(coarse, prompt, params, windows))
