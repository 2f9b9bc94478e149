"""The sentences that a worker speaks: those of one connection, one after the other, and all that are open."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Hashable
from typing import Final, Literal, get_args

from streamer.backends.workers.frame_connection import FrameConnection
from streamer.backends.workers.messages import (
    NO_ROOM,
    WINDOW_CHUNKS,
    Consumed,
    Failed,
    Speak,
    chunk_message,
    decode_request,
    encode,
    request_of,
    retry_reason,
)
from streamer.errors import InternalError, InvalidMessageError, OverloadedError, StreamerError
from streamer.synthesis import ModelInfo, SentenceRequest, Synthesizer

logger = logging.getLogger(__name__)
RETRY_AFTER_S: Final = 0.5
"""When a front end that was refused should try again, if nothing better is known."""

Outcome = Literal["completed", "cancelled", "refused", "failed"]
"""How a sentence ended for the worker; `cancelled` ones were no longer wanted by their front end."""


class OpenSentences:
    """The sentences that are being made, whichever connections asked for them, and counts of those that have ended."""

    def __init__(self) -> None:
        self.num_ended: dict[Outcome, int] = dict.fromkeys(get_args(Outcome), 0)
        self.audio_s = 0.0
        """The sound that was sent, in seconds."""
        self._open: dict[Hashable, asyncio.Task[object]] = {}
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    def __len__(self) -> int:
        return len(self._open)

    async def finished(self) -> None:
        """Return once no sentence is open."""
        await self._is_idle.wait()

    @contextlib.asynccontextmanager
    async def open(self, key: Hashable) -> AsyncIterator[None]:
        """Count a sentence as open; an earlier request for it, which its front end has lost, is cancelled first."""
        while (earlier := self._open.get(key)) is not None:
            earlier.cancel()
            await asyncio.wait({earlier})
        task = asyncio.current_task()
        assert task is not None
        self._open[key] = task
        self._is_idle.clear()
        try:
            yield
        finally:
            del self._open[key]
            if not self._open:
                self._is_idle.set()


class SpeakingConnection:
    """Speaks the sentences that one connection asks for, one after the other."""

    def __init__(
        self,
        connection: FrameConnection,
        synthesizer: Synthesizer,
        info: ModelInfo,
        admit: Callable[[SentenceRequest], None],
        sentences: OpenSentences,
    ) -> None:
        """`admit` raises `OverloadedError` if there is no room for a sentence; `sentences` are all of the worker."""
        self._connection = connection
        self._synthesizer = synthesizer
        self._info = info
        self._admit = admit
        self._sentences = sentences
        self._speaking: asyncio.Task[None] | None = None
        self._is_answered = True  # the last chunk of the sentence, or its failure, is on its way
        self._num_unconsumed = 0
        self._credit = asyncio.Semaphore(0)

    async def run(self) -> None:
        """Return once the connection is closed. Raises `InvalidMessageError` for a front end that does not keep to
        the protocol."""
        try:
            # It receives all the time, so that a close cancels the sentence at once, whatever the sender waits for.
            while (frame := await self._connection.receive()) is not None:
                message = decode_request(frame)
                if isinstance(message, Speak):
                    await self._begin(message)
                elif isinstance(message, Consumed) and self._num_unconsumed:
                    self._num_unconsumed -= 1
                    self._credit.release()
                else:
                    raise InvalidMessageError("this message was not expected here")
        finally:
            if self._speaking is not None:
                self._speaking.cancel()
                await asyncio.gather(self._speaking, return_exceptions=True)

    async def _begin(self, message: Speak) -> None:
        if not self._is_answered:
            raise InvalidMessageError("a sentence is being spoken over this connection")
        if self._speaking is not None:
            await asyncio.wait({self._speaking})
        self._is_answered, self._num_unconsumed = False, 0
        self._credit = asyncio.Semaphore(WINDOW_CHUNKS)
        self._speaking = asyncio.create_task(self._speak(message))

    async def _speak(self, message: Speak) -> None:
        """Answer with the sentence's sound, or with its failure."""
        key = (message.utterance_id or message.request_id, message.sentence_index)
        outcome: Outcome = "cancelled"
        try:
            async with self._sentences.open(key):
                await self._send_sound(request_of(message, self._info))
            outcome = "completed"
        except OverloadedError as error:
            outcome = "refused"
            await self._connection.close(NO_ROOM, retry_reason(error.retry_after_s or RETRY_AFTER_S))
        except StreamerError as error:
            outcome = "failed"
            await self._fail(error)
        except ConnectionError:
            pass  # `run` sees it, too
        except Exception:
            outcome = "failed"
            logger.exception("an unexpected error", extra={"request": message.request_id})
            await self._fail(InternalError("the sentence failed; the worker's log says why"))
        finally:
            self._sentences.num_ended[outcome] += 1

    async def _send_sound(self, request: SentenceRequest) -> None:
        self._admit(request)
        async with contextlib.aclosing(self._synthesizer.synthesize(request)) as chunks:
            while not self._is_answered:
                await self._credit.acquire()
                chunk = await anext(chunks)
                self._num_unconsumed += 1
                self._is_answered = chunk.is_last
                await self._connection.send(encode(chunk_message(chunk)))
                self._sentences.audio_s += len(chunk.samples) / self._info.sample_rate_hz

    async def _fail(self, error: StreamerError) -> None:
        self._is_answered = True
        message = Failed(
            code=error.code,
            message=error.message[:4096],
            param=None if error.param is None else error.param[:256],
            retry_after_s=error.retry_after_s,
        )
        with contextlib.suppress(ConnectionError):
            await self._connection.send(encode(message))
