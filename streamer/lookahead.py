"""Has the next sentence of an utterance made while one is being heard; the hands of `pipeline.speak`."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from typing import Final

from streamer.speech import SpeechSettings, TextFeed, TextFlush
from streamer.synthesis import PcmChunk, SentenceRequest, Synthesizer
from streamer.text.reading import create_splitter
from streamer.text.sentences import Sentence

SENTENCES_AHEAD: Final = 1
"""Sentences in the making that wait their turn, besides the one being spoken and the one just requested."""
PAUSES: Final = (1, 3)
"""A writer who pauses for `max_buffer_ms` hears his whole words spoken, and his last, which might still have
grown, when he pauses three times as long again."""
CHUNKS_AHEAD: Final = 4
"""Chunks of one sentence that may wait to be encoded; then its synthesis is not asked for more."""


class SentencesAhead:
    """Reads the text, cuts it into sentences, and has the next one made while one is being heard."""

    def __init__(self, feed: TextFeed, synthesizer: Synthesizer, settings: SpeechSettings) -> None:
        self.waiting = WaitingTime()
        self._feed = feed
        self._synthesizer = synthesizer
        self._settings = settings
        self._utterance_id = secrets.token_hex(8)
        self._num_sentences = 0
        self._num_taken = 0
        self._is_all_read = False
        self._streams: set[SentenceStream] = set()
        self._current: SentenceStream | None = None
        self._queue: asyncio.Queue[SentenceStream | TextFlush | Exception | None] = asyncio.Queue(
            SENTENCES_AHEAD
        )
        self._reader = asyncio.create_task(self._read_or_report())

    @property
    def is_exhausted(self) -> bool:
        """Whether it is already known that no further sentence follows."""
        return self._is_all_read and self._num_taken == self._num_sentences

    async def next(self) -> SentenceStream | TextFlush | None:
        """The next sentence with its sound, a flush that all before it has reached, or None at the end."""
        if self._current is not None:
            self._streams.discard(self._current)
            self._current = None
        item = await self._queue.get()
        if isinstance(item, Exception):
            raise item
        if isinstance(item, SentenceStream):
            self._current = item
            self._num_taken += 1
        return item

    async def aclose(self) -> None:
        """Stop reading, and cancel every sentence that is still in the making."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await asyncio.gather(*(stream.aclose() for stream in self._streams))

    async def _read_or_report(self) -> None:
        try:
            await self._read()
            self._is_all_read = True
            await self._queue.put(None)
        except Exception as error:
            await self._queue.put(error)

    async def _read(self) -> None:
        info, settings = self._synthesizer.info, self._settings
        splitter = create_splitter(info, self._synthesizer.count_tokens, settings.reading)
        patience_s = None if settings.max_buffer_ms is None else settings.max_buffer_ms / 1000
        num_pauses = 0  # since the last text
        while True:
            wait_s = None
            if patience_s is not None and splitter.pending and num_pauses < len(PAUSES):
                wait_s = patience_s * PAUSES[num_pauses]
            item = await self._feed.next(wait_s)
            if item is None:
                num_pauses += 1
                await self._request(splitter.flush_words(is_last_whole=num_pauses == len(PAUSES)))
                continue
            num_pauses = 0
            if isinstance(item, str):
                await self._request(splitter.feed(item))
            elif isinstance(item, TextFlush):
                await self._request(splitter.flush())
                await self._queue.put(item)
            else:
                return await self._request(splitter.end())

    async def _request(self, sentences: Sequence[Sentence]) -> None:
        """Have each sentence made, in order, as far ahead as the queue lets us."""
        known_s = time.monotonic()
        for sentence in sentences:
            request = SentenceRequest(
                request_id=f"{self._utterance_id}.{self._num_sentences}",
                text=sentence.said,
                voice=self._settings.voice,
                params=self._settings.params,
                sentence_index=self._num_sentences,
                utterance_id=self._utterance_id,
            )
            chunks = self._synthesizer.synthesize(request)
            stream = SentenceStream(sentence, self._num_sentences, known_s, chunks, self.waiting)
            self._num_sentences += 1
            self._streams.add(stream)
            await self._queue.put(stream)


class SentenceStream:
    """One sentence in the making: its chunks are pulled into a bounded queue, and iterated from there."""

    def __init__(
        self,
        sentence: Sentence,
        index: int,
        known_s: float,
        chunks: AsyncIterator[PcmChunk],
        waiting: WaitingTime,
    ) -> None:
        self.sentence = sentence
        self.index = index
        self.known_s = known_s
        self._chunks = chunks
        self._waiting = waiting
        self._queue: asyncio.Queue[PcmChunk | Exception | None] = asyncio.Queue(CHUNKS_AHEAD)
        self._puller = asyncio.create_task(self._pull())

    def __aiter__(self) -> SentenceStream:
        return self

    async def __anext__(self) -> PcmChunk:
        item = await self._queue.get()
        if isinstance(item, Exception):
            raise item
        if item is None:
            raise StopAsyncIteration
        return item

    async def aclose(self) -> None:
        """Cancel what is still being made, and return once the synthesizer has let go of it."""
        self._puller.cancel()
        await asyncio.gather(self._puller, return_exceptions=True)
        if isinstance(self._chunks, AsyncGenerator):
            await self._chunks.aclose()

    async def _pull(self) -> None:
        try:
            while True:
                with self._waiting.measured():
                    chunk = await anext(self._chunks, None)
                await self._queue.put(chunk)
                if chunk is None:
                    return
        except Exception as error:
            await self._queue.put(error)


class WaitingTime:
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
