"""Tells with each chunk of a sentence when its words are heard, for a model that knows; `local` asks."""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Final

from streamer.stages.sentence import SentenceWork
from streamer.synthesis import PcmChunk, SaidWord
from streamer.text.phones import without_phones

_WORD: Final = re.compile(r"\S+")
_MARKS: Final = string.punctuation + string.whitespace + "…"


class TextWords:
    """The words of a sentence's text: what stands between spaces."""

    def __init__(self, text: str, count_tokens: Callable[[str], int]) -> None:
        self._text = text
        self._count_tokens = count_tokens
        self._spans = [match.span() for match in _WORD.finditer(text)]

    def told(self, chunk: PcmChunk, work: SentenceWork) -> PcmChunk:
        """The chunk with the words of `work` that are said by now and, if it was cut, those that are not."""
        if work.path is None:
            return chunk
        times = work.word_times(self._ends)
        words = tuple(SaidWord(*span, *time) for span, time in zip(self._spans, times, strict=False))
        unspoken = without_phones(" ".join(self._text.split()[len(words) :])) if chunk.truncated else ""
        return replace(chunk, words=words, unspoken=unspoken)

    @cached_property
    def _ends(self) -> list[int]:
        """The ends of the words among the text's tokens; a mark behind a word is not a part of it."""
        return [self._count_tokens(self._text[:end].rstrip(_MARKS)) for _, end in self._spans]
