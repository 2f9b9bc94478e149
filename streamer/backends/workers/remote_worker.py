"""One worker as its front end sees it: watched over a connection of its own, and asked for sentences over others."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from typing import Final, Literal, Protocol

from streamer.backends.workers.answers import chunk_in, error_in
from streamer.backends.workers.connection import ConnectionPool, WorkerConnection
from streamer.backends.workers.messages import (
    PROTOCOL,
    Consumed,
    Failed,
    FromWorker,
    Hello,
    Model,
    Status,
    Voices,
    speak_message,
)
from streamer.errors import (
    ConfigError,
    InternalError,
    OverloadedError,
    StreamerError,
    WorkerLostError,
)
from streamer.synthesis import PcmChunk, Room, SentenceRequest, WorkerHealth

logger = logging.getLogger(__name__)
TICK_S: Final = 0.5
STALL_TICKS: Final = 10
"""After this many ticks without a status a worker counts as hung. Ticks and not seconds, because a front end that was
stopped itself has read nothing meanwhile."""
RETRY_S: Final = (0.25, 2.0)
"""How long a worker that does not answer is left alone, at first and at most, in seconds."""


class Front(Protocol):
    """What a worker needs of the front end it belongs to."""

    version: str
    token: str
    fingerprint: str

    async def adopt(self, fingerprint: str, model: Model) -> None:
        """Take over the first worker's model, or raise `ConfigError` for one that is another."""
        ...

    def heard_news(self) -> None:
        """Be told that a worker's status has changed."""
        ...

    def heard_voices(self) -> None:
        """Be told that the voices of a worker have changed, or whether it answers or is ready."""
        ...


