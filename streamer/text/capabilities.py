"""Finds what a text asks for that a model cannot do; the server warns of it, nothing is refused."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

SONG: Final = "♪"
_TAG: Final = re.compile(r"\[[A-Za-z][A-Za-z' -]{0,38}\]")
_SCRIPT_OF: Final = {
    "ru": "CYRILLIC", "uk": "CYRILLIC", "bg": "CYRILLIC", "sr": "CYRILLIC", "el": "GREEK", "hi": "DEVANAGARI",
    "mr": "DEVANAGARI", "ar": "ARABIC", "fa": "ARABIC", "ur": "ARABIC", "he": "HEBREW", "th": "THAI",
    "bn": "BENGALI", "ta": "TAMIL", "ko": "HANGUL", "zh": "CJK", "ja": "CJK", "ka": "GEORGIAN",
    "hy": "ARMENIAN",
}  # fmt: skip
_MORE_SCRIPTS: Final = {"ja": ("HIRAGANA", "KATAKANA"), "ko": ("CJK",)}
_LATIN: Final = "LATIN"
_KNOWN_SCRIPTS: Final = frozenset([_LATIN, *_SCRIPT_OF.values(), "HIRAGANA", "KATAKANA"])


@dataclass(frozen=True, slots=True)
class Unsupported:
    """`tags`: such as `[laughter]`, and `♪`; `scripts`: such as `CYRILLIC`. Each once, as first met."""

    tags: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()


def find_unsupported(text: str, languages: Collection[str], tags: Collection[str]) -> Unsupported:
    """What of `text` a model with these `languages` (`en`, …) and `tags` cannot say.

    Languages are told apart by their letters alone: German text is not noticed by a model for English.
    """
    known = {tag.strip("[]").lower() for tag in tags}
    found = dict.fromkeys(tag for tag in _TAG.findall(text) if tag.strip("[]").lower() not in known)
    if SONG in text and SONG not in known and "music" not in known:
        found[SONG] = None
    known_scripts = _scripts(languages)
    characters = dict.fromkeys(character for character in text if character.isalpha())
    scripts = dict.fromkeys(filter(None, map(_script, characters)))
    unknown = tuple(script for script in scripts if script not in known_scripts)
    return Unsupported(tuple(found), unknown if languages else ())


def _scripts(languages: Collection[str]) -> set[str]:
    scripts: set[str] = set()
    for language in languages:
        language = language.lower().partition("-")[0]
        scripts.add(_SCRIPT_OF.get(language, _LATIN))
        scripts.update(_MORE_SCRIPTS.get(language, ()))
    # Names and signs in Latin letters stand in every language's text.
    return scripts | {_LATIN}


def _script(letter: str) -> str:
    name = unicodedata.name(letter, "")
    first = name.partition(" ")[0]
    return first if first in _KNOWN_SCRIPTS else ""
