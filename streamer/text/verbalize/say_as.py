"""Writes out a text as SSML's `say-as` asks: letters by their names, digits one by one, dates in the order they say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from streamer.text.verbalize.languages import NUMBERING, WORDS
from streamer.text.verbalize.normalize import normalize, spell
from streamer.text.verbalize.spelling import Speller, speller

_SPELLED: Final = frozenset(["characters", "spell-out", "verbatim", "letters"])
_COUNTED: Final = frozenset(["cardinal", "number"])
_READ: Final = frozenset(["date", "time", "currency", "money", "unit", "fraction", "duration", "address"])
"""Kinds that `normalize` knows by how they are written."""
_BY_DIGITS: Final = frozenset(["digits", "telephone"])
_DIGIT_RUN: Final = re.compile(r"[0-9]+")
_ORDINAL_RULES: Final = ("spellout-ordinal-verbose", "spellout-ordinal", "spellout-ordinal-masculine")
"""CLDR's names of the usual form of an ordinal; a language has one of these."""


def say_as(text: str, attributes: Mapping[str, str], language: str) -> str | None:
    """Return `text` in words, by the attributes of the tag (`interpret-as`, `format`); None if that cannot be done."""
    kind, text = attributes.get("interpret-as", "").strip().lower(), text.strip()
    if not text:
        return None
    language = language.lower().partition("-")[0]
    if kind in _SPELLED:
        return _spelled(text, language)
    if language not in WORDS:
        return text if kind in _READ or kind in _COUNTED else None
    words = speller(language)
    if kind in _BY_DIGITS:
        return (", " if kind == "telephone" else " ").join(
            map(words.digits, _DIGIT_RUN.findall(text))
        ) or None
    if kind in _COUNTED or kind == "ordinal":
        return _counted(text, words, is_ordinal=kind == "ordinal")
    if kind not in _READ:
        return None
    if kind == "date":
        text = _dated(text, attributes.get("format", ""))
    # A comma would be a place to cut the sentence.
    return normalize(text, language, keeps_directions=True).replace(",", "")


def _spelled(text: str, language: str) -> str:
    """The characters one by one; in English letters are named, because a model reads `a` as a word."""
    names = (
        spell(character)
        if language == "en" and character.isascii() and character.isalpha()
        else speller(language).digits(character)
        if language in WORDS and character in "0123456789"
        else character
        for character in text
        if not character.isspace()
    )
    return " ".join(names)


def _counted(text: str, words: Speller, *, is_ordinal: bool) -> str | None:
    number = re.fullmatch(rf"(?P<minus>[-−]?)(?P<number>{words.number})\.?\w{{0,2}}", text)
    if number is None:
        return None
    whole, decimals = words.split(number["number"])
    if not is_ordinal:
        return f"{words.minus if number['minus'] else ''}{words.say(number['number'], NUMBERING)}"
    if decimals or not whole or len(whole) > 15:
        return None
    counted = (words.ordinal(int(whole), rules) for rules in _ORDINAL_RULES)
    cardinal = words.cardinal(int(whole))
    return next((ordinal for ordinal in counted if ordinal != cardinal), None)


def _dated(text: str, order: str) -> str:
    """A date in digits with its parts in `order`, such as `dmy`, as year, month and day; else as it is written."""
    parts = _DIGIT_RUN.findall(text)
    order = "".join(dict.fromkeys(letter for letter in order.lower() if letter in "ymd"))
    if len(parts) != 3 or set(order) != set("ymd"):
        return text
    found = dict(zip(order, parts, strict=True))
    year = found["y"] if len(found["y"]) > 2 else f"20{found['y']:0>2}"
    return f"{year:0>4}-{found['m']:0>2}-{found['d']:0>2}"
