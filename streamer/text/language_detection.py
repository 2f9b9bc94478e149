"""Finds the language of a piece of text among those a model speaks: by its letters, else by its words.

`sentences` asks once for each stop that may end a sentence, and once for each sentence. The answer depends on
the text alone. docs/decisions/0014 says how well this works and what it costs.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from streamer.text.tags import SPEAKER, TAG

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

AUTO: Final = "auto"
"""The setting that has the language found."""
LATIN_LANGUAGES: Final = frozenset(["en", "de", "es", "fr", "it", "pl", "pt", "tr"])
"""Of those with a table in `languages`, the ones that letters alone do not tell apart."""
MIN_PROBABILITY: Final = 0.6
"""Words that are less clear ("Berlin", "ok") are taken to be in the language spoken before them."""
MAX_KANJI: Final = 10
"""A longer text in Chinese signs alone is not Japanese, though what stands before it is."""

_UNSPOKEN: Final = re.compile(rf"{TAG}|\S+@\S+|https?://\S+|\b{SPEAKER}(?=\s)")
_SYLLABLE_LETTERS: Final = 3
"""A Chinese, Japanese or Korean sign takes as long to say as so many letters."""
_LANGUAGES_OF: Final = {
    "DEVANAGARI": ("hi",),
    "HANGUL": ("ko",),
    "KANA": ("ja",),
    "HAN": ("zh", "ja"),
    "CYRILLIC": ("ru",),
}


class LanguageDetector:
    """Tells apart `languages`, the tags of a model such as `en`; the first is the one for want of a better."""

    def __init__(self, languages: tuple[str, ...]) -> None:
        self.languages = languages
        self._latin = tuple(language for language in languages if language in LATIN_LANGUAGES)
        self._identifier = _load_identifier(self._latin) if len(self._latin) > 1 else None
        self._by_words = lru_cache(maxsize=1024)(self._identify)

    def find(self, text: str, before: str) -> str:
        """The language of `text`; that of the sentence `before` it where the text alone does not say."""
        text = _UNSPOKEN.sub(" ", text)
        script = _script(text)
        if script == "LATIN":
            if self._latin and before not in self._latin:
                before = self._latin[0]
            return self._by_words(text) or before
        known = [language for language in _LANGUAGES_OF.get(script, ()) if language in self.languages]
        if before == "ja" and len(text) > MAX_KANJI and "zh" in known:
            return "zh"
        return before if before in known or not known else known[0]

    def _identify(self, text: str) -> str | None:
        if self._identifier is None:
            return None
        language, probability = self._identifier.classify(text)
        return str(language) if probability >= MIN_PROBABILITY else None


@lru_cache(maxsize=8)
def language_detector(languages: tuple[str, ...]) -> LanguageDetector:
    """The detector of a model's languages; loading it takes up to a second where several are in Latin script."""
    return LanguageDetector(languages)


def _load_identifier(languages: tuple[str, ...]) -> LanguageIdentifier:
    # Imported here, because its tables take 100 MB that a model of one language has no use for.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(languages)
    return identifier


def _script(text: str) -> str:
    """The script that most of the text's sound is written in: LATIN, HAN, KANA, …; empty without letters."""
    counts: Counter[str] = Counter()
    for character, count in Counter(text).items():
        script = _script_of(character)
        if script:
            is_syllable = script in ("HAN", "KANA", "HANGUL")
            counts[script] += count * (_SYLLABLE_LETTERS if is_syllable else 1)
    if counts["KANA"]:  # Japanese has most of its words in Chinese signs
        counts["KANA"] += counts.pop("HAN", 0)
    return max(sorted(counts), key=counts.__getitem__) if counts else ""


@lru_cache(maxsize=4096)
def _script_of(character: str) -> str:
    if character.isascii():
        return "LATIN" if character.isalpha() else ""
    if not character.isalpha():
        return ""
    name = unicodedata.name(character, "").removeprefix("FULLWIDTH ").removeprefix("HALFWIDTH ")
    first = name.partition(" ")[0]
    return {"HIRAGANA": "KANA", "KATAKANA": "KANA", "KATAKANA-HIRAGANA": "KANA", "CJK": "HAN"}.get(
        first, first
    )
