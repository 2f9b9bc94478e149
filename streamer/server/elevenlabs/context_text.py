"""The text of a context on its way to the splitter: what separates messages, and what is spoken before its sentence
has ended."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from streamer.speech.text_feed import Piece, TextFlush

DEFAULT_SCHEDULE: Final = (120.0, 160.0, 250.0, 290.0)
"""How many characters ElevenLabs waits for before it generates, for the first time and for the next ones; the last
number repeats."""
MIN_TRIGGER_CHARS: Final = 50
"""How many characters `try_trigger_generation` needs."""
_TAIL_CHARS: Final = 64
"""How much of the text before a message is looked at."""
_CLOSERS: Final = "\"'”’»)\\]}*_"
_OPENERS: Final = "\"'“‘«([{¿¡*_"
_STOP: Final = re.compile(rf"([.!?…]+)[{_CLOSERS}]*$")
_SENTENCE_END: Final = re.compile(rf"[.!?…。！？][{_CLOSERS}」』]*\s*$")
_CLAUSE_END: Final = re.compile(rf"[.!?…,;:—–。！？，；：、][{_CLOSERS}」』]*\s*$")
_NUMBER_STOP: Final = re.compile(r"\d\.$")
_INITIAL: Final = re.compile(r"(?:^|\W)[^\W\d]\.$")
_NEXT_INITIAL: Final = re.compile(r"[^\W\d](?:\.|$)")


class ContextText:
    """Decides what becomes of a context's messages: `append` returns what is to be written for each.

    The splitter speaks a sentence as soon as it has ended. `is_auto`: a message that ends like a sentence ends one.
    `schedule`: unfinished text of so many characters is spoken up to the end of a clause.
    """

    def __init__(self, schedule: Sequence[float] | None, *, is_auto: bool) -> None:
        self.has_unflushed = False
        """Whether the client has written text, and no `flush` since."""
        self._schedule = tuple(schedule or DEFAULT_SCHEDULE)
        self._is_auto = is_auto
        self._num_generations = 0
        self._num_unfinished = 0  # characters behind the last sentence's end or flush
        self._tail = ""

    def append(self, text: str, *, flushes: bool = False, triggers: bool = False) -> Iterator[Piece]:
        """Yield what is to be written for a message's text. `triggers`: whether it says `try_trigger_generation`."""
        if text.strip():
            self.has_unflushed = True
            text = self._separator(text) + text
            yield from self._write(text)
            if not flushes and self._is_due(triggers=triggers):
                yield from self._flush()
        elif text and self._tail and not self._tail[-1].isspace():
            yield from self._write(text)
        if flushes:
            self.has_unflushed = False
            yield from self._flush()

    def _write(self, text: str) -> Iterator[Piece]:
        self._tail = (self._tail + text)[-_TAIL_CHARS:]
        ends = [match.end() for match in re.finditer(rf"[.!?…][{_CLOSERS}]*(?=\s)", text)]
        self._num_unfinished = len(text) - ends[-1] if ends else self._num_unfinished + len(text)
        yield text

    def _flush(self) -> Iterator[Piece]:
        if self._num_unfinished:
            self._num_unfinished = 0
            self._num_generations += 1
            yield TextFlush()

    def _is_due(self, *, triggers: bool) -> bool:
        """Whether the text so far is to be spoken at once."""
        if self._is_auto:
            return bool(_SENTENCE_END.search(self._tail)) and not _NUMBER_STOP.search(self._tail)
        num_chars = self._schedule[min(self._num_generations, len(self._schedule) - 1)]
        if triggers:
            num_chars = min(num_chars, MIN_TRIGGER_CHARS)
        return self._num_unfinished >= num_chars and bool(_CLAUSE_END.search(self._tail))

    def _separator(self, text: str) -> str:
        """The space that a client leaves out between two sentences which are two messages; "" if none is missing.

        A message may end anywhere, so that not every stop at its end ends a sentence: `5.` and `5 dollars`, `example.`
        and `com`, `U.` and `S.` belong together.
        """
        stop = _STOP.search(self._tail)
        first = text.lstrip(_OPENERS)[:1]
        if stop is None or not first.isalnum():
            return ""
        if _NUMBER_STOP.search(self._tail) and first.isdigit():
            return ""
        if _INITIAL.search(self._tail) and _NEXT_INITIAL.match(text):
            return ""
        may_be_address = stop[1] in (".", "?") and first.islower()
        return " " if self._is_auto or not may_be_address else ""
