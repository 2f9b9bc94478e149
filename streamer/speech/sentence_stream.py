"""One sentence of an utterance in the making: pulled from the synthesizer, iterated by `pipeline`, and made once more
where the model went astray before anybody heard of it. `lookahead` begins them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from typing import Final

from streamer.synthesis import PcmChunk, SentenceRequest, Synthesizer
from streamer.text.splitting.sentences import Sentence
from streamer.voices.voice import Voice

CHUNKS_AHEAD: Final = 4
"""Chunks of the sentence being heard that may wait to be encoded; then its synthesis is not asked for more. One that
waits for its turn is made whole: it is not long, and only its end shows whether it is fit to be heard."""
SEED_BITS: Final = 53


class SentenceStream:
    """A sentence's chunks, pulled into a queue and iterated from there.

    `after`: what the voice's sentence before was spoken as, which this one goes on from when it is known.
    `spoken_as` is the same of this one, None where there is nothing to go on from; it is set where the request
    `wants_history`. `retry_seed`: what it was made with the second time, known before its first chunk is.
    """

    def __init__(
        self,
        sentence: Sentence,
        text_ready_s: float,
        synthesizer: Synthesizer,
        request: SentenceRequest,
        after: asyncio.Future[Voice | None] | None,
        waiting: GenerationTimer,
    ) -> None:
        self.sentence = sentence
        self.text_ready_s = text_ready_s
        self.index = request.sentence_index
        self.voice = request.voice
        self.retry_seed: int | None = None
        self.spoken_as: asyncio.Future[Voice | None] = asyncio.get_running_loop().create_future()
        self._synthesizer = synthesizer
        self._request = request
        self._after = after
        self._waiting = waiting
        self._queue: asyncio.Queue[PcmChunk | Exception | None] = asyncio.Queue()
        self._is_heard = False
        self._taken = asyncio.Event()
        self._puller = asyncio.create_task(self._pull())

    def __aiter__(self) -> SentenceStream:
        return self

    async def __anext__(self) -> PcmChunk:
        item = await self._queue.get()
        self._is_heard = True
        self._taken.set()
        if isinstance(item, Exception):
            raise item
        if item is None:
            raise StopAsyncIteration
        return item

    def cancel(self) -> None:
        """Cancel what is still being made."""
        self._puller.cancel()

    async def aclose(self) -> None:
        """Cancel what is still being made, and return once the synthesizer has let go of it."""
        self.cancel()
        await asyncio.gather(self._puller, return_exceptions=True)

    async def _pull(self) -> None:
        try:
            request = self._request
            if self._after is not None:
                request = replace(request, history=await self._after)
                self._after = None
            if not await self._make(request, may_retry=request.params.max_gen_duration_s is None):
                self.retry_seed = retry_seed(request.params.seed, self.index)
                params = replace(request.params, seed=self.retry_seed)
                await self._make(replace(request, params=params), may_retry=False)
            await self._put(None)
        except Exception as error:
            await self._put(error)
        finally:
            if not self.spoken_as.done():
                self.spoken_as.set_result(None)

    async def _make(self, request: SentenceRequest, *, may_retry: bool) -> bool:
        """Pull the sentence; False where it ran away, and was thrown away because nothing of it was heard yet."""
        chunks = self._synthesizer.synthesize(request)
        try:
            while True:
                with self._waiting.measured():
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return True
                if chunk.truncated and may_retry and not self._is_heard:
                    while not self._queue.empty():
                        self._queue.get_nowait()
                    return False
                if chunk.is_last:
                    break
                await self._put(chunk)
        finally:
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
        # It is made, whenever it may be heard: what goes on from it can begin.
        if request.wants_history:
            # What a sentence cut in the middle ends with is nothing to go on from.
            spoken_as = None if chunk.truncated else chunk.history
            self.spoken_as.set_result(spoken_as or request.history)
        await self._put(chunk)
        return True

    async def _put(self, item: PcmChunk | Exception | None) -> None:
        while self._is_heard and self._queue.qsize() >= CHUNKS_AHEAD:
            self._taken.clear()
            await self._taken.wait()
        self._queue.put_nowait(item)


def retry_seed(seed: int, sentence_index: int) -> int:
    """The seed of a sentence's second attempt: the same whenever the first was made with `seed`."""
    digest = hashlib.blake2b(f"{seed}:{sentence_index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> (64 - SEED_BITS)


class GenerationTimer:
    """How long at least one sentence waited for the synthesizer: the time that generating took."""

    def __init__(self) -> None:
        self.total_s = 0.0
        self._num_waiting = 0
        self._since_s = 0.0

    @contextlib.contextmanager
    def measured(self) -> Iterator[None]:
        if self._num_waiting == 0:
            self._since_s = time.monotonic()
        self._num_waiting += 1
        try:
            yield
        finally:
            self._num_waiting -= 1
            if self._num_waiting == 0:
                self.total_s += time.monotonic() - self._since_s
