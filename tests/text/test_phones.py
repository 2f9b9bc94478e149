"""Phones of a word: the model's own, or English IPA, and how they are carried through a text."""

from __future__ import annotations

import pytest

from streamer.text.clean import sanitize
from streamer.text.phones import MAX_PHONES, annotated, read_phones, without_phones

ARPABET = [
    *"B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH".split(),
    *(
        f"{vowel}{stress}"
        for vowel in "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split()
        for stress in "012"
    ),
]


@pytest.mark.parametrize(
    ("text", "phones"),
    [
        ("T AH0 M EY1 T OW2", "T AH0 M EY1 T OW2"),
        ("T AH M EY1 T OW", "T AH0 M EY1 T OW0"),
        ("təˈmeɪtoʊ", "T AH0 M EY1 T OW0"),
        ("təˈmɑːtəʊ", "T AH0 M AA1 T OW0"),
        ("dʒɪf", "JH IH0 F"),
        ("d͡ʒɪf", "JH IH0 F"),
        ("ˈtʃɔɪs", "CH OY1 S"),
        ("ˈwɝd ˌθɪŋ", "W ER1 D TH IH2 NG"),
        ("ˈɡʊd.ˈʒæm", "G UH1 D ZH AE1 M"),
    ],
)
def test_phones_are_read(text: str, phones: str) -> None:
    """A vowel may lack its stress, and IPA may have ties, lengths and borders of syllables."""
    assert read_phones(text, ARPABET) == tuple(phones.split())


@pytest.mark.parametrize("text", ["", " ", "XX", "ʘ", "T Q9", "hello!", "ˈ", "T " * (MAX_PHONES + 1), "日本"])
def test_what_is_no_phone_is_none(text: str) -> None:
    """A sign that is not known, nothing at all, or too many."""
    assert read_phones(text, ARPABET) is None


def test_a_model_without_phones_has_none() -> None:
    """Nothing can be given in phones to a model that reads letters."""
    assert read_phones("T AH0", ()) is None


def test_other_phones_than_arpabets_are_taken_as_they_are() -> None:
    """A model's phones may be any signs; they are parted by spaces."""
    assert read_phones("ˈtʰ a", ("ˈtʰ", "a")) == ("ˈtʰ", "a")


def test_phones_are_carried_beside_their_word() -> None:
    """The word can be had back, and no client can write such a thing."""
    text = f"a {annotated('tomato', ('T', 'AH0'))}, please"
    assert without_phones(text) == "a tomato, please"
    assert sanitize(text) == "a tomatoT·AH0, please"
