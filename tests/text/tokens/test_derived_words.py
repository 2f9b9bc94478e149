"""Words that the lexicon lacks are pronounced by their parts."""

from __future__ import annotations

import pytest

from streamer.text.tokens.derived_words import derived

LEXICON = {
    "iterate": "IH1 T ER0 EY2 T",
    "happy": "HH AE1 P IY0",
    "wish": "W IH1 SH",
    "plan": "P L AE1 N",
    "final": "F AY1 N AH0 L",
    "steam": "S T IY1 M",
    "fitter": "F IH1 T ER0",
    "truth": "T R UW1 TH",
    "bake": "B EY1 K",
    "cat": "K AE1 T",
    "rage": "R EY1 JH",
    # Tempting, and no stems of the words below.
    "rag": "R AE1 G",
    "bak": "B AE1 K",
    "happines": "HH AE1 P AY1 N Z",
    "planles": "P L AE1 N AH0 L Z",
}


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("iterates", "IH1 T ER0 EY2 T S"),
        ("iterated", "IH1 T ER0 EY2 T IH0 D"),
        ("wishes", "W IH1 SH IH0 Z"),
        ("wished", "W IH1 SH T"),
        ("plans", "P L AE1 N Z"),
        ("planned", "P L AE1 N D"),
        ("planner's", "P L AE1 N ER0 Z"),
        ("baking", "B EY1 K IH0 NG"),
        ("finally", "F AY1 N AH0 L IY0"),
        ("happily", "HH AE1 P AH0 L IY0"),
        ("happiness", "HH AE1 P IY0 N AH0 S"),
        ("planless", "P L AE1 N L AH0 S"),
        ("fitterer", "F IH1 T ER0 ER0"),
        ("finalless", "F AY1 N AH0 L AH0 S"),
        ("baked", "B EY1 K T"),
        ("bakes", "B EY1 K S"),
        ("raging", "R EY1 JH IH0 NG"),
        ("steamfitter", "S T IY1 M F IH2 T ER0"),
        ("untruthfully", "AH2 N T R UW1 TH F AH0 L IY0"),
    ],
)
def test_a_word_is_pronounced_by_its_parts(word: str, phones: str) -> None:
    """Endings sound as the stem's end asks; spelling's doubled and lost letters are seen through."""
    assert derived(word, LEXICON) == phones


@pytest.mark.parametrize(
    "word", ["", "s", "cats'", "xyzzy", "catfit", "s" * 5_000, "un" * 5_000, "ing" * 2_000]
)
def test_other_words_are_not_guessed(word: str) -> None:
    """Parts that are no words, short ones, and words without end: None, and soon."""
    assert derived(word, LEXICON) is None