class RemoteWorker:
    """One worker at an address. `watch` runs as long as the front end does."""

    def __init__(self, address: str, front: Front) -> None:
        self.address = address
        self.status: Status | None = None
        """What it told last; None while it does not answer, or must not be used."""
        self.problem = "nothing was heard of it yet"
        self.voices: Mapping[str, bytes] = {}
        """A digest of each of its voices, as it told last."""
        self.default_voice = ""
        self.num_chosen = 0
        self.num_retries = 0
        """Sentences that it was asked for, and that another worker has to make because this one was lost."""
        self._num_refusals = 0
        self._num_losses = 0
        self._front = front
        self._utterances: Counter[str] = Counter()  # their sentences that are open here
        # Utterances since the last status, and since the one before.
        self._begun: list[set[str]] = [set(), set()]
        self._refused_until_s = 0.0
        self.is_doubted = False
        """A connection to it broke, and it has not told how it is since: its others may be broken, too."""
        self._pool = ConnectionPool(self._open_for_speech)

    @property
    def is_ready(self) -> bool:
        """Whether it takes new sentences."""
        return self.status is not None and self.status.is_ready and not self.status.is_draining

    @property
    def refused_for_s(self) -> float:
        """For how long it is not to be asked for a new utterance, because it refused one."""
        return max(0.0, self._refused_until_s - time.monotonic())

    @property
    def num_open(self) -> int:
        """The sentences that this front end has open here."""
        return self._utterances.total()

    def speaks(self, utterance_id: str) -> bool:
        """Whether a sentence of the utterance is open here, so that it shares that one's playback."""
        return bool(utterance_id) and utterance_id in self._utterances

    def room(self) -> Room | None:
        """Return the room that it told, less what was begun here since; None if it refuses no one.

        An utterance is counted until the status after the next one: rather twice for a moment than not at all.
        """
        room = None if self.status is None else self.status.room
        if room is None:
            return None
        num_begun = len(set.union(*self._begun))
        return Room(
            num_listeners=room.num_listeners + num_begun,
            max_listeners=room.max_listeners,
            num_unheard=room.num_unheard + num_begun,
            num_short=room.num_short + num_begun,
            max_short=room.max_short,
            mean_stay_s=room.mean_stay_s,
        )

    def load(self) -> tuple[bool, float, int, int]:
        """Return what is less for a worker that should rather be asked."""
        room, status = self.room(), self.status
        if room is None or status is None:
            return False, 0.0, self.num_open, self.num_chosen
        num_listeners = max(room.num_listeners, len(self._utterances))
        load = num_listeners / (status.num_places or 1)
        return not room.is_enough(), load, self.num_open, self.num_chosen

    def health(self) -> WorkerHealth:
        """Return how it is, for the operator."""
        room = None if self.status is None else self.status.room
        return WorkerHealth(
            address=self.address,
            is_answering=self.status is not None,
            problem="" if self.is_ready else self.problem or "it is not ready",
            num_sentences=self.num_open,
            num_listeners=None if room is None else room.num_listeners,
            max_listeners=None if room is None else room.max_listeners,
            num_asked=self.num_chosen,
            num_refusals=self._num_refusals,
            num_retries=self.num_retries,
            num_losses=self._num_losses,
        )

    def note_refusal(self, retry_after_s: float) -> None:
        """Note that it refused an utterance, and when it may be asked for another one."""
        self._num_refusals += 1
        self._refused_until_s = time.monotonic() + retry_after_s

    async def watch(self) -> None:
        """Keep a connection over which the worker tells how it is, and connect again whenever that ends."""
        pause_s = RETRY_S[0]
        while True:
            began_s = time.monotonic()
            try:
                await self._watch_once()
            except StreamerError as error:
                self._lose(error)
            except Exception:
                logger.exception("an unexpected error", extra={"worker": self.address})
                self._lose(InternalError("watching it failed; the log says why"))
            if time.monotonic() - began_s > RETRY_S[1]:
                pause_s = RETRY_S[0]
            await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))  # nosec B311
            pause_s = min(RETRY_S[1], 2 * pause_s)

    async def speak(self, request: SentenceRequest) -> AsyncGenerator[PcmChunk, None]:
        """Yield the sentence's sound; to close the generator cancels it.

        Raises `WorkerLostError` if the worker ends or fails before the sentence does, `OverloadedError` if it has no
        room, and else what is wrong with the sentence.
        """
        connection, is_answered = None, False
        name = request.utterance_id or request.request_id
        if name not in self._utterances:
            self._begun[0].add(name)
        self._utterances[name] += 1
        self.num_chosen += 1
        try:
            connection = await self._pool.take()
            await connection.send(speak_message(request))
            while not is_answered:
                message = await connection.receive()
                if isinstance(message, Failed):
                    is_answered = True
                    self._pool.give_back(connection)
                    where = {"worker": self.address, "code": message.code}
                    logger.warning("a sentence failed on a worker", extra=where)
                    raise error_in(message)
                chunk, is_answered = chunk_in(message)
                if is_answered:
                    self._pool.give_back(connection)
                else:
                    await connection.send(Consumed())
                yield chunk
        except ConfigError as error:
            raise WorkerLostError(error.message) from None
        except WorkerLostError:
            self.is_doubted = not is_answered
            raise
        finally:
            if connection is not None and not is_answered:
                self._pool.discard(connection)
            self._utterances[name] -= 1
            if not self._utterances[name]:
                del self._utterances[name]

    async def aclose(self) -> None:
        """Close every connection to it."""
        self.status = None
        await self._pool.aclose()

    async def _watch_once(self) -> None:
        hello = self._hello("watch")
        connection, welcome = await WorkerConnection.open(self.address, hello)
        try:
            message = await self._receive_in_time(connection)
            if isinstance(message, Model):
                await self._front.adopt(welcome.fingerprint, message)
                message = await self._receive_in_time(connection)
            while isinstance(message, Status | Voices):
                self._note(message)
                message = await self._receive_in_time(connection)
            raise WorkerLostError("it sent what is no status")
        finally:
            with contextlib.suppress(OSError):
                await connection.close()

    async def _receive_in_time(self, connection: WorkerConnection) -> FromWorker:
        """Return the next message. Raises `WorkerLostError` if the worker hangs, and cuts all that it was asked for."""
        receiving = asyncio.ensure_future(connection.receive())
        try:
            for _ in range(STALL_TICKS):
                await asyncio.wait({receiving}, timeout=TICK_S)
                if receiving.done():
                    return receiving.result()
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
        connection.abort()
        self._pool.abort()
        raise WorkerLostError(f"it has said nothing for {STALL_TICKS * TICK_S:.0f} s")

    def _note(self, told: Status | Voices) -> None:
        if isinstance(told, Voices):
            self.voices, self.default_voice = told.digests, told.default
            self._front.heard_voices()
        else:
            self._note_status(told)

    def _note_status(self, status: Status) -> None:
        before, was_ready, self.status = self.status, self.is_ready, status
        self.is_doubted = False
        if before is None or was_ready != self.is_ready:
            self._front.heard_voices()
        if before is None:
            logger.info("a worker answers", extra={"worker": self.address})
            self._pool.fill()
        elif status.is_draining and not before.is_draining:
            logger.info("a worker drains", extra={"worker": self.address})
        self._begun = [set(), self._begun[0]]
        self.problem = "it drains" if status.is_draining else status.reason or ""
        self._front.heard_news()

    def _lose(self, error: StreamerError) -> None:
        is_loading = isinstance(error, OverloadedError)
        problem = "it is not ready yet" if is_loading else error.message
        if problem != self.problem:
            level = logging.INFO if is_loading else logging.WARNING
            logger.log(level, "worker %s cannot be used: %s", self.address, problem)
        self._num_losses += self.status is not None
        self.status, self.problem = None, problem
        self._front.heard_voices()
        self._front.heard_news()

    async def _open_for_speech(self) -> WorkerConnection:
        connection, welcome = await WorkerConnection.open(self.address, self._hello("speak"))
        if welcome.fingerprint != self._front.fingerprint:  # it was started again, with another model
            await connection.close()
            raise WorkerLostError("its model is not the one it had")
        return connection

    def _hello(self, role: Literal["watch", "speak"]) -> Hello:
        front = self._front
        return Hello(
            protocol=PROTOCOL,
            version=front.version,
            role=role,
            token=front.token,
            fingerprint=front.fingerprint,
        )
