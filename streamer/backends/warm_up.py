"""A synthesizer's first sentences, spoken to nobody: what is slow only once happens here, and the engine learns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol

from streamer.synthesis import ModelInfo, PcmChunk, SentenceRequest

FIRST_TEXT = "Hello."
TEXT = "One, two, three, four."
AT_ONCE = 4
TAKES_LONG_S = 2.0
"""A machine that takes longer is not kept from its start: its first listeners teach the engine."""


class Speaker(Protocol):
    """Of a synthesizer what is needed here."""

    @property
    def info(self) -> ModelInfo: ...

    def count_tokens(self, text: str) -> int: ...

    def synthesize(self, request: SentenceRequest) -> AsyncGenerator[PcmChunk, None]: ...


async def warm_up(speaker: Speaker, *, num_slots: int, reset_costs: Callable[[], None]) -> None:
    """Return once sound was made, and on a quick machine when it is known what a few at once cost.

    `forget_costs`: has the engine forget what the first sentences took, in which much is compiled.
    """
    at_once = min(AT_ONCE, num_slots)
    await _speak(speaker, FIRST_TEXT, 1, to_end=False)
    took_s = await _speak(speaker, FIRST_TEXT, 1, to_end=False)
    if took_s <= TAKES_LONG_S:
        await _speak(speaker, FIRST_TEXT, at_once, to_end=True)
    reset_costs()
    fits = speaker.count_tokens(TEXT) <= speaker.info.max_text_tokens
    for num_sentences in (1, at_once):
        if took_s > TAKES_LONG_S:
            return
        took_s = await _speak(speaker, TEXT if fits else FIRST_TEXT, num_sentences, to_end=True)


async def _speak(speaker: Speaker, text: str, num_sentences: int, *, to_end: bool) -> float:
    """So many at once, to their ends or their first sounds; returns the seconds it took."""
    started_s = time.monotonic()

    async def speak(number: int) -> None:
        # As a later sentence, which is never refused.
        request = SentenceRequest(
            f"warm-up {number}",
            text,
            speaker.info.default_voice,
            speaker.info.default_params,
            sentence_index=1,
        )
        async with aclosing(speaker.synthesize(request)) as chunks:
            async for _ in chunks:
                if not to_end:
                    return

    async with asyncio.TaskGroup() as tasks:
        for number in range(num_sentences):
            tasks.create_task(speak(number))
    return time.monotonic() - started_s
