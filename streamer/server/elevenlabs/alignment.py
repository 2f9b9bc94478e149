"""Tells when the characters of a sound are heard, while it is being sent; `wire` and `speech` write it down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from streamer.speech.events import SentenceStarted, WordTime

REFRESH_MS: Final = 250.0
"""How much sound may pass until the times of the words to come are estimated again."""


@dataclass(slots=True)
class AlignedChars:
    """Characters, each with the beginning and the end of its time, in ms of the utterance's sound."""

    chars: list[str] = field(default_factory=list)
    starts_ms: list[int] = field(default_factory=list)
    ends_ms: list[int] = field(default_factory=list)

    def add(self, text: str, start_ms: int, end_ms: int) -> None:
        """Add characters that share a time."""
        duration_ms = end_ms - start_ms
        borders_ms = [start_ms + duration_ms * index // len(text) for index in range(len(text) + 1)]
        self.chars += text
        self.starts_ms += borders_ms[:-1]
        self.ends_ms += borders_ms[1:]

    def extend(self, following: AlignedChars) -> None:
        """Add the characters behind these."""
        self.chars += following.chars
        self.starts_ms += following.starts_ms
        self.ends_ms += following.ends_ms


class WordAligner:
    """Gives out the words of an utterance once, in order, each when its beginning is sent.

    A word's times are an estimate, which improves as more of the sound is known; what was given out stays. The space
    behind a word lasts until the next one, and one stands behind each sentence, because clients find words by them.
    """

    def __init__(self) -> None:
        self._expected: Callable[[], Sequence[WordTime]] = tuple
        self._words: Sequence[WordTime] = ()
        self._spaces: list[str] = []
        self._num_given = 0  # of the sentence's words
        self._refreshed_ms = 0.0
        self._end_ms = 0  # of what was given out

    def begin(self, sentence: SentenceStarted, following: str) -> None:
        """A sentence begins. `following`: the character behind it in the text, if it is known."""
        self._expected, self._num_given = sentence.expected_words, 0
        self._refresh(sentence.start_ms)
        self._spaces = _spaces(sentence.text, self._words)
        if self._words and not following.isalnum():
            self._spaces[-1] = " "

    def until(self, sent_ms: float) -> AlignedChars:
        """Return the words that begin before this moment of the sound and were not given out yet."""
        chars = AlignedChars()
        if self._num_given == len(self._words):
            return chars
        if self._starts_before(sent_ms) or sent_ms - self._refreshed_ms >= REFRESH_MS:
            self._refresh(sent_ms)
        while self._num_given < len(self._words) and self._starts_before(sent_ms):
            self._give(chars)
        return chars

    def end(self, words: Sequence[WordTime]) -> AlignedChars:
        """The sentence ends with these words; return those that were not given out yet."""
        chars = AlignedChars()
        self._words = words
        while self._num_given < len(words):
            self._give(chars)
        return chars

    def _refresh(self, sent_ms: float) -> None:
        self._words = self._expected()
        self._refreshed_ms = sent_ms

    def _starts_before(self, sent_ms: float) -> bool:
        return self._words[self._num_given].start_ms < sent_ms

    def _give(self, chars: AlignedChars) -> None:
        """Add the next word, and the space behind it."""
        word = self._words[self._num_given]
        space = self._spaces[self._num_given]
        self._num_given += 1
        start_ms = max(self._end_ms, word.start_ms)
        end_ms = max(start_ms, word.end_ms)
        chars.add(word.text, start_ms, end_ms)
        if space:
            next_ms = end_ms
            if self._num_given < len(self._words):
                next_ms = max(end_ms, self._words[self._num_given].start_ms)
            chars.add(space, end_ms, next_ms)
            end_ms = next_ms
        self._end_ms = end_ms


def _spaces(text: str, words: Sequence[WordTime]) -> list[str]:
    """What stands behind each word of a sentence: a space or, in scripts without spaces and behind the last, nothing.

    Markup may stand between words, and may have put another word in the place of one that was written.
    """
    spaces, end = [], 0
    for word in words:
        start = text.find(word.text, end)
        gap = text[end:start] if start >= 0 else " "
        spaces.append(" " if any(map(str.isspace, gap)) else "")
        end = max(end, start + len(word.text) if start >= 0 else end)
    return [*spaces[1:], ""]
