"""The signs that `boundaries` and `glued_stops` look for: stops, closing signs, words, and symbols."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

MAX_RUN_CHARS: Final = 64
"""White space or signs in a row that are taken as one."""
MAX_WORD_CHARS: Final = 64
WIDE_STOPS: Final = "。！？｡؟۔।॥"
"""Stops that need no space after them."""
NARROW_STOPS: Final = ".?!…‥‽⁇⁈⁉‼"
STOPS: Final = NARROW_STOPS + WIDE_STOPS
CLOSERS: Final = "\"'”’»›)]}*_~`」』】》〉）］｝"
"""What may stand between a stop and the space behind it."""
WORD: Final = re.compile(rf"[^\W_][\w'’]{{0,{MAX_WORD_CHARS}}}")


def is_symbol(character: str) -> bool:
    """Whether the character is an emoji or a part of one."""
    return character > "\u200a" and unicodedata.category(character) in ("So", "Sk", "Mn", "Cf")


def last_token(text: str, end: int) -> str:
    """Return the characters before `end` up to white space, or none if white space is before it."""
    start = max(0, end - MAX_WORD_CHARS)
    return "" if text[end - 1 : end].isspace() else next(iter(text[start:end].split()[-1:]), "")
