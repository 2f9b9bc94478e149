"""One sentence in the making: pulled from the synthesizer and iterated by `pipeline`; begun by `lookahead`.

A sentence that went wrong before any of it was heard is made once more, and so is one whose worker was lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from streamer.audio.levels import LevelMeter
from streamer.audio.pcm import SILENCE_PEAK
from streamer.errors import WorkerLostError
from streamer.speech.sayable import is_sayable, is_too_short
from streamer.synthesis import PcmChunk, SentenceRequest, Synthesizer
from streamer.text.splitting.sentences import Sentence
from streamer.voices.voice import Voice

CHUNKS_AHEAD: Final = 4
"""How many chunks of the sentence being heard may wait to be encoded before its synthesis is asked for more.

A sentence that waits for its turn is made whole: it is not long, and only its end shows whether it is fit to be heard.
"""
MAX_REMAKES: Final = 2
"""How often a sentence is made again, with the same sound, because its worker was lost before it was heard."""
SEED_BITS: Final = 53


class SentenceStream:
    """A sentence's chunks, pulled into a queue and iterated from there.

    `after` is what the voice's sentence before was spoken as, which this one continues once it is known. `spoken_as` is
    the same of this sentence, None if there is nothing to continue; it is set if the request `wants_history`.

    A sentence without anything to say has no chunks and is not made. Of the others, `retry_seed` is what the sentence
    was made with the second time; it is known before the first chunk. `lost_words` says, with the last chunk, that the
    sound is too short for the text. `loss` says, at the end, that the sound breaks off because its worker was lost.
    One that `is_held` has no chunk before it is made, so that whether it is made again depends on no clock.
    """

    def __init__(
        self,
        sentence: Sentence,
        text_ready_s: float,
        synthesizer: Synthesizer,
        request: SentenceRequest,
        after: asyncio.Future[Voice | None] | None,
        waiting: GenerationTimer,
        *,
        is_held: bool = False,
    ) -> None:
        self.sentence = sentence
        self.text_ready_s = text_ready_s
        self.index = request.sentence_index
        self.voice = request.voice
        self.is_sayable = is_sayable(request.text)
        self.retry_seed: int | None = None
        self.lost_words = False
        self.loss: WorkerLostError | None = None
        self.spoken_as: asyncio.Future[Voice | None] = asyncio.get_running_loop().create_future()
        self._synthesizer = synthesizer
        self._request = request
        self._after = after
        self._waiting = waiting
        self._queue: asyncio.Queue[PcmChunk | Exception | None] = asyncio.Queue()
        self._is_heard = False
        self._is_free = asyncio.Event()
        if not is_held:
            self._is_free.set()
        self._taken = asyncio.Event()
        self._puller = asyncio.create_task(self._pull())

    def __aiter__(self) -> SentenceStream:
        return self

    async def __anext__(self) -> PcmChunk:
        await self._is_free.wait()
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
            if not self.is_sayable:
                self.spoken_as.set_result(request.history)
            elif not await self._make(request, may_retry=request.params.max_gen_duration_s is None):
                await self._make(self._retried(request), may_retry=False)
            await self._put(None)
        except Exception as error:
            if isinstance(error, WorkerLostError) and self._is_heard:
                self.loss = error
                await self._put(None)
            else:
                await self._put(error)
        finally:
            self._is_free.set()
            if not self.spoken_as.done():
                self.spoken_as.set_result(None)

    def _retried(self, request: SentenceRequest) -> SentenceRequest:
        self.retry_seed = retry_seed(request.params.seed, self.index)
        params = replace(request.params, seed=self.retry_seed)
        return replace(request, request_id=f"{request.request_id}.retry", params=params)

    async def _make(self, request: SentenceRequest, *, may_retry: bool) -> bool:
        """`_make_once`, and again if what makes the sentence is lost while nothing of it was heard."""
        for _ in range(MAX_REMAKES):
            try:
                return await self._make_once(request, may_retry=may_retry)
            except WorkerLostError:
                if self._is_heard:
                    raise
                self._discard_unheard()
        return await self._make_once(request, may_retry=may_retry)

    async def _make_once(self, request: SentenceRequest, *, may_retry: bool) -> bool:
        """Pull the sentence; False if it went wrong and was thrown away, because nothing of it was heard yet."""
        meter = LevelMeter(self._synthesizer.info.sample_rate_hz)
        is_silent = True
        silence: list[PcmChunk] = []  # which is only passed on once it is known that sound follows
        async with contextlib.aclosing(self._synthesizer.synthesize(request)) as chunks:
            while True:
                with self._waiting.measured():
                    chunk = await anext(chunks, PcmChunk(np.zeros(0, np.float32), is_last=True))
                meter.add(chunk.samples)
                if chunk.is_last:
                    break
                is_silent = is_silent and not meter.is_loud(SILENCE_PEAK).any()
                silence.append(chunk)
                if not is_silent:
                    for heard in silence:
                        await self._put(heard)
                    silence.clear()
        self.lost_words = not chunk.truncated and is_too_short(meter, request.text)
        if (chunk.truncated or self.lost_words) and may_retry and not self._is_heard:
            self._discard_unheard()
            return False
        # It is made, whenever it may be heard: what continues it can begin.
        if request.wants_history:
            # The end of a sentence that was cut in the middle is nothing to continue.
            spoken_as = None if chunk.truncated else chunk.history
            self.spoken_as.set_result(spoken_as or request.history)
        for heard in (*silence, chunk):
            await self._put(heard)
        return True

    def _discard_unheard(self) -> None:
        while not self._queue.empty():
            self._queue.get_nowait()

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
