"""Which letters languages are written in; asked by `language_detection` and `capabilities`."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from functools import lru_cache
from typing import Final

LATIN: Final = "LATIN"
KANA: Final = frozenset(["HIRAGANA", "KATAKANA"])
SYLLABIC: Final = frozenset([*KANA, "HANGUL", "CJK"])
"""Scripts whose letters take as long to say as a syllable."""
_SCRIPTS: Final = {
    "zh": ("CJK",), "ja": ("CJK", *sorted(KANA)), "ko": ("HANGUL", "CJK"), "ru": ("CYRILLIC",), "uk": ("CYRILLIC",),
    "bg": ("CYRILLIC",), "sr": ("CYRILLIC",), "el": ("GREEK",), "hi": ("DEVANAGARI",), "mr": ("DEVANAGARI",),
    "ar": ("ARABIC",), "fa": ("ARABIC",), "ur": ("ARABIC",), "he": ("HEBREW",), "th": ("THAI",), "bn": ("BENGALI",),
    "ta": ("TAMIL",), "ka": ("GEORGIAN",), "hy": ("ARMENIAN",),
}  # fmt: skip
"""Of languages that are not written in Latin letters; of those that share a script, the likeliest first."""
_KNOWN: Final = frozenset([LATIN, *(script for scripts in _SCRIPTS.values() for script in scripts)])


@lru_cache(maxsize=4096)
def script_of(character: str) -> str:
    """The script of a letter, by its name in Unicode; empty for other characters, and for scripts not known here."""
    if not character.isalpha():
        return ""
    name = unicodedata.name(character, "").removeprefix("FULLWIDTH ").removeprefix("HALFWIDTH ")
    script = name.partition(" ")[0].partition("-")[0]
    return script if script in _KNOWN else ""


def scripts_of(language: str) -> tuple[str, ...]:
    """The scripts of a language tag such as `en` or `zh-TW`."""
    return _SCRIPTS.get(base_language(language), (LATIN,))


def written_in(script: str, languages: Collection[str]) -> list[str]:
    """Those of `languages` that are written in `script`, another one than Latin; the likeliest first."""
    return [language for language, scripts in _SCRIPTS.items() if script in scripts and language in languages]


def base_language(language: str) -> str:
    """`zh` of the language tag `zh-TW`."""
    return language.lower().replace("_", "-").partition("-")[0]
