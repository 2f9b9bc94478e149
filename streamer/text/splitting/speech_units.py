"""How long a text takes to say, in units of a letter's time, and where its characters begin; used by `sentences`."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

MAX_SPEECH_UNITS: Final = 200
"""The longest sentence: some 13 s of speech, beyond which Bark loses the text."""
MAX_CLUSTER_CHARS: Final = 32
"""How far back a cut looks for the beginning of a character that is composed of several."""


_LONG: Final = re.compile(r"[0-9\u3040-\u9fff\uac00-\ud7a3]")
"""A digit, or a sign of a syllable: it takes as long to say as three letters."""


def is_at_least(text: str, units: int) -> bool:
    """Whether saying the text takes as long as `units` letters."""
    return len(text) >= units or len(text) + 2 * len(_LONG.findall(text)) >= units


def speech_limit(text: str) -> int:
    """How many characters fit into the longest sentence."""
    num_long = 0
    for long in _LONG.finditer(text, 0, MAX_SPEECH_UNITS):
        if long.end() + 2 * (num_long + 1) > MAX_SPEECH_UNITS:
            return min(long.start(), MAX_SPEECH_UNITS - 2 * num_long)
        num_long += 1
    return min(len(text), MAX_SPEECH_UNITS - 2 * num_long)


def cluster_start(text: str, position: int) -> int:
    """The last place up to `position` that is not inside a composed character."""
    for start in range(position, max(0, position - MAX_CLUSTER_CHARS), -1):
        if not _continues(text, start):
            return start
    return max(1, position)


def _continues(text: str, position: int) -> bool:
    """Whether the character at `position` belongs to the one before."""
    if position >= len(text):
        return False
    character = text[position]
    return (
        character == "\u200d"
        or text[position - 1] == "\u200d"
        or unicodedata.category(character) in ("Mn", "Me", "Mc")
        or "\U0001f3fb" <= character <= "\U0001f3ff"
        or ("\U0001f1e6" <= character <= "\U0001f1ff" and "\U0001f1e6" <= text[position - 1] <= "\U0001f1ff")
    )
