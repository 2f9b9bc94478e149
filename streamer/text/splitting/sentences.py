"""Cuts a text that is still being written into sentences a model can speak; feeds `pipeline`.

Where `borders` finds places to cut, this module chooses: sentences end where sentences end; what is too
short goes with the next, what is too long is cut at its best place, and the first piece is cut early, so
that it can be heard early. However the text is cut into pieces on its way here, the sentences are the same.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from streamer.text.splitting.boundaries import (
    OPENING_SIGNS,
    SENTENCE_PAUSE_S,
    Boundary,
    Strength,
    find_borders,
    is_speakable,
)
from streamer.text.splitting.languages import language_table
from streamer.text.splitting.punkt import SentenceEndClassifier, sentence_end_classifier

MAX_SPEECH_UNITS: Final = 200
"""The longest sentence: some 13 s of speech, beyond which Bark loses the text. A unit is a letter's time."""
MIN_SPEECH_UNITS: Final = 10
"""A shorter sentence ("Yes.") is joined with the next of its paragraph: alone it is spoken badly."""
FIRST_CLAUSE_UNITS: Final = 30
"""An utterance's first sentence is cut at the first clause of at least this length."""
BITE_CHARS: Final = 1024
"""Text is taken in bites of this size, so that what is pending stays small whatever is fed."""
MAX_CLUSTER_CHARS: Final = 32
"""How far back a cut looks for the beginning of a character that is composed of several."""

