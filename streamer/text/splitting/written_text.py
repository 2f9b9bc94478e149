"""Remembers which written characters each spoken one stands for; `markdown` and `markup` leave signs out."""

from __future__ import annotations

import itertools
from dataclasses import replace

from streamer.text.splitting.sentences import Sentence


class WrittenText:
    """The text that was read and not given out yet. All positions count in the utterance's whole text."""

    def __init__(self) -> None:
        self.num_read = 0
        self._kept = ""  # the end of what was read
        self._spans: list[tuple[int, int]] = []  # for each spoken character, what was written for it
        self._num_given = 0  # spoken characters before those
        self._taken_end = 0  # where the last sentence ended
        self._opening: int | None = None  # where signs begin that belong to the next spoken character

    @property
    def num_kept_chars(self) -> int:
        return len(self._kept)

    def read(self, text: str) -> None:
        """Go past `text`, whose spoken characters are known."""
        self.num_read += len(text)
        is_needed = self._spans or self._opening is not None
        self._kept = self._kept + text if is_needed else ""

    def speak(self, num_chars: int, position: int) -> None:
        """Let `num_chars` spoken characters stand for the same number of written ones from `position` on."""
        for start in range(position, position + num_chars):
            self._spans.append((start if self._opening is None else self._opening, start + 1))
            self._opening = None

    def speak_for(self, num_chars: int, start: int, end: int) -> None:
        """Let `num_chars` spoken characters stand for the written ones from `start` to `end`, in equal shares."""
        length = end - start
        for index in range(num_chars):
            first, last = start + index * length // num_chars, start + (index + 1) * length // num_chars
            self._spans.append((first if self._opening is None else self._opening, last))
            self._opening = None

    def open(self, position: int) -> None:
        """Let the signs from `position` on belong to the next spoken character."""
        if self._opening is None:
            self._opening = position

    def close(self, position: int) -> None:
        """Let the signs before `position` belong to the last spoken character."""
        if self._spans and self._opening is None:
            self._spans[-1] = (self._spans[-1][0], position)
        self._opening = None  # nothing was spoken between the signs

    def end_block(self) -> None:
        """Signs that still wait for a character belong to none."""
        self._opening = None

    def skip(self, num_chars: int) -> None:
        """Go past characters that are no text, behind a flush; signs before them belong to nothing behind them."""
        self.end_block()
        self.forget()
        self.num_read += num_chars

    def forget_code(self) -> None:
        """Keep nothing of the code that was read."""
        self._kept = ""

    def forget(self) -> None:
        """Keep nothing of what was spoken: no further sentence says it."""
        self._num_given += len(self._spans)
        self._spans.clear()
        self._keep_from(self.num_read if self._opening is None else self._opening)

    def take(self, sentence: Sentence) -> Sentence:
        """Return the sentence with what was written for it."""
        num_before, num_taken = sentence.char_start - self._num_given, sentence.char_end - self._num_given
        spans = self._spans[num_before:num_taken]
        if not spans:  # it says a part of what stands for less than a character
            place = self._spans[num_before][0] if num_before < len(self._spans) else self._taken_end
            spans = [(place, place)]
        start, end = spans[0][0], spans[-1][1]
        self._taken_end = end
        kept_start = self.num_read - len(self._kept)
        text = self._kept[start - kept_start : end - kept_start]
        markup = {(spans[first][0] - start, spans[last - 1][1] - start) for first, last in sentence.markup}
        markup |= {
            (before[1] - start, after[0] - start)
            for before, after in itertools.pairwise(spans)
            if before[1] < after[0]
        }
        del self._spans[:num_taken]
        self._num_given += num_taken
        self._keep_from(end)
        return replace(sentence, text=text, char_start=start, char_end=end, markup=tuple(sorted(markup)))

    def _keep_from(self, position: int) -> None:
        self._kept = self._kept[len(self._kept) - (self.num_read - position) :]
