"""Finds where a text may be cut, from paragraphs down to words; `sentences` chooses among these boundaries.

Every decision is a function of the text alone. It waits (`Strength.UNDECIDED`) until all the text that it depends on
has arrived, which is a bounded stretch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from streamer.text.splitting.glued_stops import find_glued_stop
from streamer.text.splitting.line_ends import LABEL, ends_sentence
from streamer.text.splitting.punkt import SentenceEndClassifier
from streamer.text.splitting.signs import (
    CLOSERS,
    MAX_RUN_CHARS,
    NARROW_STOPS,
    STOPS,
    WIDE_STOPS,
    WORD,
    is_symbol,
    last_token,
)
from streamer.text.tags import MAX_TAG_CHARS, NOTES, TAG

MAX_SONG_CHARS: Final = 400
"""From a song's first note to its last; a longer one is cut like other text."""
LOOKAHEAD_CHARS: Final = 160
"""How far behind a stop the next word is looked for, with tags and quotes between them."""

SENTENCE_PAUSE_S: Final = 0.25
PARAGRAPH_PAUSE_S: Final = 0.5
CLAUSE_PAUSE_S: Final = 0.15
COMMA_PAUSE_S: Final = 0.1


class Strength(IntEnum):
    """How well a place is suited for a cut; UNDECIDED means that more text is needed."""

    UNDECIDED = -1
    WORD = 0
    CONJUNCTION = 1
    COMMA = 2
    CLAUSE = 3
    SENTENCE = 4
    PARAGRAPH = 5


@dataclass(frozen=True, slots=True)
class Boundary:
    """A place to cut: the sentence ends before `position`, and `pause_s` is the silence behind it."""

    position: int
    strength: Strength
    pause_s: float = 0.0


OPENING_SIGNS: Final = "[" + NOTES
"""The signs that tags and songs begin with."""
_EVENT: Final = re.compile(
    rf"(?P<tag>{TAG})|(?P<open>\[)|(?P<song>[{NOTES}]+)"
    rf"|(?P<wide_stop>[{WIDE_STOPS}][{STOPS}{re.escape(CLOSERS)}]{{0,{MAX_RUN_CHARS - 1}}})"
    rf"|(?P<stop>[{NARROW_STOPS}]{{1,{MAX_RUN_CHARS}}}+(?=[^\sa-z\d]))"
    rf"|(?P<wide_comma>[、，；：—]{{1,{MAX_RUN_CHARS}}})|(?P<gap>\s{{1,{MAX_RUN_CHARS}}})"
)
_LAST_TAGS: Final = re.compile(rf"(?:\s?{TAG})+\Z")
_OPEN_TAG: Final = re.compile(rf"\[[^\[\]\n]{{0,{MAX_TAG_CHARS}}}")
_STOP_RUN: Final = re.compile(rf"[{STOPS}]{{1,{MAX_RUN_CHARS}}}")
_SONG_MARK: Final = re.compile(rf"[{NOTES}]+")
_SILENT: Final = re.compile(rf"(?:{TAG}|[^\w\[{NOTES}]++|_)*+")
"""What may stand between a stop and the next sentence's first word: tags, quotes, emoji, dashes."""
_SPEAKABLE: Final = re.compile(rf"[^\W_]|[{NOTES}]")
_TAGS_AT_LINE_END: Final = re.compile(
    rf"(?:{TAG}[ \t]{{0,{MAX_RUN_CHARS}}}){{1,8}}(?=[\r\n\u2028\u2029\x0b\f])"
)
_NUMBERED: Final = re.compile(r"\(?(?:\d{1,3}|[A-Za-z]|[ivxIVX]{1,4})")
_LINE_ENDS: Final = re.compile(r"\r\n?|[\n\u2028\x0b]")


ClassifierOf = Callable[[str], SentenceEndClassifier]
"""Gives the classifier for a stop by the text before it, from its sentence's beginning on."""


@dataclass(slots=True)
class Progress:
    """How far a text that is still being written was searched: all before `position` is decided."""

    position: int = 0
    song_end: int = 0
    num_boundaries: int = 0
    """Those before `position`."""


def find_boundaries(
    text: str, classifier_of: ClassifierOf, *, is_whole: bool, progress: Progress | None = None
) -> Iterator[Boundary]:
    """The boundaries of `text`, which begins a sentence, in order; with `is_whole` nothing will follow it.

    With `progress` these are the boundaries behind it. It is moved on as they are taken, so that each stretch of a text
    is searched once however often more is written.
    """
    progress = progress or Progress()
    position = progress.position
    while event := _EVENT.search(text, position):
        found, position = _boundaries_at(text, event, progress, classifier_of, is_whole)
        yield from found
        if position < len(text) and not (found and found[-1].strength is Strength.UNDECIDED):
            progress.position = position
            progress.num_boundaries += len(found)
    if progress.position == position:  # nothing in the rest is one, unless its last stops become one
        progress.position = max(position, len(text.rstrip(NARROW_STOPS)))


