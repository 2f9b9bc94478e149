"""Filled in whole, long sentences are those of Suno's own code: with prompts and without, over several windows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.suno_bark import SunoBark
from streamer.synthesis import SamplingParams
from streamer.text.tokens.tokenizer import Tokenizer
from tests.parity.conftest import Spoken, Wanted, speak

pytestmark = pytest.mark.suno

TEXT = (
    "A sentence that is long enough to be spoken for as long as Bark ever speaks, fifteen seconds and more."
)
CASES = [
    (None, 12.0, 1),
    (None, 16.0, 2),
    (237, 12.0, 2),
    (1098, 12.0, 2),
    (1098, 16.0, 3),
]
"""Frames of the prompt (of Suno's the shortest and the longest), seconds, and windows of the original."""


@pytest.fixture(scope="module")
def all_spoken(judge: SunoBark, prompts: list[str], tokenizer: Tokenizer) -> list[Spoken]:
    by_length = {np.load(path)["fine_prompt"].shape[1]: path for path in prompts}
    params = SamplingParams(seed=5, min_eos_p=None, max_coarse_history=60, sliding_window_len=138)
    wanted = [
        Wanted(
            TEXT,
            None if num_frames is None else by_length[num_frames],
            replace(params, max_gen_duration_s=duration_s),
        )
        for num_frames, duration_s, _ in CASES
    ]
    with judge.hardly_ending():
        return speak(judge, tokenizer, *wanted, is_whole=True)


@pytest.mark.parametrize("case", range(len(CASES)))
def test_fine_codes_of_whole_sentences_are_sunos(
    judge: SunoBark, all_spoken: list[Spoken], case: int
) -> None:
    """Every code of every codebook, also where a later window filled in again what an earlier one had."""
    spoken, (_, duration_s, num_windows) = all_spoken[case], CASES[case]
    assert spoken.codes.shape[1] == {12.0: 900, 16.0: 1154}[duration_s]
    assert len(spoken.windows) == num_windows
    fine = judge.fine(spoken.codes[:2], spoken.wanted.prompt, spoken.wanted.params, spoken.windows)
    np.testing.assert_array_equal(spoken.codes, fine)