_FINISHED_WORD: Final = re.compile(r"[^\W\d_]{2}[.,;:!?…]+[\"'”’»)]*$")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A piece to be spoken. `text` is `source[char_start:char_end]` of the utterance's whole text.

    `pause_s`: the natural silence after it, if another follows. `spoken`: how it is said, where that is not
    as it is written. `voice` None: the utterance's own.
    """

    text: str
    char_start: int
    char_end: int
    pause_s: float
    spoken: str | None = None
    language: str = "en"
    voice: str | None = None

    @property
    def said(self) -> str:
        """What the synthesizer is given."""
        return self.text if self.spoken is None else self.spoken


FindLanguage = Callable[[str, str], str]
"""The language of a text, given that of the sentence before it (as `LanguageDetector.find`)."""


def _same_language(_text: str, before: str) -> str:
    return before


class SentenceSplitter:
    """Takes one utterance's text in pieces and gives out its sentences as soon as their ends are certain.

    No sentence has more than `max_tokens` by `count_tokens`; no text but white space is dropped. Keeps some
    hundred characters at most.
    """

    def __init__(
        self,
        count_tokens: Callable[[str], int],
        max_tokens: int,
        language: str = "en",
        *,
        find_language: FindLanguage | None = None,
        say: Callable[[str, str], str] | None = None,
    ) -> None:
        """`language` is the first sentence's, as far as `find_language` does not tell.

        `say(text, language)`: how a sentence is spoken; it is that which must not have too many tokens.
        """
        self._count_tokens = count_tokens
        self._max_tokens = max_tokens
        self._language = language  # of the sentence before
        self._find_language = find_language or _same_language
        self._say = say
        self._pending = ""
        self._num_given = 0  # characters of the source before the pending ones
        self._is_first = True

    @property
    def pending(self) -> str:
        """The text that was fed and not yet given out."""
        return self._pending

    def feed(self, text: str) -> list[Sentence]:
        """Append a piece; returns the sentences that are now certain."""
        sentences: list[Sentence] = []
        for start in range(0, len(text), BITE_CHARS):
            self._pending += text[start : start + BITE_CHARS]
            sentences += self._take_sentences(is_whole=False)
        return sentences

    def flush(self) -> list[Sentence]:
        """Give out everything, mid-sentence too. The utterance may go on."""
        return self._take_sentences(is_whole=True)

    def flush_words(self, *, is_last_whole: bool = False) -> list[Sentence]:
        """Give out what ends with a whole word, for a writer who pauses; never a part of a tag or a song.

        `is_last_whole`: the last word counts as whole though nothing follows it.
        """
        end = self._end_of_words(is_last_whole)
        if not is_speakable(self._pending[:end]):
            return []
        rest, self._pending = self._pending[end:], self._pending[:end]
        sentences = self._take_sentences(is_whole=True)
        self._pending += rest
        self._skip_space()
        return sentences

    def end(self) -> list[Sentence]:
        """Give out everything; no text follows."""
        return self.flush()

    def skip(self, num_chars: int) -> None:
        """Count characters of the source that are not to be spoken; behind a `flush`."""
        self._num_given += num_chars

    def _take_sentences(self, *, is_whole: bool) -> list[Sentence]:
        sentences: list[Sentence] = []
        self._skip_space()
        while (cut := self._next_cut(is_whole)) is not None:
            text = self._pending[: cut.position].rstrip()
            start = self._num_given
            self._language = language = self._find_language(text, self._language)
            spoken = self._say(text, language) if self._say else text
            sentences.append(
                Sentence(
                    text, start, start + len(text), cut.pause_s, None if spoken == text else spoken, language
                )
            )
            self._drop(cut.position)
            self._skip_space()
            self._is_first = False
        return sentences

    def _next_cut(self, is_whole: bool) -> Boundary | None:
        """The end of the sentence that the pending text begins with, or None while that is open."""
        if not self._pending:
            return None
        limit = _speech_limit(self._pending)
        passed: list[Boundary] = []
        for border in find_borders(self._pending, self._judge_for, is_whole=is_whole):
            if border.position > limit:
                break
            if border.strength is Strength.UNDECIDED:
                return None
            if self._is_wanted(border):
                return self._within_tokens(border, passed)
            if border.position > 0:
                passed.append(border)
        if limit < len(self._pending):
            return self._within_tokens(self._best_cut(limit, passed), passed)
        if is_whole:
            return self._within_tokens(Boundary(limit, Strength.SENTENCE, SENTENCE_PAUSE_S), passed)
        return None

    def _is_wanted(self, border: Boundary) -> bool:
        """Whether to cut here though the sentence could be longer."""
        if border.strength < Strength.COMMA:
            return False
        before = self._pending[: border.position]
        if border.strength < Strength.SENTENCE:
            return self._is_first and _is_at_least(before, FIRST_CLAUSE_UNITS)
        is_long_enough = border.strength is Strength.PARAGRAPH or _is_at_least(before, MIN_SPEECH_UNITS)
        return is_long_enough and is_speakable(before)

    def _within_tokens(self, cut: Boundary, passed: Sequence[Boundary]) -> Boundary:
        """`cut`, or an earlier one, such that the sentence is not too long for the model."""
        if self._fits(cut.position):
            return cut
        low, high = 1, cut.position
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._fits(middle) else (low, middle)
        cut = self._best_cut(low, passed)
        while cut.position > 1 and not self._fits(cut.position):  # a part of a word may be more tokens
            cut = self._best_cut(cut.position - 1, passed)
        return cut

    def _fits(self, position: int) -> bool:
        text = self._pending[:position].rstrip()
        if self._say:
            text = self._say(text, self._find_language(text, self._language))
        return self._count_tokens(text) <= self._max_tokens

    def _judge_for(self, text: str) -> SentenceEndClassifier:
        return sentence_end_classifier(self._find_language(text, self._language))

    def _best_cut(self, limit: int, passed: Sequence[Boundary]) -> Boundary:
        """The strongest border up to `limit` that is not very early; else between words, or characters."""
        language = self._find_language(self._pending[:limit], self._language)
        conjunctions = language_table(language).conjunctions
        borders = [
            self._as_conjunction(border, limit, conjunctions) for border in passed if border.position <= limit
        ]
        late = [border for border in borders if border.position >= limit // 3]
        if late or borders:
            return max(late or borders, key=lambda border: (border.strength, border.position))
        text = self._pending
        space = next((index for index in range(limit, 0, -1) if text[index : index + 1].isspace()), 0)
        return Boundary(space or _cluster_start(text, limit), Strength.WORD)

    def _as_conjunction(self, border: Boundary, limit: int, conjunctions: Collection[str]) -> Boundary:
        """A border between words, raised if a conjunction stands whole between it and `limit`."""
        if border.strength is not Strength.WORD:
            return border
        first, space, _ = self._pending[border.position : limit].lstrip().partition(" ")
        is_conjunction = bool(space) and first.lower() in conjunctions
        return replace(border, strength=Strength.CONJUNCTION) if is_conjunction else border

    def _end_of_words(self, is_last_whole: bool) -> int:
        """Where the pending text's last whole word ends, outside of tags and songs."""
        text = self._pending
        end = 0
        for border in find_borders(text, self._judge_for, is_whole=False):
            if border.strength is Strength.UNDECIDED and text[border.position] in OPENING_SIGNS:
                return end
            end = border.position
        if is_last_whole or _FINISHED_WORD.search(text, max(0, len(text) - MAX_CLUSTER_CHARS)):
            return len(text)
        return end

    def _skip_space(self) -> None:
        self._drop(len(self._pending) - len(self._pending.lstrip()))

    def _drop(self, num_chars: int) -> None:
        self._pending = self._pending[num_chars:]
        self._num_given += num_chars


def _is_at_least(text: str, units: int) -> bool:
    """Whether saying the text takes as long as `units` letters; signs of a syllable and digits count threefold."""
    return len(text) >= units or len(text) + 2 * sum(map(_is_long, text)) >= units


def _speech_limit(text: str) -> int:
    """How many characters fit into the longest sentence."""
    if 3 * len(text) <= MAX_SPEECH_UNITS:
        return len(text)
    units = 0
    for position, character in enumerate(text):
        units += 3 if _is_long(character) else 1
        if units > MAX_SPEECH_UNITS:
            return position
    return len(text)


def _is_long(character: str) -> bool:
    return "0" <= character <= "9" or "\u3040" <= character <= "\u9fff" or "\uac00" <= character <= "\ud7a3"


def _cluster_start(text: str, position: int) -> int:
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
