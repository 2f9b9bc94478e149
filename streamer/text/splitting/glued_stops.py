"""Finds stops that end a sentence with no space behind them, as in `It is done.The next one follows.`

Writers forget the space, and language models do so after a tool call. `boundaries` asks about each such stop. Stops
inside hosts, file names, numbers, abbreviations and identifiers are no ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from streamer.text.splitting.punkt import SentenceEndClassifier
from streamer.text.splitting.signs import CLOSERS, MAX_RUN_CHARS, WORD, is_symbol, last_token
from streamer.text.tags import NOTES, TAG

_OPENERS: Final = "“„«‹‘\"'¿¡*_~`"
_OPENING: Final = re.compile(rf"(?:{TAG}\s{{0,{MAX_RUN_CHARS}}}|[{_OPENERS}])*+")
"""What may stand between the end and the next sentence's first word."""
_OPEN_TAG: Final = re.compile(r"\[[^\[\]\n]{0,40}\Z")
_ADDRESS_SIGN: Final = re.compile(r"[/@\\=&#<>|]|::|[^\W_]_[^\W_]")
"""A word with one of these is an address, a path, or an identifier."""
_WHOLE_ADDRESS: Final = re.compile(r"(?:[a-z]+://|[^\s/@:]{1,64}@)(?:[a-z0-9-]+\.)+[a-z]{2,6}")
"""An address of lower-case letters up to its top-level domain, behind which a capital begins a sentence."""
_CAMEL_CASE: Final = re.compile(r"[a-z][A-Z]")
_UNIT: Final = re.compile(r"[\d°º][^\W\d_]?\Z|%\Z")
_LIST_NUMBER: Final = re.compile(r"\d{1,2}")
_CODE_AFTER: Final = "(@/\\_=<"
"""What follows a word of an identifier or an address, and no word that begins a sentence."""


@dataclass(frozen=True, slots=True)
class GluedStop:
    """An end at `position`, or one that is open until more text is there."""

    position: int
    is_open: bool = False


def find_glued_stop(
    text: str, start: int, end: int, classifier_of: Callable[[str], SentenceEndClassifier], is_whole: bool
) -> GluedStop | None:
    """Return the end of a sentence whose stops `text[start:end]` no white space follows; None if it continues."""
    token = last_token(text, start)
    cut = _end_of_closers(text, end)
    opening = _OPENING.match(text, cut)
    first = opening.end() if opening else cut
    still_open = None if is_whole else GluedStop(start, is_open=True)
    if not token or (_ADDRESS_SIGN.search(token) and not _WHOLE_ADDRESS.fullmatch(token)):
        return None
    if first == len(text):
        return still_open
    if text[first] == "[":
        return still_open if _OPEN_TAG.match(text, first) else None
    if text[first] in NOTES:
        return GluedStop(cut)
    if not text[first].isalpha() or text[first].islower():
        return None
    if not set(text[start:end]) <= set(".…‥"):
        return GluedStop(cut)
    if not _may_end(token):
        return None
    next_word = WORD.match(text, first)
    if next_word is None or not text[first].isupper():  # a script without capitals, perhaps without spaces
        return None if token[-1].isdigit() else GluedStop(cut)
    after = text[next_word.end() : next_word.end() + 2]
    if not is_whole and after in ("", ".", ":"):
        return still_open
    if _is_part(next_word.group(), after):
        return None
    classifier = classifier_of(text[:start])
    if not (_is_plain_word(token) or classifier.begins(next_word.group())):
        return None
    is_end = classifier.ends(token.rstrip(CLOSERS), text[start:end], next_word.group())
    return GluedStop(cut) if is_end else None


def _end_of_closers(text: str, position: int) -> int:
    """Return the end of the quotes, brackets and emoji that belong to the stop before `position`."""
    limit = min(len(text), position + MAX_RUN_CHARS)
    while position < limit and text[position] not in NOTES:
        if text[position] == '"' and text.count('"', 0, position) % 2 == 0:
            break  # this one opens
        if text[position] not in CLOSERS and not is_symbol(text[position]):
            break
        position += 1
    return position


def _may_end(token: str) -> bool:
    """Whether the word before a full stop is more than an initial, a list's number, or a part of an abbreviation."""
    if token[-1] in CLOSERS:
        return True
    if _UNIT.search(token):
        return not _LIST_NUMBER.fullmatch(token)
    return token[-2:].isalpha() and len(token) > 1


def _is_plain_word(token: str) -> bool:
    """Whether the stop is surely not inside a host, a number or a name: else the next word has to show it."""
    word = token.rstrip(CLOSERS)
    if word != token:
        return True
    last = word[-2:]
    return last.isalpha() and last == last.lower() and "." not in word and not _CAMEL_CASE.search(word)


def _is_part(word: str, after: str) -> bool:
    """Whether the word behind the stop is a part of a name: `Bar(`, `Google.com`, `PDF`."""
    is_extension = word.isascii() and word.isupper() and 2 <= len(word) <= 4
    continues = after[:1] == "." and after[1:].isalnum()
    return is_extension or continues or after == "::" or (after[:1] != "" and after[0] in _CODE_AFTER)
