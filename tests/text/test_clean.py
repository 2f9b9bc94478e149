"""Text made clean, in one piece and in many."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.text.clean import MAX_MARKS, Composer, sanitize

FRAGMENTS = [
    *"ab .<=1\n\x00\x1c\u0301\u0323\u0308\u0338\u3099\u309aかは가각ᄀ까ᅥᆨᆩ\u00a8éộ\u212b\u0958",
    *("\u09c7", "\u09be", "\u0cc6", "\u0cc2", "\u0cd5", "\u0b47", "\u0b56", "😊", "\ufe0f", "\u200d", "中"),
    *("\u0301" * 12, "e\u0302\u0301", "ᄒ" + "ᅡ" + "ᆫ", "ᅡ" * 12),
]


def composed(pieces: list[str]) -> str:
    composer = Composer()
    return "".join(map(composer.push, pieces)) + composer.finish()


@given(text=st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join), size=st.integers(1, 4))
def test_pieces_do_not_matter(text: str, size: int) -> None:
    """Clean text is the same however it was cut, in composed form, and little of it is held back."""
    whole = sanitize(text)
    assert composed([text[start : start + size] for start in range(0, len(text), size)]) == whole
    assert composed(list(text)) == whole == unicodedata.normalize("NFC", whole)
    composer = Composer()
    for character in text:
        composer.push(character)
        assert len(composer.held) <= MAX_MARKS + 3


@pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        (["Cafe", "\u0301 is open."], "Caf\u00e9 is open."),
        (["ᄒ", "ᅡ", "ᆫ", "ᄀ", "ᅳ", "ᆯ"], "한글"),
        (["하", "ᆫ"], "한"),
        (["か", "\u3099き"], "がき"),
        (["Vie", "\u0302", "\u0323", "t"], "Việt"),
        (["a", "\u0323", "\u0302"], "ậ"),
        (["и", "\u0306"], "й"),
        (["\u0928", "\u093c"], "\u0929"),
        (["\u09c7", "\u09be"], "\u09cb"),
        (["<", "\u0338"], "\u226e"),
        (["e", "\x00", "\u0301"], "é"),
        (["q", "\u0301"], "q\u0301"),
        (["👩", "\u200d", "🚀"], "👩\u200d🚀"),
    ],
)
def test_marks_join_the_letter_of_the_piece_before(pieces: list[str], whole: str) -> None:
    """Accents, Hangul's letters, kana's voicing and signs of India are composed across pieces."""
    assert composed(pieces) == whole


def test_all_that_composes_is_held_back() -> None:
    """No character of Unicode that composes with a later one is given out before that one may come."""
    missed = []
    for code in range(sys.maxunicode + 1):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            pieces = [chr(int(part, 16)) for part in parts]
            if composed(pieces) != unicodedata.normalize("NFC", "".join(pieces)):
                missed.append(hex(code))
    assert missed == []


def test_nothing_is_held_where_nothing_can_be_composed() -> None:
    """A stop, a space or a digit at the end of a piece is given out at once."""
    for text in ("It is done.", "Is it?", "well ", "in 2026", "好。", "wait…", "(so)"):
        assert Composer().push(text) == text


@pytest.mark.parametrize(
    ("written", "clean"),
    [
        ("a\x00b\ud800c\u202e\x1b[0m\n\td", "abc[0m\n\td"),
        ("👩\u200d🚀 e\u0301", "👩\u200d🚀 \u00e9"),
        ("c\x1cd\x1de\x1ef\x1fg", "c d e f g"),
        ("a\x85b\x0bc\x0cd", "a\x85b\x0bc\x0cd"),
        ("a\u00a0b\u3000c\u2028d", "a\u00a0b\u3000c\u2028d"),
        ("\ufeffa\x7fb\x9fc", "abc"),
        ("क्\u200dष न\u093c।", "क्\u200dष \u0929।"),
        ("\u2126\u212b", "Ωå".upper()),
    ],
)
def test_what_could_do_harm_is_dropped(written: str, clean: str) -> None:
    """Control characters and lone surrogates go, separators are spaces; line ends and joiners stay."""
    assert sanitize(written) == clean


def test_towers_of_marks_are_cut() -> None:
    """At most eight marks stay on one character, in one piece or in many."""
    tower = "x" + "\u0323" * 5000
    assert sanitize(tower) == composed(list(tower)) == "x" + "\u0323" * MAX_MARKS
