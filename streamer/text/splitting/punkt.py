"""Decides with nltk's Punkt whether a stop ends its sentence; `boundaries` asks, word by word.

Punkt weighs what it knows of the word before the stop and of the word after it: abbreviations, initials, ordinals,
words that often begin sentences. That weighing is its part here. Ours is to find the stops, to hand it the two words,
and to tell it what it has to know of each language (`languages`). No text is read twice, and the work per stop is
bounded.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from functools import lru_cache
from types import ModuleType
from typing import Any, Final

from streamer.text.splitting.languages import LanguageTable, language_table

_INSIDE_WORDS: Final = re.compile(r"(?:[^\W_]|[.'’\-])+\Z")
_INITIALISM: Final = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")
_UNIT: Final = re.compile(r"[\d°º] ?[^\W\d_]\Z")
"""A letter behind a number, as in `98.6°F` and `5 m`, is no initial."""
_NAMED_LETTER: Final = re.compile(r"([^\W\d_]+) [^\W\d_]\Z")
_PLAIN_STOPS: Final = frozenset(".…‥")


def _import_punkt() -> ModuleType:
    """`nltk.tokenize.punkt` alone.

    nltk's packages import all of nltk with themselves: 0.3 s, 28 MB, and a downloader that raises an error if the
    user has no home directory. So the module is imported below empty packages, which are gone afterwards: another
    `import nltk` in this process finds the whole library.
    """
    if "nltk" in sys.modules:
        return importlib.import_module("nltk.tokenize.punkt")
    try:
        for name in ("nltk", "nltk.tokenize"):
            spec = importlib.util.find_spec(name)
            if spec is None or spec.submodule_search_locations is None:
                raise ModuleNotFoundError(f"the package {name} is not installed", name=name)
            package = ModuleType(name)
            package.__path__ = list(spec.submodule_search_locations)
            sys.modules[name] = package
        return importlib.import_module("nltk.tokenize.punkt")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "nltk"]:
            del sys.modules[name]


_punkt: Final = _import_punkt()


class SentenceEndClassifier:
    """Whether stops end sentences in one language."""

    def __init__(self, table: LanguageTable) -> None:
        self._table = table
        self._parameters = _parameters(table)
        self._colliding = {first for first, _ in self._parameters.collocations}
        tokenizer = _punkt.PunktSentenceTokenizer(self._parameters)
        self._contains_break = lru_cache(maxsize=4096)(tokenizer.text_contains_sentbreak)

    def ends(self, word: str, stops: str, next_word: str) -> bool:
        """Return whether `word` + `stops` ends its sentence if `next_word` follows.

        `word` may have the word before it, by which a unit and a named letter ("vitamin C") are told from an initial.
        """
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

    def begins(self, word: str) -> bool:
        """Whether the capital of `word` shows that a sentence begins, because in mid-sentence it has none."""
        return word.lower() in self._table.starters or word == "I"

    def _type(self, word: str) -> str:
        """The word as Punkt would part it from signs before it, so that one word remains one to Punkt."""
        named = _NAMED_LETTER.search(word)
        if _UNIT.search(word) or (named and named[1].lower() in self._table.before_letters):
            return "letter"
        inside = _INSIDE_WORDS.search(word)
        word = re.split(r"\.\.+|--+", inside.group().lower())[-1].lstrip(".-'’") if inside else ""
        # Any "X.Y" is an abbreviation, and `u.s` is one that each table has.
        return "u.s" if _INITIALISM.fullmatch(word) else word


@lru_cache(maxsize=32)
def sentence_end_classifier(language: str) -> SentenceEndClassifier:
    """The classifier of a language tag; unknown languages share a nearly empty one."""
    return SentenceEndClassifier(language_table(language))


def _parameters(table: LanguageTable) -> Any:
    parameters = _punkt.PunktParameters()
    parameters.abbrev_types |= table.abbreviations | table.titles | {"u.s"}
    if table.has_ordinal_stops:
        parameters.abbrev_types |= {str(number) for number in range(1, 101)}
    parameters.collocations |= {(word, "##number##") for word in table.before_numbers}
    # "I" begins sentences but is an initial as well: only the weaker table may have it.
    parameters.sent_starters |= table.starters | {"i"}
    for word in table.starters:
        parameters.add_ortho_context(word, _punkt._ORTHO_MID_LC)
    return parameters
