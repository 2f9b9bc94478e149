"""Finds the language of a piece of text among those a model speaks: by its letters, else by its words.

`sentences` asks once for each stop that may end a sentence, and once for each sentence. The answer depends on
the text alone. docs/decisions/0014 says how well this works and what it costs.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from streamer.text.scripts import KANA, LATIN, SYLLABIC, script_of, written_in
from streamer.text.tags import SPEAKER, TAG

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

AUTO: Final = "auto"
"""The setting by which the language is detected."""
LATIN_LANGUAGES: Final = frozenset(["en", "de", "es", "fr", "it", "pl", "pt", "tr"])
"""Of those with a table in `languages`, the ones that letters alone do not tell apart."""
MIN_PROBABILITY: Final = 0.6
"""Words that are less clear ("Berlin", "ok") count as the language of the sentence before."""
MAX_KANJI: Final = 10
"""A longer text in Chinese signs alone is not Japanese, even behind a Japanese sentence."""

_UNSPOKEN: Final = re.compile(rf"{TAG}|\S+@\S+|https?://\S+|\b{SPEAKER}(?=\s)")
_REPEATED: Final = re.compile(r"\b(\w+)(?:\W+\1\b)+", re.IGNORECASE)
_SYLLABLE_LETTERS: Final = 3
"""Letters that take as long to say as a sign of Chinese, Japanese or Korean."""


class LanguageDetector:
    """Tells apart `languages`, the tags of a model such as `en`; the first is the default."""

    def __init__(self, languages: tuple[str, ...]) -> None:
        self.languages = languages
        self._latin = tuple(language for language in languages if language in LATIN_LANGUAGES)
        self._identifier = _load_identifier(self._latin) if len(self._latin) > 1 else None
        self._by_words = lru_cache(maxsize=1024)(self._identify)

    def find(self, text: str, before: str) -> str:
        """Return the language of `text`; `before`, that of the sentence before, if the text alone is unclear."""
        text = _UNSPOKEN.sub(" ", text)
        script = _main_script(text)
        if script == LATIN:
            if self._latin and before not in self._latin:
                before = self._latin[0]
            return self._by_words(text) or before
        known = written_in(script, self.languages)
        if before == "ja" and len(text) > MAX_KANJI and "zh" in known:
            return "zh"
        return before if before in known or not known else known[0]

    def _identify(self, text: str) -> str | None:
        if self._identifier is None:
            return None
        language, probability = self._identifier.classify(said_once(text))
        return str(language) if probability >= MIN_PROBABILITY else None


@lru_cache(maxsize=8)
def language_detector(languages: tuple[str, ...]) -> LanguageDetector:
    """Return the detector of a model's languages; loading takes up to a second if several are in Latin script."""
    return LanguageDetector(languages)


def said_once(text: str) -> str:
    """Return `text` with a word that is said several times in a row, which tells no more of a language, once."""
    return _REPEATED.sub(r"\1", text)


def _load_identifier(languages: tuple[str, ...]) -> LanguageIdentifier:
    # Imported here, because its tables take 100 MB that a model of one language has no use for.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(languages)
    return identifier


def _main_script(text: str) -> str:
    """The script that most of the text's sound is written in; empty without letters."""
    counts: Counter[str] = Counter()
    for character, count in Counter(text).items():
        if script := script_of(character):
            counts[script] += count * (_SYLLABLE_LETTERS if script in SYLLABIC else 1)
    if kana := sum(
        counts.pop(script, 0) for script in KANA
    ):  # Japanese has most of its words in Chinese signs
        counts["HIRAGANA"] = kana + counts.pop("CJK", 0)
    return max(sorted(counts), key=counts.__getitem__) if counts else ""
