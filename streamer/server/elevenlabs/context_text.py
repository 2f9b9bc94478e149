"""The text of a context on its way to the splitter: what separates messages, and what is spoken before its sentence
has ended."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from streamer.speech.text_feed import Piece, TextFlush
from streamer.text.message_borders import parted

DEFAULT_SCHEDULE: Final = (120.0, 160.0, 250.0, 290.0)
"""How many characters ElevenLabs waits for before it generates, for the first time and for the next ones; the last
number repeats."""
MIN_TRIGGER_CHARS: Final = 50
"""How many characters `try_trigger_generation` needs."""
_END_CHARS: Final = 256
"""How much of a message is kept for the next one."""
_CLOSERS: Final = "\"'”’»)\\]}*_"
_SENTENCE_END: Final = re.compile(rf"[.!?…。！？][{_CLOSERS}」』]*\s*$")
_CLAUSE_END: Final = re.compile(rf"[.!?…,;:—–。！？，；：、][{_CLOSERS}」』]*\s*$")
_NUMBER_STOP: Final = re.compile(r"\d\.$")


class ContextText:
    """Decides what becomes of a context's messages: `append` returns what is to be written for each.

    The splitter speaks a sentence as soon as it has ended. `is_auto`: a message that ends like a sentence ends one.
    `schedule`: unfinished text that is this long is spoken up to the end of a clause.
    """

    def __init__(self, schedule: Sequence[float] | None, *, is_auto: bool) -> None:
        self.has_unflushed = False
        """Whether the client has written text, and no `flush` since."""
        self._schedule = tuple(schedule or DEFAULT_SCHEDULE)
        self._is_auto = is_auto
        self._num_generations = 0
        self._num_unfinished = 0  # characters behind the last sentence's end or flush
        self._before = ""  # the end of the message before

    def append(self, text: str, *, flushes: bool = False, triggers: bool = False) -> Iterator[Piece]:
        """Yield what is to be written for a message's text. `triggers`: whether it says `try_trigger_generation`."""
        if text.strip():
            self.has_unflushed = True
            yield from self._write(parted(self._before, text))
            if not flushes and self._is_due(triggers=triggers):
                yield from self._flush()
        elif text and self._before and not self._before[-1].isspace():
            yield from self._write(text)
        if flushes:
            self.has_unflushed = False
            yield from self._flush()

    def _write(self, text: str) -> Iterator[Piece]:
        self._before = text[-_END_CHARS:]
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
            return bool(_SENTENCE_END.search(self._before)) and not _NUMBER_STOP.search(self._before)
        num_chars = self._schedule[min(self._num_generations, len(self._schedule) - 1)]
        if triggers:
            num_chars = min(num_chars, MIN_TRIGGER_CHARS)
        return self._num_unfinished >= num_chars and bool(_CLAUSE_END.search(self._before))
