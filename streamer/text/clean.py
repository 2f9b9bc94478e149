"""Makes text clean as it arrives, for all that is shown or spoken; `text_feed` does it piece by piece."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

MAX_MARKS: Final = 8
"""Marks on one character; more are an attack on the software that composes or draws them."""

_CONTROL: Final = re.compile(
    r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff\ufeff\u202a-\u202e\u2066-\u2069\ufff9-\ufffb]"
)
_SEPARATORS: Final = str.maketrans(dict.fromkeys("\x1c\x1d\x1e\x1f", " "))
"""Control characters that are white space to Python, and so to the original Bark."""
_SPACE_BEFORE_MARK: Final = re.compile(r" (?=[,.?!;:…])")


class Composer:
    """Makes clean text of pieces: the same text in composed form (NFC), however it is cut.

    Control characters, lone surrogates and towers of marks are dropped; line ends, tabs and joiners stay. The last
    character is held back while a mark may follow that composes with it. Linear in the length of the text.
    """

    def __init__(self) -> None:
        self.held = ""
        """The character at the end, with its marks, that is not given out yet."""

    def push(self, text: str) -> str:
        """Append a piece; returns the text that nothing can change any more."""
        text = _CONTROL.sub("", text).translate(_SEPARATORS)
        if not text:
            return ""
        if not (self.held + text).isascii():
            text = _without_towers(self.held + text)
        else:
            text = self.held + text
        start = _last_character(text)
        self.held = text[start:]
        return _composed(text[:start])

    def finish(self) -> str:
        """The text that was held back; what follows is composed without it."""
        text, self.held = _composed(self.held), ""
        return text


def sanitize(text: str) -> str:
    """A whole text made clean: see `Composer`."""
    if text.isascii() and text.isprintable():
        return text
    composer = Composer()
    return composer.push(text) + composer.finish()


def tidy(text: str) -> str:
    """The text with single spaces, and none before a stop or a comma."""
    return _SPACE_BEFORE_MARK.sub("", " ".join(text.split()))


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _without_towers(text: str) -> str:
    kept: list[str] = []
    num_marks = 0
    for character in text:
        num_marks = num_marks + 1 if _is_mark(character) else 0
        if num_marks <= MAX_MARKS:
            kept.append(character)
    return "".join(kept)


def _last_character(text: str) -> int:
    """Return the begin of the last character, of which a mark behind the text may still become a part."""
    start = len(text) - 1
    while start > 0 and _continues(text[start - 1], text[start]):
        start -= 1
    may_compose = start < len(text) - 1 or unicodedata.category(text[start])[0] in "LMS"
    return start if may_compose else len(text)


def _continues(before: str, character: str) -> bool:
    """Whether `character` may be composed with the one before it."""
    if "\u1160" <= character <= "\u11a7":  # a vowel of Hangul, behind a consonant that begins a syllable
        return "\u1100" <= before <= "\u115f"
    if "\u11a8" <= character <= "\u11ff":  # a final consonant, behind a vowel
        return "\u1160" <= before <= "\u11a7" or "\uac00" <= before <= "\ud7a3"
    return _is_mark(character)


def _is_mark(character: str) -> bool:
    return character > "\x7f" and unicodedata.category(character)[0] == "M"
