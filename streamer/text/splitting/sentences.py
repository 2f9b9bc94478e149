"""Cuts a text that is still being written into sentences that a model can speak; `lookahead` feeds it.

Where `boundaries` finds places to cut, this module chooses: sentences end where sentences end; what is too
short goes with the next, what is too long is cut at its best place, and the first piece is cut early, so
that it can be heard early. However the text is cut into pieces on its way here, the sentences are the same.

All splitters do their work while their sentences are taken, one after the other, so that their caller may let others
have their turn between two of them. What is not taken is not done.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from streamer.text.splitting.boundaries import (
    OPENING_SIGNS,
    SENTENCE_PAUSE_S,
    Boundary,
    Progress,
    Strength,
    find_boundaries,
    is_speakable,
)
from streamer.text.splitting.languages import language_table
from streamer.text.splitting.longest_fit import LongestFit
from streamer.text.splitting.punkt import SentenceEndClassifier, sentence_end_classifier
from streamer.text.splitting.signs import CLOSERS, STOPS
from streamer.text.splitting.speech_units import (
    MAX_CLUSTER_CHARS,
    cluster_start,
    is_at_least,
    speech_limit,
)

MIN_SPEECH_UNITS: Final = 10
"""A shorter sentence ("Yes.") is joined with the next one of its paragraph, because models speak it badly alone."""
FIRST_CLAUSE_UNITS: Final = 30
"""An utterance's first sentence is cut at the first clause of at least this length."""
BITE_CHARS: Final = 1024
"""Text is read in pieces of this size, so that little is pending however much is fed at once."""

_FINISHED_WORD: Final = re.compile(r"[^\W\d_]{2}[.,;:!?…。！？｡؟۔।॥]+[\"'”’»)]*$")
_OPEN_NUMBER: Final = re.compile(r"(?<!\S)\S*?(?:\d(?:\s*|[.,:/'’°–-])|[$€£¥₽₹#№])\Z")
"""A number at the end of the text, which more digits, a fraction, or a unit may continue."""
MAX_NUMBER_CHARS: Final = 64


