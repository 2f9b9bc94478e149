"""What may precede a sentence: each of Suno's 271 prompts, or nothing, asked for as the voice `random`."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from benchmarks.suno_bark import SunoBark
from streamer.models.config import SMALL
from streamer.synthesis import SamplingParams
from streamer.text.tokens.tokenizer import Tokenizer
from streamer.voices.library import NO_HISTORY, VoiceLibrary
from streamer.voices.presets import PRESETS
from tests.parity.conftest import Wanted, speak

pytestmark = pytest.mark.suno


def test_all_of_sunos_prompts_are_voices(prompts: list[str]) -> None:
    """None is refused, and beside them a speaker can still be made up."""
    folder = Path(prompts[0]).parent
    library = VoiceLibrary([folder], SMALL)
    assert len(prompts) == 271
    names = {Path(path).relative_to(folder).with_suffix("").as_posix() for path in prompts}
    assert set(library.names) == {*names, NO_HISTORY}
    assert library.default == SMALL.default_voice
    allowed = importlib.import_module("bark.generation").ALLOWED_PROMPTS  # which the judge has imported
    assert set(PRESETS) == allowed


@pytest.mark.parametrize("seed", range(4))
def test_a_made_up_speaker_is_sunos(judge: SunoBark, tokenizer: Tokenizer, seed: int) -> None:
    """`random` is what the original makes of `history_prompt=None`, its default, stage by stage."""
    params = SamplingParams(seed=seed, min_eos_p=0.05, max_gen_duration_s=(1, 2, 3, 6)[seed])
    (spoken,) = speak(judge, tokenizer, Wanted("Hello, who am I?", None, params), is_whole=True)
    tokens = judge.semantic("Hello, who am I?", None, params, spoken.work.semantic.tokens)
    assert spoken.work.semantic.tokens == tokens
    coarse = judge.coarse(tokens, None, params, spoken.codes[:2])
    np.testing.assert_array_equal(spoken.codes[:2], coarse)
    np.testing.assert_array_equal(spoken.codes, judge.fine(coarse, None, params, spoken.windows))
