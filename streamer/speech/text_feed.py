"""The text of an utterance, appended by its writer while `pipeline.speak` reads it."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from streamer.text.clean import Composer


@dataclass(frozen=True, slots=True)
class TextFlush:
    """A wish in the text: speak all that was written before."""

    ref: str | None = None


@dataclass(frozen=True, slots=True)
class TextEnd:
    """There is no more text."""


class TextFeed:
    """The writer's end of an utterance: text is appended while it is being spoken.

    `TextFeed("Hello.")` holds a complete text. One reader only.
    """

    def __init__(self, text: str | None = None) -> None:
        self.num_unfinished_chars = 0
        """Characters that were read, but wait for the writer to finish the sentence."""
        self._composer = Composer()
        self._pieces: list[str] = []
        self._num_chars = 0
        self._items: deque[str | TextFlush | TextEnd] = deque()
        self._arrived = asyncio.Event()
        if text is not None:
            self.append(text)
            self.end()

    def __len__(self) -> int:
        """Pieces that were not read yet."""
        return len(self._items)

    @property
    def text(self) -> str:
        """All the text so far, clean and composed: positions of sentences and words count in it."""
        return "".join(self._pieces) + self._composer.held

    @property
    def num_chars(self) -> int:
        return self._num_chars + len(self._composer.held)

    @property
    def is_holding(self) -> bool:
        """Whether a character is held back, because a mark may follow that composes with it."""
        return self._composer.held != ""

    def append(self, text: str) -> None:
        """Add text; control characters and the like are dropped, as `clean` says."""
        self._put(self._composer.push(text))

    def release(self) -> str:
        """The character that was held back, for a reader whose writer has paused."""
        return self._settle(self._composer.finish())

    def flush(self, ref: str | None = None) -> None:
        """Have everything written so far spoken, mid-sentence too."""
        self._put(self._composer.finish())
        self._add(TextFlush(ref))

    def end(self) -> None:
        """Say that no more text follows."""
        self._put(self._composer.finish())
        self._add(TextEnd())

    async def next(self, timeout_s: float | None) -> str | TextFlush | TextEnd | None:
        """The next piece; None where the writer has paused for `timeout_s` seconds."""
        try:
            async with asyncio.timeout(timeout_s):
                while not self._items:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            return None
        return self._items.popleft()

    def _put(self, text: str) -> None:
        if not self._settle(text):
            return
        if self._items and isinstance(waiting := self._items[-1], str):
            # A writer far ahead is read in one piece: how the text was cut on its way means nothing.
            self._items[-1] = waiting + text
        else:
            self._add(text)

    def _settle(self, text: str) -> str:
        if text:
            self._pieces.append(text)
            self._num_chars += len(text)
        return text

    def _add(self, item: str | TextFlush | TextEnd) -> None:
        self._items.append(item)
        self._arrived.set()
