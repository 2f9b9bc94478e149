"""How much of an utterance's text was heard until a moment of its sound: what an interrupted assistant has said.

`utterance` keeps it, for the answer to a cancellation.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable

from streamer.speech.events import WordTime


class HeardWords:
    """Knows where the words of an utterance end, in ms of its sound and in its text, sentence after sentence.

    It keeps numbers only, because an utterance may have many thousand words and is remembered after its end.
    """

    def __init__(self) -> None:
        self._ends_ms = array("q")
        self._char_ends = array("q")
        self._expected: Callable[[], tuple[WordTime, ...]] | None = None

    def begin_sentence(self, expected: Callable[[], tuple[WordTime, ...]]) -> None:
        """A sentence's sound begins; until its words are known, `expected` is asked for them."""
        self._expected = expected

    def end_sentence(self, words: Iterable[WordTime]) -> None:
        """The words of the sentence that had begun are known."""
        self._expected = None
        for word in words:
            self._ends_ms.append(word.end_ms)
            self._char_ends.append(word.char_end)

    def until(self, played_ms: float) -> int:
        """The end of the last word that was heard in full, as a position in the utterance's text."""
        num_heard = bisect_right(self._ends_ms, played_ms)
        char_end = self._char_ends[num_heard - 1] if num_heard else 0
        for word in self._expected() if self._expected is not None else ():
            if word.end_ms <= played_ms:
                char_end = word.char_end
        return char_end
