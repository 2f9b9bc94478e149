"""What the teacher is asked to say is what the text's symbols say."""

from __future__ import annotations

import pytest

from training.pronunciation import symbol_of_sound, text_ipa, word_sounds

LEXICON = {
    "better": "B EH1 T ER0",
    "a": "AH0",
    "button": "B AH1 T AH0 N",
    "fury": "F Y ER1 IY0",
    "no": "N OW1",
}


@pytest.mark.parametrize(
    ("phones", "said"),
    [
        ("B EH1 T ER0", "bˈɛɾɚ"),
        ("B AH1 T AH0 N", "bˈʌtən"),
        ("P AA1 R T IY0", "pˈɑːɹɾi"),
        ("F Y ER1 IY0", "fjˈɜːɹi"),
        ("AH0 B AW1 T", "ɐbˈaʊt"),
        ("S OW1 F AH0", "sˈoʊfə"),
        ("CH EH1 R IY2", "tʃˈɛɹˌiː"),
    ],
)
def test_phones_are_said_as_americans_do(phones: str, said: str) -> None:
    """Stress before its vowel, the short t between vowels, a linking r."""
    assert "".join(word_sounds(phones.split())) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A better button.", "ɐ bˈɛɾɚ bˈʌtən."),
        ("No! No, no?", "nˈoʊ, nˈoʊ, nˈoʊ?"),
        ("No - no; a-no", "nˈoʊ, nˈoʊ, ɐ nˈoʊ"),
        ("Xyz no.", "<xyz> nˈoʊ."),
    ],
)
def test_a_text_is_read_with_its_pauses(text: str, said: str) -> None:
    """Marks inside a text are pauses, its last one is its tune, and words that the lexicon lacks are guessed."""
    assert text_ipa(text, LEXICON, lambda word: f"<{word}>") == said


def test_every_sound_is_of_a_symbol() -> None:
    """Of a known word each is its phone's, of a guessed or spelled one about that of the letter where it is."""
    said = text_ipa("No xyz.", LEXICON, lambda _: "zɪzi")
    assert symbol_of_sound(said, "No xyz.", LEXICON, [2, 1, 3, 1]) == [0, 1, 1, 1, 2, 3, 3, 4, 5, 6]
    spelled = symbol_of_sound("bˈʌtən", "button", LEXICON, [6])
    assert spelled == [0, 1, 2, 3, 4, 5]
    assert symbol_of_sound("something else", "No.", LEXICON, [2, 1]) is None
