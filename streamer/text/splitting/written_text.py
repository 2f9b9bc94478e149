"""Remembers which written characters each spoken one stands for; `markdown` says little of what it reads."""

from __future__ import annotations

from dataclasses import replace

from streamer.text.clean import tidy
from streamer.text.splitting.sentences import Sentence


class WrittenText:
    """The text that was read and not given out yet. All positions count in the utterance's whole text."""

    def __init__(self) -> None:
        self.num_read = 0
        self._kept = ""  # the end of what was read
        self._spans: list[tuple[int, int]] = []  # for each spoken character, what was written for it
        self._num_given = 0  # spoken characters before those
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

    def forget_code(self) -> None:
        """Keep nothing of the code that was read."""
        self._kept = ""

    def take(self, sentences: list[Sentence], *, is_all: bool) -> list[Sentence]:
        """The spoken sentences with what was written for them; `is_all`: nothing else is to be spoken."""
        found = [self._take(sentence) for sentence in sentences]
        if is_all:
            self._num_given += len(self._spans)
            self._spans.clear()
            self._keep_from(self.num_read if self._opening is None else self._opening)
        return found

    def _take(self, sentence: Sentence) -> Sentence:
        first, last = sentence.char_start - self._num_given, sentence.char_end - self._num_given
        start, end = self._spans[first][0], self._spans[last - 1][1]
        kept_start = self.num_read - len(self._kept)
        text = self._kept[start - kept_start : end - kept_start]
        del self._spans[:last]
        self._num_given += last
        self._keep_from(end)
        spoken_text = tidy(sentence.spoken_text)
        return replace(sentence, text=text, char_start=start, char_end=end, spoken_text=spoken_text)

    def _keep_from(self, position: int) -> None:
        self._kept = self._kept[len(self._kept) - (self.num_read - position) :]
