"""Tells when the characters of a sound are heard, while it is being sent; `wire` and `speech` write it down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from streamer.server.sent_words import SentWords
from streamer.speech.events import SentenceStarted, SpeechEvent, WordTime


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
    """Gives out the characters of an utterance once, in order, each word's when its beginning is sent.

    The space behind a word lasts until the next one, and one stands behind each sentence, because clients find words
    by them.
    """

    def __init__(self) -> None:
        self._words = SentWords()
        self._spaces: list[str] = []  # behind the words of the sentence that were not given out
        self._end_ms = 0  # of what was given out

    def begin(self, sentence: SentenceStarted, following: str) -> None:
        """A sentence begins. `following`: the character behind it in the text, if it is known."""
        self._words.told(sentence)
        self._spaces = _spaces(sentence.text, self._words.upcoming)
        if self._words.upcoming and not following.isalnum():
            self._spaces[-1] = " "

    def told(self, event: SpeechEvent) -> AlignedChars:
        """Return the characters of the words that begin in a packet, or that are the rest of a sentence."""
        chars = AlignedChars()
        words = self._words.told(event)
        next_starts_ms = [word.start_ms for word in (*words[1:], *self._words.upcoming[:1])]
        for index, word in enumerate(words):
            start_ms = max(self._end_ms, word.start_ms)
            self._end_ms = max(start_ms, word.end_ms)
            chars.add(word.text, start_ms, self._end_ms)
            if space := self._spaces.pop(0):
                next_ms = max([self._end_ms, *next_starts_ms[index : index + 1]])
                chars.add(space, self._end_ms, next_ms)
                self._end_ms = next_ms
        return chars


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
