"""The synthesizer as one utterance sees it: its sentences wait in the `start_queue`; `admission` makes one for each."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import replace

from streamer.server.start_queue import ClientShare, StartQueue, Tell
from streamer.synthesis import Health, ModelInfo, PcmChunk, SentenceRequest, Synthesizer
from streamer.telemetry.traces import NO_SPAN, Span


class QueuedSynthesizer:
    """The synthesizer as an utterance with this span sees it: if it has no unfinished sentence, the next one queues."""

    def __init__(
        self,
        synthesizer: Synthesizer,
        queue: StartQueue,
        share: ClientShare,
        timeout_s: float,
        tell: Tell,
        span: Span = NO_SPAN,
    ) -> None:
        self._synthesizer = synthesizer
        self._queue = queue
        self._share = share
        self._timeout_s = timeout_s
        self._tell = tell
        self._span = span
        self._entering = asyncio.Lock()
        self._num_unfinished = 0
        self._has_begun = False
        self._sound_s = 0.0  # since it was let in

    @property
    def is_idle(self) -> bool:
        """Whether no sentence of the utterance is being made or waits for it."""
        return not self._num_unfinished and not self._entering.locked()

    @property
    def info(self) -> ModelInfo:
        return self._synthesizer.info

    def count_tokens(self, text: str) -> int:
        return self._synthesizer.count_tokens(text)

    def health(self) -> Health:
        return self._synthesizer.health()

    async def start(self) -> None:
        await self._synthesizer.start()

    async def close(self) -> None:
        await self._synthesizer.close()

    async def synthesize(self, request: SentenceRequest) -> AsyncGenerator[PcmChunk, None]:
        """Yield the sentence's sound once there is room; raises also what `StartQueue.enter` does."""
        async with self._entering:
            if not self._num_unfinished:
                with self._span.child("queue wait"):
                    await self._queue.enter(
                        self._share, self._timeout_s, self._tell, has_begun=self._has_begun
                    )
            self._num_unfinished += 1
        span = self._span.child(
            "sentence", sentence_index=request.sentence_index, request_id=request.request_id
        )
        is_preferred = self._queue.is_preferred(self._share)
        request = replace(request, is_preferred=is_preferred, traceparent=span.traceparent)
        try:
            with span:
                async with contextlib.aclosing(self._synthesizer.synthesize(request)) as chunks:
                    async for chunk in chunks:
                        self._has_begun = True
                        sound_s = len(chunk.samples) / self._synthesizer.info.sample_rate_hz
                        self._sound_s += sound_s
                        self._share.sound_s += sound_s
                        if chunk.is_last:  # its reader closes the iterator behind it
                            span.set(truncated=chunk.truncated)
                            span.end()
                        yield chunk
        finally:
            self._num_unfinished -= 1
            if not self._num_unfinished:
                self._share.sound_s -= self._sound_s
                self._sound_s = 0.0
                self._queue.leave(self._share)