def _boundaries_at(
    text: str, event: re.Match[str], progress: Progress, classifier_of: ClassifierOf, is_whole: bool
) -> tuple[list[Boundary], int]:
    """The boundaries at one place, and where the search continues. Only the last one may be undecided."""
    (start, end), kind = event.span(), event.lastgroup
    if kind == "tag":
        return [Boundary(start, Strength.WORD)], end
    if kind == "open":
        begun = _OPEN_TAG.match(text, start)
        is_open = begun and begun.end() == len(text) and not is_whole
        return [Boundary(start, Strength.UNDECIDED)] if is_open else [], end
    if kind == "song":
        found = [Boundary(start, Strength.WORD)]
        if close := _SONG_MARK.search(text, end, start + MAX_SONG_CHARS):
            end = progress.song_end = close.end()
        elif len(text) < start + MAX_SONG_CHARS and not is_whole:
            found.append(Boundary(start, Strength.UNDECIDED))
        return found, end
    if kind == "stop":
        return _glued_stop(text, start, end, classifier_of, is_whole), end
    if end == len(text) and end - start < MAX_RUN_CHARS:
        return [] if is_whole else [Boundary(start, Strength.UNDECIDED)], end
    if kind == "gap" and start == progress.song_end:
        return [_after_song(text, start, end, is_whole)], end
    if kind == "gap":
        return [_gap(text, start, end, classifier_of, is_whole)], end
    if kind == "wide_comma":
        return [_wide_comma(text[start], end)], end
    if end - start < MAX_RUN_CHARS and text[end].isspace():
        return [], end  # the gap's word has the stop
    stop = Boundary(end, Strength.SENTENCE, SENTENCE_PAUSE_S)
    return [_before_words(stop, text, end, is_whole)], end


def _glued_stop(
    text: str, start: int, end: int, classifier_of: ClassifierOf, is_whole: bool
) -> list[Boundary]:
    """The boundary at stops with no space behind them, if they end a sentence."""
    stop = find_glued_stop(text, start, end, classifier_of, is_whole)
    if stop is None or _TAGS_AT_LINE_END.match(text, stop.position):
        return []
    if stop.is_open:
        return [Boundary(stop.position, Strength.UNDECIDED)]
    return [Boundary(stop.position, Strength.SENTENCE, SENTENCE_PAUSE_S)]


def is_speakable(text: str) -> bool:
    """Whether there is anything to say in the text: a letter, a digit, or a note to sing."""
    return _SPEAKABLE.search(text) is not None


def _wide_comma(mark: str, position: int) -> Boundary:
    if mark == "—":  # a hesitation: a cut only if the sentence is too long
        return Boundary(position, Strength.CONJUNCTION, CLAUSE_PAUSE_S)
    if mark in "；：":
        return Boundary(position, Strength.CLAUSE, CLAUSE_PAUSE_S)
    return Boundary(position, Strength.COMMA, COMMA_PAUSE_S)


def _gap(text: str, start: int, end: int, classifier_of: ClassifierOf, is_whole: bool) -> Boundary:
    """The boundary at white space: what it is depends on the word before, the lines, and the word after."""
    gap = text[start:end]
    if gap == " " and text[start - 1].isalnum():  # as behind most words
        return Boundary(start, Strength.WORD)
    num_lines = len(_LINE_ENDS.findall(gap))
    if num_lines > 1 or "\u2029" in gap or "\f" in gap or len(gap) == MAX_RUN_CHARS:
        return _before_words(Boundary(start, Strength.PARAGRAPH, PARAGRAPH_PAUSE_S), text, end, is_whole)
    if num_lines:
        is_end = ends_sentence(text, start, end, is_whole)
        if is_end is None:
            return Boundary(start, Strength.UNDECIDED)
        if is_end:
            return _before_words(Boundary(start, Strength.PARAGRAPH, SENTENCE_PAUSE_S), text, end, is_whole)
    token = last_token(text, _before_tags(text, start) if num_lines else start)
    return _stop_boundary(text, start, end, token, classifier_of, is_whole) or _clause_boundary(
        text, start, end, token
    )


