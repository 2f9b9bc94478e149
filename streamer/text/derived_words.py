"""Phones of English words that a lexicon lacks, from the words they are made of: iterate-s, un-warmed, steam-fitter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_VOICELESS: Final = frozenset("P T K F TH S SH CH".split())
_HISSING: Final = frozenset("S Z SH ZH CH JH".split())
_ENDINGS: Final = (
    # ending, what the word before it may have lost to it, phones
    ("'s", ("",), "plural"),
    ("ies", ("y",), "plural"),
    ("es", ("",), "plural"),
    ("s", ("",), "plural"),
    ("ied", ("y",), "past"),
    ("ed", ("", "e"), "past"),
    ("ing", ("", "e"), "IH0 NG"),
    ("er", ("", "e"), "ER0"),
    ("ily", ("y",), "L IY0"),
    ("ly", ("",), "L IY0"),
    ("iness", ("y",), "N AH0 S"),
    ("ness", ("",), "N AH0 S"),
    ("less", ("",), "L AH0 S"),
    ("ful", ("",), "F AH0 L"),
)
_BEGINNINGS: Final = (("un", "AH2 N"), ("re", "R IY0"))
_MIN_STEM, _MIN_PART = 3, 4
_MAX_PARTS: Final = 4
"""Of a word: un-truth-ful-ly. More are nobody's word, and would take long to look up."""


def derived(word: str, lexicon: Mapping[str, str], max_parts: int = _MAX_PARTS) -> str | None:
    """The phones of `word` (lower case) with spaces between; None where its parts are not in the lexicon either."""
    if max_parts < 2:
        return None
    for ending, losses, phones in _ENDINGS:
        stem = word.removesuffix(ending)
        if stem == word or len(stem) < _MIN_STEM:
            continue
        stems = [stem + loss for loss in losses]
        if stem[-1] == stem[-2]:  # planned
            stems.append(stem[:-1])
        for candidate in stems:
            if found := lexicon.get(candidate) or derived(candidate, lexicon, max_parts - 1):
                return _joined(found, phones)
    for beginning, phones in _BEGINNINGS:
        rest = word.removeprefix(beginning)
        if rest == word or len(rest) < _MIN_PART:
            continue
        if found := lexicon.get(rest) or derived(rest, lexicon, max_parts - 1):
            return f"{phones} {found}"
    for place in range(len(word) - _MIN_PART, _MIN_PART - 1, -1):
        first, second = lexicon.get(word[:place]), lexicon.get(word[place:])
        if first and second:
            return f"{first} {second}"
    return None


def _joined(stem: str, ending: str) -> str:
    """The plural's and the past's sounds follow that of the stem's end; two equal sounds are one ("finally")."""
    last = stem.split()[-1]
    if ending == "plural":
        ending = "IH0 Z" if last in _HISSING else "S" if last in _VOICELESS else "Z"
    elif ending == "past":
        ending = "IH0 D" if last in ("T", "D") else "T" if last in _VOICELESS else "D"
    return f"{stem} {ending}".replace("L L IY0", "L IY0")
