"""Finds how much of a text a model can take as one sentence; `sentences` cuts there or earlier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

FIRST_GUESS_CHARS: Final = 64
"""The length of a sentence that no other is before, as a guess."""
MAX_REMEMBERED: Final = 128
"""How many beginnings of sentences are remembered: a text that repeats itself is written out once."""


class LongestFit:
    """Counts a text's tokens as it is spoken: `spoken(text)` must not have more than `max_tokens` by `count_tokens`.

    It remembers the last beginnings of sentences: how they are spoken, and how many tokens that is.
    """

    def __init__(
        self, count_tokens: Callable[[str], int], max_tokens: int, verbalize: Callable[[str, str], str] | None
    ) -> None:
        self._count_tokens = count_tokens
        self._max_tokens = max_tokens
        self._verbalize = verbalize
        self._num_chars_before = FIRST_GUESS_CHARS  # of the sentence before
        self._counted: dict[tuple[str, str], tuple[str, int]] = {}

    def begin_sentence(self, num_chars_before: int) -> None:
        """Expect the next sentence to be as long as the one that was cut off, which had this many characters."""
        self._num_chars_before = num_chars_before

    def spoken(self, text: str, language: str) -> str:
        """Return how a text is spoken."""
        return self._count(text, language)[0]

    def fits(self, text: str, language: str) -> bool:
        """Whether the model takes the text."""
        return self._num_tokens(text, language) <= self._max_tokens

    def longest(self, text: str, language_of: Callable[[str], str]) -> int:
        """Return the length of the longest beginning that the model takes; 1 if it takes none.

        The search begins with the length of the sentence before: written out, a few digits may be all that a model
        takes, and to write out all that might belong to a sentence for each of these would take its square. Then it
        goes where the tokens are expected to be as many as allowed, and every other time to the middle.
        """
        most, end = self._max_tokens, len(text)

        def num_tokens(position: int) -> int:
            beginning = text[:position].rstrip()
            return self._num_tokens(beginning, language_of(beginning))

        low, num_low, high = 0, 0, min(end, self._num_chars_before + self._num_chars_before // 4 + 2)
        while (num_high := num_tokens(high)) <= most:
            if high == end:
                return end
            low, num_low, high = high, num_high, min(end, 2 * high)
        is_even = False
        while high - low > 1:
            part = 0.5 if is_even else (most - num_low + 0.5) / (num_high - num_low)
            middle = min(max(low + round(part * (high - low)), low + 1), high - 1)
            if (num_middle := num_tokens(middle)) <= most:
                low, num_low = middle, num_middle
            else:
                high, num_high = middle, num_middle
            is_even = not is_even
        return max(1, low)

    def _num_tokens(self, text: str, language: str) -> int:
        return self._count(text, language)[1]

    def _count(self, text: str, language: str) -> tuple[str, int]:
        """Return how a text is spoken, and the number of its tokens."""
        counted = self._counted.get((text, language))
        if counted is None:
            if len(self._counted) >= MAX_REMEMBERED:
                self._counted.clear()
            spoken = text if self._verbalize is None else self._verbalize(text, language)
            counted = self._counted[text, language] = spoken, self._count_tokens(spoken)
        return counted
