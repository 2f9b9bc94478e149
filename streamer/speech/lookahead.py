"""Cuts an utterance's text into sentences and has the next one made while one is heard; `pipeline.speak` takes them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Final

from streamer.speech.events import SpeechWarning
from streamer.speech.sentence_stream import GenerationTimer, SentenceStream
from streamer.speech.settings import SpeechSettings
from streamer.speech.speech_warnings import UnsupportedText, ignored_markup, voice_not_found
from streamer.speech.text_feed import TextFeed, TextFlush
from streamer.synthesis import SentenceRequest, Synthesizer
from streamer.text.reading import create_splitter
from streamer.text.splitting.dialogue import DialogueSplitter, TurnItem, UnknownVoice
from streamer.text.splitting.items import IgnoredMarkup, Pause
from streamer.text.splitting.sentences import Sentence
from streamer.voices.voice import Voice

SENTENCES_AHEAD: Final = 1
"""How many sentences wait their turn in the making, besides the one being spoken and the one just requested."""
SLICE_CHARS: Final = 32
"""How much text is cut before others have their turn, as they have behind each sentence, too: a sign of a number may
take a tenth of a millisecond. No more is cut than the next sentences need."""
ITEMS_AHEAD: Final = 16
"""How many sentences, flushes and warnings wait their turn. A flush takes no sentence's place, or the end of the text
behind it would be read too late to know which sentence is the last."""
PAUSES: Final = (1, 3, 10)
"""The pauses of a writer, one after the other and in units of `max_buffer_ms`, after which whole words are spoken, then
the last word, which might still have grown, and then a number at the end, which might still have been continued."""

Item = SentenceStream | Pause | TextFlush | SpeechWarning
"""What `pipeline` is given, in the order of the sound."""


class SentencesAhead:
    """Reads the text, cuts it into sentences, and has the next one made while one is being heard."""

    def __init__(
        self, feed: TextFeed, synthesizer: Synthesizer, settings: SpeechSettings, utterance_id: str
    ) -> None:
        self.waiting = GenerationTimer()
        self._feed = feed
        self._synthesizer = synthesizer
        self._settings = settings
        self._utterance_id = utterance_id
        self._unsupported = UnsupportedText(synthesizer.info)
        self._num_sentences = 0
        self._num_audible = 0  # sentences with anything to say, and pauses
        self._num_taken = 0  # of these
        self._is_all_read = False
        self._streams: set[SentenceStream] = set()
        self._current: SentenceStream | None = None
        self._last_of_voice: dict[str, asyncio.Future[Voice | None]] = {}
        self._queue: asyncio.Queue[Item | Exception | None] = asyncio.Queue(ITEMS_AHEAD)
        self._room = asyncio.Semaphore(SENTENCES_AHEAD)
        self._reader = asyncio.create_task(self._read_or_report())

    @property
    def is_exhausted(self) -> bool:
        """Whether it is known already that no further sentence with anything to say follows, and no pause."""
        return self._is_all_read and self._num_taken == self._num_audible

    async def next(self) -> Item | None:
        """Wait for the next sentence, a pause, a flush in its place, or a warning; None at the end of the text."""
        if self._current is not None:
            self._streams.discard(self._current)
            self._current = None
        item = await self._queue.get()
        if isinstance(item, Exception):
            raise item
        if isinstance(item, SentenceStream):
            self._current = item
            self._num_taken += item.is_sayable
            self._room.release()
        elif isinstance(item, Pause):
            self._num_taken += 1
        return item

    async def aclose(self) -> None:
        """Stop reading, and cancel every sentence that is still in the making."""
        # All of them are cancelled before the first wait, in which this task may be cancelled once more.
        self._reader.cancel()
        for stream in self._streams:
            stream.cancel()
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
        splitter = DialogueSplitter(
            create_splitter(info, self._synthesizer.count_tokens, settings.reading),
            info.voices,
            settings.speakers,
        )
        timeout_s = None if settings.max_buffer_ms is None else settings.max_buffer_ms / 1000
        num_pauses = 0  # since the last text
        while True:
            wait_s = None
            is_unfinished = splitter.pending != "" or self._feed.is_holding
            if timeout_s is not None and is_unfinished and num_pauses < len(PAUSES):
                wait_s = timeout_s * PAUSES[num_pauses]
            item = await self._feed.next(wait_s, num_held_chars=len(splitter.pending))
            if item is None:
                num_pauses += 1
                await self._request(splitter.feed(self._feed.release()))
                await self._request(
                    splitter.flush_words(is_last_whole=num_pauses > 1, is_number_whole=num_pauses > 2)
                )
                continue
            num_pauses = 0
            if isinstance(item, str):
                for start in range(0, len(item), SLICE_CHARS):
                    await self._request(splitter.feed(item[start : start + SLICE_CHARS]))
                    await asyncio.sleep(0)
            elif isinstance(item, TextFlush):
                await self._request(splitter.flush())
                await self._queue.put(item)
            else:
                return await self._request(splitter.end())

    async def _request(self, found: Iterable[TurnItem]) -> None:
        """Have each sentence made, in order, as far ahead as the queue allows; each is cut in a turn of its own."""
        text_ready_s = time.monotonic()
        for item in found:
            await asyncio.sleep(0)
            if isinstance(item, UnknownVoice):
                await self._queue.put(voice_not_found(item.name))
                continue
            if isinstance(item, IgnoredMarkup):
                await self._queue.put(ignored_markup(item))
                continue
            if isinstance(item, Pause):
                self._num_audible += 1
                await self._queue.put(item)
                continue
            for warning in self._unsupported.warnings(item.words):
                await self._queue.put(warning)
            stream = self._begin(item, text_ready_s)
            self._num_sentences += 1
            self._num_audible += stream.is_sayable
            self._streams.add(stream)
            await self._room.acquire()
            await self._queue.put(stream)

    def _begin(self, sentence: Sentence, text_ready_s: float) -> SentenceStream:
        """Have the sentence made; in a chain it continues its voice's last one, once that has been made."""
        settings = self._settings
        request = SentenceRequest(
            request_id=f"{self._utterance_id}.{self._num_sentences}",
            text=sentence.spoken_text,
            voice=sentence.voice or settings.voice,
            params=settings.params,
            sentence_index=self._num_sentences,
            speed=settings.speed * sentence.rate,
            utterance_id=self._utterance_id,
            keeps_voice=settings.continuity == "preset+chain",
            wants_history=settings.include_history or settings.continuity != "preset",
        )
        last = self._last_of_voice.get(request.voice)
        stream = SentenceStream(
            sentence, text_ready_s, self._synthesizer, request, last, self.waiting, is_held=settings.is_held
        )
        if settings.continuity != "preset":
            self._last_of_voice[request.voice] = stream.spoken_as
        return stream