def _after_song(text: str, start: int, end: int, is_whole: bool) -> Boundary:
    """The boundary behind a song's last note: an end, unless the sentence around the song continues."""
    boundary = _before_words(Boundary(start, Strength.SENTENCE, SENTENCE_PAUSE_S), text, end, is_whole)
    first = text[_silence(text, end) :][:1]
    is_inside = first.islower() or first.isdigit()
    return (
        Boundary(start, Strength.WORD) if boundary.strength is Strength.SENTENCE and is_inside else boundary
    )


def _before_tags(text: str, end: int) -> int:
    """Return the begin of the tags before `end`: the stop of their sentence stands before them."""
    first = max(0, end - 2 * MAX_TAG_CHARS)
    tags = _LAST_TAGS.search(text[first:end])
    return first + tags.start() if tags else end


def _stop_boundary(
    text: str, start: int, end: int, token: str, classifier_of: ClassifierOf, is_whole: bool
) -> Boundary | None:
    """Return the boundary behind a word with a stop, or None if the word has none or the sentence continues."""
    closed = token
    while closed and (closed[-1] in CLOSERS or is_symbol(closed[-1])):
        closed = closed[:-1]
    word = closed.rstrip(STOPS)
    stops = closed[len(word) :]
    if not stops or _is_list_number(text, start, token, word, stops):
        return None
    if more := _STOP_RUN.match(text, end):  # "Well. . . no": the last stop counts
        if more.end() == len(text) and not is_whole:
            return Boundary(start, Strength.UNDECIDED)
        if more.end() == len(text) or text[more.end()].isspace():
            return None
    if not word and stops == "." and _before(text, start - len(token)).endswith("."):
        stops = "..."
    boundary = _before_words(Boundary(start, Strength.SENTENCE, SENTENCE_PAUSE_S), text, end, is_whole)
    if boundary.strength is not Strength.SENTENCE:
        return boundary
    if _TAGS_AT_LINE_END.match(text, end):
        return None  # "Well then. [sighs]" and a new line: the sigh is this sentence's
    silent = _silence(text, end)
    next_word = WORD.match(text, silent) if silent < end + LOOKAHEAD_CHARS else None
    if next_word is None:  # a song, or nothing but signs
        return boundary
    classifier = classifier_of(text[:start])
    if len(word) == 1:
        word = f"{last_token(text[: start - len(token)].rstrip(), start)} {word}"
    if not is_whole and next_word.end() == len(text) and classifier.needs_next_word(word, stops):
        return Boundary(start, Strength.UNDECIDED)
    has_quote = len(closed) < len(token) and not is_symbol(token[-1])
    if has_quote and silent == end and next_word.group()[0].islower():
        return None  # "Really?" she asked.
    return boundary if classifier.ends(word, stops, next_word.group()) else None


def _clause_boundary(text: str, start: int, end: int, token: str) -> Boundary:
    mark = token.rstrip(CLOSERS)[-1:]
    if mark == "–":
        return Boundary(start, Strength.CONJUNCTION, CLAUSE_PAUSE_S)
    if mark in (";", ":", "؛") and not LABEL.fullmatch(token):
        return Boundary(start, Strength.CLAUSE, CLAUSE_PAUSE_S)
    if mark in (",", "،"):
        is_number = token[-2:-1].isdigit() and text[end : end + 1].isdigit()  # November 23, 2026
        return Boundary(start, Strength.WORD if is_number else Strength.COMMA, COMMA_PAUSE_S)
    return Boundary(start, Strength.WORD)


def _before_words(boundary: Boundary, text: str, end: int, is_whole: bool) -> Boundary:
    """`boundary` if words follow `end`, WORD if none do, and UNDECIDED until that is known."""
    position = _silence(text, end)
    if position == end + LOOKAHEAD_CHARS or (position < len(text) and text[position] != "["):
        return boundary
    if position < len(text) and (is_whole or not _OPEN_TAG.fullmatch(text, position)):
        return boundary  # a bracket that begins no tag
    return Boundary(boundary.position, Strength.WORD if is_whole else Strength.UNDECIDED)


def _silence(text: str, start: int) -> int:
    silent = _SILENT.match(text, start, start + LOOKAHEAD_CHARS)
    return silent.end() if silent else start


def _is_list_number(text: str, start: int, token: str, word: str, stops: str) -> bool:
    """Whether `1.` is the marker of an item: at the beginning, of a line too, or behind a colon."""
    if stops != "." or not _NUMBERED.fullmatch(word):
        return False
    before = _before(text, start - len(token))
    return not before or before[-1] in "\n\r:"


def _before(text: str, end: int) -> str:
    """The nearest characters before `end`, but for spaces."""
    return text[max(0, end - MAX_RUN_CHARS) : end].rstrip(" \t")