@dataclass(frozen=True, slots=True)
class Sentence:
    """A piece to be spoken. `text` is `source[char_start:char_end]` of the utterance's whole text.

    `pause_s`: the natural silence after it, if another follows. `spoken_text`: what the synthesizer is given.
    `voice` None: the utterance's own. `rate`: how much faster than usual it is to be spoken. `markup`: the stretches of
    `text` that are not words, as places in it.
    """

    text: str
    char_start: int
    char_end: int
    pause_s: float
    spoken_text: str
    language: str = "en"
    voice: str | None = None
    rate: float = 1.0
    markup: tuple[tuple[int, int], ...] = ()

    @property
    def words(self) -> str:
        """`text` with spaces for its markup, so that the places of its words are the same."""
        words, end = [], 0
        for start, stop in self.markup:
            words += [self.text[end:start], " " * (stop - start)]
            end = stop
        return "".join([*words, self.text[end:]])


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
        verbalize: Callable[[str, str], str] | None = None,
    ) -> None:
        """`language` is the first sentence's, as far as `find_language` does not tell.

        `verbalize(text, language)`: how a sentence is spoken; it is that which must not have too many tokens.
        """
        self._fit = LongestFit(count_tokens, max_tokens, verbalize)
        self._language = language  # of the sentence before
        self._find_language = find_language or _same_language
        self._pending = ""
        self._num_given = 0  # characters of the source before the pending ones
        self._is_first = True
        self._passed: list[Boundary] = []  # in the pending text, where the sentence was not to be cut yet
        self._progress = Progress()  # of the search for boundaries

    @property
    def pending(self) -> str:
        """The text that was fed and not yet given out."""
        return self._pending

    def feed(self, text: str) -> Iterator[Sentence]:
        """Append a piece; yields the sentences that are now certain."""
        for start in range(0, len(text), BITE_CHARS):
            self._pending += text[start : start + BITE_CHARS]
            yield from self._take_sentences(is_whole=False)

    def flush(self) -> Iterator[Sentence]:
        """Give out everything, mid-sentence too. More text may follow."""
        return self._take_sentences(is_whole=True)

    def flush_words(
        self, *, is_last_whole: bool = False, is_number_whole: bool = False
    ) -> Iterator[Sentence]:
        """Give out what ends with a whole word, for a writer who pauses; never a part of a tag or a song.

        `is_last_whole`: the last word counts as whole though nothing follows it, and with `is_number_whole` a number
        does, too.
        """
        end = self._end_of_words(is_last_whole, is_number_whole)
        if not is_speakable(self._pending[:end]):
            return
        rest, self._pending = self._pending[end:], self._pending[:end]
        yield from self._take_sentences(is_whole=True)
        self._pending += rest
        self._skip_space()

    def end(self) -> Iterator[Sentence]:
        """Give out everything; no text follows."""
        return self.flush()

    def skip(self, num_chars: int) -> None:
        """Count characters of the source that are not to be spoken; behind a `flush`."""
        self._num_given += num_chars

    def _take_sentences(self, *, is_whole: bool) -> Iterator[Sentence]:
        self._skip_space()
        while (cut := self._next_cut(is_whole)) is not None:
            text = self._pending[: cut.position].rstrip()
            start = self._num_given
            self._language = language = self._find_language(text, self._language)
            spoken_text = self._fit.spoken(text, language)
            sentence = Sentence(text, start, start + len(text), cut.pause_s, spoken_text, language)
            self._fit.begin_sentence(len(text))
            self._drop(cut.position)
            self._skip_space()
            self._is_first = False
            yield sentence

    def _next_cut(self, is_whole: bool) -> Boundary | None:
        """The end of the sentence that the pending text begins with, or None while that is open."""
        if not self._pending:
            return None
        limit = speech_limit(self._pending)
        if is_whole:
            self._passed, self._progress = [], Progress()
        passed = self._passed
        del passed[self._progress.num_boundaries :]
        for boundary in find_boundaries(
            self._pending, self._classifier_of, is_whole=is_whole, progress=self._progress
        ):
            if boundary.position > limit:
                break
            if boundary.strength is Strength.UNDECIDED:
                return None
            if self._is_wanted(boundary):
                return self._within_tokens(boundary, passed)
            passed.append(boundary)
        if limit < len(self._pending):
            return self._within_tokens(self._best_cut(limit, passed), passed)
        if is_whole:
            return self._within_tokens(Boundary(limit, Strength.SENTENCE, SENTENCE_PAUSE_S), passed)
        return None

    def _is_wanted(self, boundary: Boundary) -> bool:
        """Whether to cut here though the sentence could be longer."""
        if boundary.strength < Strength.COMMA:
            return False
        before = self._pending[: boundary.position]
        if boundary.strength < Strength.SENTENCE:
            return self._is_first and is_at_least(before, FIRST_CLAUSE_UNITS)
        words = before.rstrip(STOPS + CLOSERS)  # a run of stops makes no sentence longer; one of them counts
        is_long_enough = boundary.strength is Strength.PARAGRAPH or is_at_least(words, MIN_SPEECH_UNITS - 1)
        return is_long_enough and is_speakable(before)

    def _within_tokens(self, cut: Boundary, passed: Sequence[Boundary]) -> Boundary:
        """`cut`, or an earlier one, such that the sentence is not too long for the model."""
        longest = self._fit.longest(self._pending[: cut.position], self._language_of)
        if longest == cut.position:
            return cut
        cut = self._best_cut(longest, passed)
        while cut.position > 1 and not self._fits(cut.position):  # a part of a word may be more tokens
            cut = self._best_cut(cut.position - 1, passed)
        return cut

    def _fits(self, position: int) -> bool:
        text = self._pending[:position].rstrip()
        return self._fit.fits(text, self._language_of(text))

    def _language_of(self, text: str) -> str:
        return self._find_language(text, self._language)

    def _classifier_of(self, text: str) -> SentenceEndClassifier:
        return sentence_end_classifier(self._language_of(text))

    def _best_cut(self, limit: int, passed: Sequence[Boundary]) -> Boundary:
        """The strongest boundary up to `limit` that is not very early; else between words, or characters."""
        language = self._language_of(self._pending[:limit])
        conjunctions = language_table(language).conjunctions
        boundaries = [
            self._as_conjunction(boundary, limit, conjunctions)
            for boundary in passed
            if 0 < boundary.position <= limit
        ]
        late = [boundary for boundary in boundaries if boundary.position >= limit // 3]
        if late or boundaries:
            return max(late or boundaries, key=lambda boundary: (boundary.strength, boundary.position))
        text = self._pending
        space = next((index for index in range(limit, 0, -1) if text[index : index + 1].isspace()), 0)
        return Boundary(space or cluster_start(text, limit), Strength.WORD)

    def _as_conjunction(self, boundary: Boundary, limit: int, conjunctions: Collection[str]) -> Boundary:
        """A boundary between words, raised if a conjunction stands whole between it and `limit`."""
        if boundary.strength is not Strength.WORD:
            return boundary
        first, space, _ = self._pending[boundary.position : limit].lstrip().partition(" ")
        is_conjunction = bool(space) and first.lower() in conjunctions
        return replace(boundary, strength=Strength.CONJUNCTION) if is_conjunction else boundary

    def _end_of_words(self, is_last_whole: bool, is_number_whole: bool) -> int:
        """Return the end of the pending text's last whole word, outside of tags and songs."""
        text = self._pending
        end = 0
        is_inside = False  # a tag or a song
        for boundary in find_boundaries(text, self._classifier_of, is_whole=False):
            if boundary.strength is Strength.UNDECIDED and text[boundary.position] in STOPS:
                continue
            if boundary.strength is Strength.UNDECIDED and text[boundary.position] in OPENING_SIGNS:
                is_inside = True
                break
            end = boundary.position
        if not is_inside and (
            is_last_whole or _FINISHED_WORD.search(text, max(0, len(text) - MAX_CLUSTER_CHARS))
        ):
            end = len(text)
        return end if is_number_whole else _before_open_numbers(text, end)

    def _skip_space(self) -> None:
        self._drop(len(self._pending) - len(self._pending.lstrip()))

    def _drop(self, num_chars: int) -> None:
        if num_chars:
            self._pending = self._pending[num_chars:]
            self._num_given += num_chars
            self._passed, self._progress = [], Progress()


def _before_open_numbers(text: str, end: int) -> int:
    """The end of the words before `end`, numbers that may not be whole left out."""
    while True:
        after = end + text[end : end + 1].isspace()  # "2019. " is whole, "2019." may become "2019.5"
        number = _OPEN_NUMBER.search(text[:after], max(0, end - MAX_NUMBER_CHARS))
        if number is None:
            return end
        end = number.start()
