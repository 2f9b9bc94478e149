"""With 40 of Suno's 271 prompts, 8 languages and every knob: what Suno's own code makes of the same weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.suno_bark import SunoBark
from streamer.models.config import SMALL
from streamer.synthesis import SamplingParams
from streamer.text.tokens.tokenizer import Tokenizer
from streamer.voices.voice import Voice
from tests.parity.conftest import Spoken, Wanted, speak
from tests.text.sentences import SENTENCES

pytestmark = pytest.mark.suno

NUM_PROMPTS = 40
LANGUAGES = ("en", "de", "fr", "hi", "ja", "ko", "ru", "zh")
KNOBS: tuple[dict[str, float | None], ...] = (
    {"max_gen_duration_s": 1.0},
    {"text_temp": 1.1, "waveform_temp": 0.6, "min_eos_p": 0.05, "max_gen_duration_s": 2.0},
    {"top_k": 50, "min_eos_p": 0.05, "max_gen_duration_s": 3.0},
    {"top_p": 0.9, "text_temp": 0.5, "min_eos_p": 0.03, "max_gen_duration_s": 2.0, "fine_temp": 0.9},
    {"min_eos_p": None, "fine_temp": None, "max_gen_duration_s": 0.7},
    {"max_coarse_history": 60, "text_temp": 1.3, "waveform_temp": 1.3, "max_gen_duration_s": 1.5},
    {"max_coarse_history": 417, "sliding_window_len": 31, "min_eos_p": 0.02, "max_gen_duration_s": 2.0},
    {"sliding_window_len": 138, "top_k": 900, "top_p": 0.97, "min_eos_p": None, "max_gen_duration_s": 4.5},
)


def chosen(prompts: list[str]) -> list[str]:
    """The announcer, one without a language, ten with less history than the window holds, and others evenly."""
    short = [path for path in prompts if len(Voice.read(Path(path)).semantic) < SMALL.semantic.text_context]
    special = [path for path in prompts if path.endswith(("announcer.npz", "/speaker_3.npz"))]
    others = [path for path in prompts if path not in (*short, *special)]
    num_short = 10
    num_others = NUM_PROMPTS - len(special) - num_short
    return [
        *special,
        *short[:: len(short) // num_short][:num_short],
        *others[:: len(others) // num_others][:num_others],
    ]


@pytest.fixture(scope="module")
def all_spoken(judge: SunoBark, prompts: list[str], tokenizer: Tokenizer) -> list[Spoken]:
    """Forty sentences, each of one chunk for the fine model."""
    first_of = dict(reversed(SENTENCES))
    wanted = []
    for number, prompt in enumerate(chosen(prompts)):
        text = first_of[LANGUAGES[(number + number // 8) % 8]]
        params = SamplingParams(seed=number, **KNOBS[number % 8])  # type: ignore[arg-type]
        wanted.append(Wanted(text, prompt, params))
    return speak(judge, tokenizer, *wanted, chunk_frames=(512,))


@pytest.fixture(params=range(NUM_PROMPTS))
def spoken(request: pytest.FixtureRequest, all_spoken: list[Spoken]) -> Spoken:
    return all_spoken[request.param]


def test_forty_sentences_end_in_every_way(all_spoken: list[Spoken]) -> None:
    """The cases are what they should be: some end by themselves, some are cut; short and long, and of all types."""
    assert len({each.wanted.prompt for each in all_spoken}) == NUM_PROMPTS
    num_cut = sum(each.work.is_truncated for each in all_spoken)
    assert 8 <= num_cut <= 32
    lengths = [each.codes.shape[1] for each in all_spoken]
    assert min(lengths) < 60
    assert max(lengths) > 250
    semantic = [np.load(each.wanted.prompt)["semantic_prompt"] for each in all_spoken if each.wanted.prompt]
    assert sum(len(prompt) < SMALL.semantic.text_context for prompt in semantic) >= 10
    assert {prompt.dtype.name for prompt in semantic} == {"int64", "uint16"}


def test_semantic_tokens_are_sunos(judge: SunoBark, spoken: Spoken) -> None:
    """The same tokens and the same end, drawn, likely enough, or cut."""
    tokens = spoken.work.semantic.tokens
    assert judge.semantic(spoken.wanted.text, spoken.wanted.prompt, spoken.wanted.params, tokens) == tokens


def test_coarse_codes_are_sunos(judge: SunoBark, spoken: Spoken) -> None:
    """The same codes of both coarse codebooks, window after window."""
    coarse = judge.coarse(
        spoken.work.semantic.tokens, spoken.wanted.prompt, spoken.wanted.params, spoken.codes[:2]
    )
    np.testing.assert_array_equal(spoken.codes[:2], coarse)


def test_fine_codes_of_one_chunk_are_sunos(judge: SunoBark, spoken: Spoken) -> None:
    """A sentence that is a single chunk gets the same codes of all eight codebooks."""
    fine = judge.fine(spoken.codes[:2], spoken.wanted.prompt, spoken.wanted.params, spoken.windows)
    np.testing.assert_array_equal(spoken.codes, fine)


def test_sound_is_sunos(judge: SunoBark, spoken: Spoken) -> None:
    """What the codec stage made chunk by chunk is the original's decode of the whole."""
    sound = judge.sound(spoken.codes)
    assert np.abs(sound).max() > 0.01
    np.testing.assert_allclose(spoken.samples, sound, rtol=0, atol=1e-5)


def test_hardly_any_draw_was_a_near_tie(judge: SunoBark, all_spoken: list[Spoken]) -> None:
    """What the comparisons forgive is rounding, a handful of some hundred thousand draws."""
    assert judge.num_near_ties <= len(all_spoken)
