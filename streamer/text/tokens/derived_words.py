"""Phones of English words that a lexicon lacks, from the words they are made of: clank-ed, un-warmed, steam-fitter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

_VOICELESS: Final = frozenset("P T K F TH S SH CH".split())
_HISSING: Final = frozenset("S Z SH ZH CH JH".split())
_VOWELS: Final = "aeiouy"
_ENDINGS: Final = (
    # ending, what the word before it may have lost to it, phones
    ("iness", ("y",), "N AH0 S"),
    ("ness", ("",), "N AH0 S"),
    ("less", ("",), "L AH0 S"),
    ("ful", ("",), "F AH0 L"),
    ("ing", ("", "e"), "IH0 NG"),
    ("ied", ("y",), "past"),
    ("ed", ("", "e"), "past"),
    ("ily", ("y",), "lily"),
    ("ly", ("",), "L IY0"),
    ("er", ("", "e"), "ER0"),
    ("ies", ("y",), "plural"),
    ("'s", ("",), "plural"),
    ("s", ("",), "plural"),
    ("es", ("",), "plural"),
)
_BEGINNINGS: Final = (("un", "AH2 N"), ("re", "R IY0"))
_MIN_STEM, _MIN_PART = 3, 4
_MAX_PARTS: Final = 4
"""The most parts of a word, as in un-truth-ful-ly. Words with more do not exist, and would take long to look up."""


def derived(word: str, lexicon: Mapping[str, str], max_parts: int = _MAX_PARTS) -> str | None:
    """Return the phones of `word` (lower case) with spaces between; None if its parts are not in the lexicon either."""
    if max_parts < 2:
        return None
    splits = list(_splits(word))
    for max_inner in (1, max_parts - 1):  # a stem that is a word goes before one that is made of others
        for stem, beginning, ending in splits:
            found = lexicon.get(stem) or derived(stem, lexicon, max_inner)
            if found and found.strip():
                return _joined(beginning, found, ending)
    for place in range(len(word) - _MIN_PART, _MIN_PART - 1, -1):
        first, second = lexicon.get(word[:place]), lexicon.get(word[place:])
        if first and second:
            return f"{first} {second.replace('1', '2')}"
    return None


def _splits(word: str) -> Iterator[tuple[str, str, str]]:
    """Each (stem, phones of a beginning, phones of an ending) that the spelling allows, the likeliest first."""
    for ending, losses, phones in _ENDINGS:
        stem = word.removesuffix(ending)
        if stem == word or len(stem) < _MIN_STEM or (ending == "s" and stem[-1] == "s"):
            continue
        if ending == "es" and not stem.endswith(("s", "x", "z", "ch", "sh", "o")):
            continue
        stems = [stem + loss for loss in losses]
        if stem[-1] == stem[-2]:  # planned, but rolled
            stems.append(stem[:-1])
        elif stem[-1] in "cg" or (stem[-1] not in _VOWELS and stem[-2] in _VOWELS):  # danced, baked
            stems.reverse()
        yield from ((stem, "", phones) for stem in stems)
    for beginning, phones in _BEGINNINGS:
        stem = word.removeprefix(beginning)
        if stem != word and len(stem) >= _MIN_PART:
            yield stem, phones, ""


def _joined(beginning: str, stem: str, ending: str) -> str:
    """Join the parts: plural and past sound as the end of the stem asks; two equal consonants are one ("finally")."""
    phones = [*beginning.split(), *stem.split()]
    last = phones[-1]
    if ending == "plural":
        ending = "IH0 Z" if last in _HISSING else "S" if last in _VOICELESS else "Z"
    elif ending == "past":
        ending = "IH0 D" if last in ("T", "D") else "T" if last in _VOICELESS else "D"
    elif ending == "lily":  # readily
        phones[-1] = "AH0" if last == "IY0" else last
        ending = "L IY0"
    sounds = ending.split()
    is_double = sounds[:1] == phones[-1:] and last.isalpha()  # vowels end in their stress
    return " ".join(phones + sounds[is_double:])
