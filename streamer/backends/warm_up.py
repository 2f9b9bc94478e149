"""A synthesizer's first sentences, spoken to nobody: what is slow only once happens here, and the engine learns."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

from streamer.synthesis import SentenceRequest, Synthesizer

FIRST_TEXT = "Hello."
TEXT = "One, two, three, four."
AT_ONCE = 4
TAKES_LONG_S = 2.0
"""A machine that takes longer is not kept from its start: its first listeners teach the engine."""


async def warm_up(synthesizer: Synthesizer, *, num_slots: int) -> None:
    """Return once the first sound was made, and on a quick machine when it is known what a few at once cost."""
    started_s = time.monotonic()
    async with aclosing(synthesizer.synthesize(_request("warm-up", synthesizer, FIRST_TEXT))) as chunks:  # type: ignore[type-var]
        async for _ in chunks:
            break
    for num_sentences in (1, min(AT_ONCE, num_slots)):
        if time.monotonic() - started_s > TAKES_LONG_S:
            break
        started_s = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number in range(num_sentences):
                tasks.create_task(_speak(f"warm-up {number}", synthesizer))


async def _speak(name: str, synthesizer: Synthesizer) -> None:
    fits = synthesizer.count_tokens(TEXT) <= synthesizer.info.max_text_tokens
    async for _ in synthesizer.synthesize(_request(name, synthesizer, TEXT if fits else FIRST_TEXT)):
        pass


def _request(name: str, synthesizer: Synthesizer, text: str) -> SentenceRequest:
    """As a later sentence, which is never refused."""
    info = synthesizer.info
    return SentenceRequest(name, text, info.default_voice, info.default_params, sentence_index=1)
