"""How much of an utterance's text was heard by a moment of its sound: what an interrupted assistant has said.

Used by `utterance` for `done.heard`; whole sentences are exact, words within one are estimated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streamer.speech import estimate_words
from streamer.text.sentences import Sentence

_MS_PER_CHAR = 65
"""How long a letter takes at a usual speed: the guess for a sentence whose sound is not complete yet."""


@dataclass(slots=True)
class SpokenSentence:
    """A sentence whose sound has begun to be sent; positions in ms of the utterance's sound."""

    text: str
    char_start: int
    char_end: int
    start_ms: int
    end_ms: float
    is_complete: bool = False

    def sent_until(self, end_ms: float) -> None:
        if not self.is_complete:
            self.end_ms = max(self.end_ms, end_ms)

    def close(self, end_ms: int) -> None:
        self.end_ms = end_ms
        self.is_complete = True

    @property
    def expected_end_ms(self) -> int:
        if self.is_complete:
            return round(self.end_ms)
        return round(max(self.end_ms, self.start_ms + _MS_PER_CHAR * len(self.text)))


def heard_until(sentences: Sequence[SpokenSentence], played_ms: float) -> int:
    """The end of the last word that was heard whole, as a position in the utterance's text."""
    char_end = 0
    for spoken in sentences:
        if spoken.is_complete and spoken.end_ms <= played_ms:
            char_end = spoken.char_end
            continue
        if spoken.start_ms >= played_ms:
            break
        sentence = Sentence(spoken.text, spoken.char_start, spoken.char_end, 0.0)
        for word in estimate_words(sentence, spoken.start_ms, spoken.expected_end_ms):
            if word.end_ms <= played_ms:
                char_end = word.char_end
    return char_end
