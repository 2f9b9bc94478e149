"""The teacher is asked to say the same as the text's symbols."""

from __future__ import annotations

import pytest

from training.pronunciation import espeak_signs, symbol_of_sign, text_signs, word_signs

LEXICON = {
    "better": "B EH1 T ER0",
    "a": "AH0",
    "an": "AH0 N",
    "the": "DH AH0",
    "to": "T AH0",
    "apple": "AE1 P AH0 L",
    "no": "N OW1",
    "house": "HH AW1 S",
}


def said(text: str) -> str:
    pieces = text_signs(text, LEXICON, lambda word: f"<{word}>")
    return "".join(sign for piece in pieces for sign in piece)


@pytest.mark.parametrize(
    ("phones", "signs"),
    [
        ("B EH1 T ER0", "bˈɛTəɹ"),
        ("B AH1 T AH0 N", "bˈʌtᵊn"),
        ("P IY1 P AH0 L", "pˈipᵊl"),
        ("P AA1 R T IY0", "pˈɑɹTi"),
        ("F Y ER1 IY0", "fjˈɜɹi"),
        ("AH0 B AW1 T", "əbˈWt"),
        ("S OW1 F AH0", "sˈOfə"),
        ("CH EH1 R IY2", "ʧˈɛɹˌi"),
        ("T ER1 R AH0", "tˈɜɹə"),
        ("K AH0 N T R OW1 L", "kəntɹˈOl"),
    ],
)
def test_phones_are_said_as_americans_do(phones: str, signs: str) -> None:
    """Stress comes before its vowel; t between vowels is short; an r is never said twice."""
    made = word_signs(phones.split())
    assert "".join(made) == signs
    assert len(made) == len(phones.split())


@pytest.mark.parametrize(
    ("text", "signs"),
    [
        ("A better house.", "ɐ bˈɛTəɹ hˈWs."),
        ("No! No, no?", "nˈO! nˈO, nˈO?"),
        ("No; no: no", "nˈO; nˈO: nˈO"),
        ("No - no -- no, a-no", "nˈO— nˈO— nˈO, ɐ nˈO"),
        ("No... no.", "nˈO… nˈO."),
        ('"No," - no.', "nˈO, nˈO."),
        ("Xyz no.", "<xyz> nˈO."),
    ],
)
def test_a_text_is_read_with_its_marks(text: str, signs: str) -> None:
    """Marks reach the teacher, because they carry the melody; a word that the lexicon lacks is guessed."""
    assert said(text) == signs


@pytest.mark.parametrize(
    ("text", "signs"),
    [
        ("the apple", "ði ˈæpᵊl"),
        ("the house", "ðə hˈWs"),
        ("the, apple", "ðə, ˈæpᵊl"),
        ("to an apple", "tʊ ən ˈæpᵊl"),
        ("to the house", "tə ðə hˈWs"),
        ("the", "ðə"),
        ("a house, a", "ɐ hˈWs, ɐ"),
    ],
)
def test_small_words_follow_the_next_one(text: str, signs: str) -> None:
    """`the` and `to` have another vowel before a vowel, unless there is a pause between."""
    assert said(text) == signs


@pytest.mark.parametrize(
    ("phonemes", "signs"),
    [("bˈeɪkɚ", "bˈAkəɹ"), ("tʃˈɜːtʃ", "ʧˈɜɹʧ"), ("bˈʌʔn̩", "bˈʌtᵊn"), ("ɡˈoʊɾ", "ɡˈOT"), ("bˈɜːɹd", "bˈɜɹd")],
)
def test_espeak_is_read_in_the_teachers_signs(phonemes: str, signs: str) -> None:
    """Diphthongs and affricates are one sign each, and there is no sign for length."""
    assert espeak_signs(phonemes) == signs


def test_every_sign_is_of_a_symbol() -> None:
    """A sign of a known word belongs to its phone, one of a guessed or spelled word to a letter near it."""
    pieces = text_signs("No xyz.", LEXICON, lambda _: "zɪzi")
    assert symbol_of_sign(pieces, [2, 1, 3, 1]) == [0, 1, 1, 2, 3, 3, 4, 5, 6]
    assert symbol_of_sign([["b", "ˈʌ", "t", "ᵊ", "n"]], [12]) == [0, 2, 4, 6, 8, 10]
    assert symbol_of_sign([["n", "ˈO"], [", "], ["n", "ˈO"]], [2, 1, 2]) == [0, 1, 1, 2, 2, 3, 4, 4]
