"""The text of an utterance: its writer appends while `pipeline.speak` reads."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from streamer.text.clean import Composer


@dataclass(frozen=True, slots=True)
class TextFlush:
    """A mark in the text: everything before it is to be spoken, mid-sentence too."""

    ref: str | None = None


@dataclass(frozen=True, slots=True)
class TextEnd:
    """There is no more text."""


Piece = str | TextFlush | TextEnd


class TextFeed:
    """The writer's end of an utterance, which is spoken while it is still being written.

    `TextFeed("Hello.")` holds a complete text. There may be one reader only.
    """

    def __init__(self, text: str | None = None) -> None:
        self._composer = Composer()
        self._texts: list[str] = []
        self._num_chars = 0
        self._num_held_chars = 0
        self._pieces: deque[Piece] = deque()
        self._arrived = asyncio.Event()
        self.is_awaited = False
        """Whether the reader can do nothing more until the writer continues."""
        if text is not None:
            self.append(text)
            self.end()

    def __len__(self) -> int:
        """The number of pieces that were not read yet."""
        return len(self._pieces)

    @property
    def text(self) -> str:
        """All the text so far, clean and composed: positions of sentences and words count in it."""
        return "".join(self._texts) + self._composer.held

    @property
    def num_chars(self) -> int:
        return self._num_chars + len(self._composer.held)

    @property
    def is_holding(self) -> bool:
        """Whether a character is held back, because a mark may follow that composes with it."""
        return self._composer.held != ""

    @property
    def num_ready_chars(self) -> int:
        """Characters that can be spoken without waiting for the writer."""
        return self.num_chars - self._num_held_chars

    def put(self, piece: Piece) -> None:
        """Add a piece. Control characters and the like are dropped from a text, as `clean` says."""
        if isinstance(piece, str):
            self._put_text(self._composer.push(piece))
        else:
            self._put_text(self._composer.finish())
            self._add(piece)

    def append(self, text: str) -> None:
        """Add text."""
        self.put(text)

    def flush(self, ref: str | None = None) -> None:
        """Have everything written so far spoken, mid-sentence too."""
        self.put(TextFlush(ref))

    def end(self) -> None:
        """Say that no more text follows."""
        self.put(TextEnd())

    def release(self) -> str:
        """Return the character that was held back, for a reader whose writer has paused."""
        return self._settle(self._composer.finish())

    async def next(self, timeout_s: float | None, *, num_held_chars: int = 0) -> Piece | None:
        """The next piece, or None if none came within `timeout_s` seconds.

        `num_held_chars`: how many characters the reader has and cannot use before the writer continues.
        """
        self._num_held_chars = num_held_chars
        try:
            async with asyncio.timeout(timeout_s):
                while not self._pieces:
                    self._arrived.clear()
                    self.is_awaited = timeout_s is None
                    await self._arrived.wait()
        except TimeoutError:
            return None
        finally:
            self._num_held_chars = 0
            self.is_awaited = False
        return self._pieces.popleft()

    def _put_text(self, text: str) -> None:
        if not self._settle(text):
            return
        if self._pieces and isinstance(waiting := self._pieces[-1], str):
            # A writer far ahead is read in one piece: how the text was cut on its way means nothing.
            self._pieces[-1] = waiting + text
        else:
            self._add(text)

    def _settle(self, text: str) -> str:
        """Count text that can no longer change."""
        if text:
            self._texts.append(text)
            self._num_chars += len(text)
        return text

    def _add(self, piece: Piece) -> None:
        self._pieces.append(piece)
        self._arrived.set()
