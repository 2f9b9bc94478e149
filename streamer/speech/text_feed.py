"""The text of an utterance: its writer appends while `pipeline.speak` reads."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from streamer.text.verbalize.normalize import sanitize


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
        self.text = ""
        self._num_held_chars = 0
        self._pieces: deque[Piece] = deque()
        self._arrived = asyncio.Event()
        if text is not None:
            self.append(text)
            self.end()

    def __len__(self) -> int:
        """The number of pieces that were not read yet."""
        return len(self._pieces)

    @property
    def num_chars(self) -> int:
        return len(self.text)

    @property
    def num_ready_chars(self) -> int:
        """Characters that can be spoken without waiting for the writer."""
        return len(self.text) - self._num_held_chars

    def put(self, piece: Piece) -> None:
        """Add a piece. Characters of a text that cannot be spoken and could do harm are dropped."""
        if isinstance(piece, str):
            piece = sanitize(piece)
            if not piece:
                return
            self.text += piece
            if self._pieces and isinstance(waiting := self._pieces[-1], str):
                # A writer far ahead is read in one piece: how the text was cut on its way means nothing.
                self._pieces[-1] = waiting + piece
                return
        self._pieces.append(piece)
        self._arrived.set()

    def append(self, text: str) -> None:
        """Add text."""
        self.put(text)

    def flush(self, ref: str | None = None) -> None:
        """Have everything written so far spoken, mid-sentence too."""
        self.put(TextFlush(ref))

    def end(self) -> None:
        """Say that no more text follows."""
        self.put(TextEnd())

    async def next(self, timeout_s: float | None, *, num_held_chars: int = 0) -> Piece | None:
        """The next piece, or None if none came within `timeout_s` seconds.

        `num_held_chars`: how many characters the reader has and cannot use before the writer continues.
        """
        self._num_held_chars = num_held_chars
        try:
            async with asyncio.timeout(timeout_s):
                while not self._pieces:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            return None
        finally:
            self._num_held_chars = 0
        return self._pieces.popleft()
