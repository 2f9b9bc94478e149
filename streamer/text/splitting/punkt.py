"""Judges with nltk's Punkt whether a stop ends its sentence; `borders` asks, word by word.

Punkt's verdict depends on the word before the stop and the word after it alone, so that is all it is given:
no text is read twice, and the work per stop is bounded.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from nltk.data import find
from nltk.tokenize.punkt import (
    _ORTHO_MID_LC,
    PunktParameters,
    PunktSentenceTokenizer,
    load_punkt_params,
)

from streamer.text.splitting.languages import LanguageTable, language_table

_INSIDE_WORDS: Final = re.compile(r"(?:[^\W_]|[.'’\-])+\Z")
_INITIALISM: Final = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")
_PLAIN_STOPS: Final = frozenset(".…‥")


class SentenceEndClassifier:
    """Whether stops end sentences in one language."""

    def __init__(self, table: LanguageTable) -> None:
        self._table = table
        self._parameters = _parameters(table)
        self._punkt = PunktSentenceTokenizer(self._parameters)
        self._colliding = {first for first, _ in self._parameters.collocations}
        self._contains_break = lru_cache(maxsize=4096)(self._punkt.text_contains_sentbreak)

    def ends(self, word: str, stops: str, next_word: str) -> bool:
        """Whether `word` + `stops` ends its sentence where `next_word` follows."""
        if not _PLAIN_STOPS.issuperset(stops):
            return True
        word = self._type(word)
        if word in self._table.titles:
            return False
        mark = "." if stops == "." else "..."
        return bool(self._contains_break(f"{word}{mark} {next_word}"))

    def needs_next_word(self, word: str, stops: str) -> bool:
        """Whether the verdict depends on the next word, which must then be known to its end."""
        if not _PLAIN_STOPS.issuperset(stops):
            return False
        word = self._type(word)
        if word in self._table.titles:
            return False
        return (
            stops != "."
            or len(word) <= 1
            or word[-1].isdigit()
            or word in self._colliding
            or word in self._parameters.abbrev_types
            or word.rpartition("-")[2] in self._parameters.abbrev_types
        )

    @staticmethod
    def _type(word: str) -> str:
        # As Punkt would part it from signs before it, so that one word remains one to Punkt.
        inside = _INSIDE_WORDS.search(word)
        word = re.split(r"\.\.+|--+", inside.group().lower())[-1].lstrip(".-'’") if inside else ""
        # Any "X.Y" is an abbreviation, and `u.s` is one that each table has.
        return "u.s" if _INITIALISM.fullmatch(word) else word


@lru_cache(maxsize=32)
def sentence_end_classifier(language: str) -> SentenceEndClassifier:
    """The judge of a language; the user's `punkt_tab` is used where it is installed."""
    return SentenceEndClassifier(language_table(language))


def _parameters(table: LanguageTable) -> PunktParameters:
    parameters = _installed_parameters(table.punkt_name)
    parameters.abbrev_types |= table.abbreviations | table.titles | {"u.s"}
    if table.has_ordinal_stops:
        parameters.abbrev_types |= {str(number) for number in range(1, 101)}
    parameters.collocations |= {(word, "##number##") for word in table.before_numbers}
    # "I" begins sentences but is an initial as well: only the weaker table may have it.
    parameters.sent_starters |= table.starters | {"i"}
    for word in table.starters:
        parameters.add_ortho_context(word, _ORTHO_MID_LC)
    return parameters


def _installed_parameters(punkt_name: str) -> PunktParameters:
    if punkt_name:
        try:
            return load_punkt_params(find(f"tokenizers/punkt_tab/{punkt_name}/"))
        except LookupError:
            pass  # the usual case: our tables stand alone
    return PunktParameters()
