"""The path of the model that is being trained allows what its teacher says."""

from __future__ import annotations

import pytest

from streamer.assembly import BUILTIN_MODEL
from streamer.stages.text_path import PathMaker
from streamer.text.tokens.phonemes import PhonemeTokenizer
from streamer.text.tokens.tokenizer import read_lexicon
from training.features import PHONE_INDEX, sign_phones
from training.path import path_config
from training.pronunciation import text_signs
from training.recipe import CONFIG, SYMBOLS

LEXICON = read_lexicon(BUILTIN_MODEL / CONFIG.tokenizer.file)
MAKER = PathMaker(CONFIG, path_config())


@pytest.mark.parametrize(
    "text",
    [
        "The apple is about to open.",
        "A better little bottle of butter waits, gets hotter and later matters.",
        "People hurry to Europe; her error was rare, or so the others are sure.",
        "Which judge measured the treasure?",
        "Oh, how joyful our choice is - you knew it, too!",
    ],
)
def test_what_the_teacher_is_asked_to_say_is_on_the_path(text: str) -> None:
    """Each of its phones may follow the one before, and the sentence may end behind the last."""
    text_tokens = PhonemeTokenizer(SYMBOLS, LEXICON).encode(text)
    signs = [sign for piece in text_signs(text, LEXICON, lambda _: "") for made in piece for sign in made]
    phones = sign_phones([(sign, 0, 0) for sign in signs])
    successors = MAKER.path(text_tokens).automaton.successors[0]
    state = 0
    for phone in phones:
        assert successors[state, phone] >= 0, CONFIG.path and CONFIG.path.phones[phone]
        state = int(successors[state, phone])
    assert successors[state, -1] >= 0
    assert successors[0, PHONE_INDEX["^"]] >= 0


def test_every_symbol_but_the_apostrophe_is_heard() -> None:
    """Text that the model is given has a place in its sound."""
    assert set(SYMBOLS) - path_config().sounds.keys() == {"'"}
