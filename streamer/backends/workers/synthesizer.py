"""A synthesizer over workers on other machines: it picks one for every sentence, and another one if that is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import fields, replace
from typing import Final

from streamer.backends.workers.messages import Model, model_of
from streamer.backends.workers.remote_worker import RemoteWorker
from streamer.backends.workers.voice_lists import SharedVoices
from streamer.errors import ConfigError, EngineError, OverloadedError, WorkerLostError
from streamer.synthesis import Health, ModelInfo, PcmChunk, Room, SentenceRequest, WorkersHealth
from streamer.text.tokens.tokenizer import Tokenizer

logger = logging.getLogger(__name__)
MAX_LOSSES: Final = 2
"""How many workers a sentence may lose before it fails: one that ends its workers must not end all of them."""
PATIENCE_S: Final = 5.0
"""How long a sentence waits for a worker that can take it."""
RETRY_AFTER_S: Final = 1.0


class WorkersSynthesizer:
    """Implements `streamer.synthesis.Synthesizer`. It holds no model, only the tokenizer that its workers send.

    A sentence's sound depends on its request alone, so that it does not matter which worker makes it. A sentence whose
    worker is lost before its first sound is made by another one, and nobody notices.
    """

    def __init__(
        self,
        addresses: Sequence[str] = (),
        *,
        version: str,
        token: str = "",
        listings: AsyncGenerator[Sequence[str], None] | None = None,
    ) -> None:
        """`version` is the program's, which the workers' must equal; `token` is the secret that they know.

        `listings` yields the addresses of all workers again and again, if they come and go.
        """
        self.version = version
        self.token = token
        self.fingerprint = ""
        self._remotes = {address: RemoteWorker(address, self) for address in addresses}
        self._listings = listings
        self._info: ModelInfo | None = None
        self._tokenizer: Tokenizer | None = None
        self._voices = SharedVoices()
        # What the first worker told; another one stands in for it while nobody has it.
        self._default_voice = ""
        self._has_new_voices = False
        self._adopting = asyncio.Lock()
        self._news = asyncio.Event()
        self._watching: dict[str, asyncio.Task[None]] = {}
        self._following: asyncio.Task[None] | None = None

    @property
    def workers(self) -> tuple[RemoteWorker, ...]:
        """The workers that are known now."""
        return tuple(self._remotes.values())

    @property
    def info(self) -> ModelInfo:
        if self._info is None:
            raise OverloadedError("no worker has answered yet", retry_after_s=RETRY_AFTER_S)
        return self._info

    def count_tokens(self, text: str) -> int:
        if self._tokenizer is None:
            raise OverloadedError("no worker has answered yet", retry_after_s=RETRY_AFTER_S)
        return len(self._tokenizer.encode(" ".join(text.split())))

    async def synthesize(self, request: SentenceRequest) -> AsyncGenerator[PcmChunk, None]:
        """Yield the sentence's sound; see the port.

        Raises `WorkerLostError` if the worker is lost after the first sound, `EngineError` if too many are before it,
        and `OverloadedError` or `EngineError` if no worker can take the sentence.
        """
        lost: list[RemoteWorker] = []
        give_up_s = time.monotonic() + PATIENCE_S
        while True:
            worker = await self._next_worker(request, lost, give_up_s)
            has_sound = False
            try:
                async with contextlib.aclosing(worker.speak(request)) as chunks:
                    async for chunk in chunks:
                        has_sound = True
                        yield chunk
                return
            except WorkerLostError as error:
                where = {"request": request.request_id, "worker": worker.address, "reason": error.message}
                logger.warning("a sentence lost its worker", extra=where)
                if has_sound:
                    raise WorkerLostError("the worker that spoke this sentence is gone") from None
                if len(lost) == MAX_LOSSES:  # perhaps the sentence is what ends them
                    raise EngineError(f"{MAX_LOSSES + 1} workers were lost before they spoke this") from None
                lost.append(worker)
                worker.num_retries += 1
            except OverloadedError as error:
                worker.note_refusal(error.retry_after_s or RETRY_AFTER_S)
                if request.sentence_index:  # which is asked for again, in spite of the refusal
                    rest_s = give_up_s - time.monotonic()
                    if rest_s <= 0:
                        raise
                    await asyncio.sleep(min(worker.refused_for_s, rest_s))

    def health(self) -> Health:
        """How the workers are, by what they told last; ready if one of them can be asked."""
        statuses = [worker.status for worker in self.workers if worker.status is not None]
        ready = [worker for worker in self.workers if worker.is_ready]
        speeds = [status.expected_speed for status in statuses if status.expected_speed is not None]
        return Health(
            alive=True,
            ready=bool(ready),
            reason=None if ready else self._lack(),
            expected_speed=max(speeds, default=None),
            room=_combined([worker.room() for worker in ready]),
            is_loaded=self._info is not None,
            step_age_s=max((status.step_age_s for status in statuses), default=0.0),
            workers=WorkersHealth(tuple(worker.health() for worker in self.workers)),
        )

    async def start(self) -> None:
        """Connect, and return once a worker is ready; until then those that fail are in the log."""
        for worker in self.workers:
            self._watch(worker)
        if self._listings is not None:
            self._following = asyncio.create_task(self._follow(self._listings))
        while not any(worker.is_ready for worker in self.workers):
            await self._next_news(None)

    async def close(self) -> None:
        """Cancel what is open, and close every connection."""
        tasks = [task for task in (self._following, *self._watching.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(worker.aclose() for worker in self.workers))

    async def adopt(self, fingerprint: str, model: Model) -> None:
        """Take over the first worker's model. Raises `ConfigError` for a later one that is another."""
        info, file = model_of(model)
        async with self._adopting:
            if self._info is None:
                self._tokenizer = await asyncio.to_thread(file.load, "the tokenizer that a worker sent")
                self._info, self.fingerprint = info, fingerprint
            elif fingerprint != self.fingerprint:
                raise ConfigError(_difference(info, self._info))

    def heard_voices(self) -> None:
        """Offer the voices of the workers that are ready, so that no sentence waits for one that drains.

        While none is ready, those of the workers that answer count; while none answers, the voices stay as they are.
        """
        answering = [worker for worker in self.workers if worker.status is not None and worker.voices]
        answering = [worker for worker in answering if worker.is_ready] or answering
        is_first = not self._voices.digests
        if self._info is None or not answering or not self._voices.merge(answering):
            return
        names = tuple(self._voices.digests)
        self._default_voice = self._default_voice or answering[0].default_voice
        default = self._default_voice if self._default_voice in names else answering[0].default_voice
        self._info = replace(self._info, voices=names, default_voice=default)
        self._has_new_voices = not is_first

    def reload_voices(self) -> None:
        """Do nothing: workers tell of their voices by themselves."""

    def refresh_voices(self) -> bool:
        """Return whether the workers' voices have changed since this was asked last."""
        has_changed, self._has_new_voices = self._has_new_voices, False
        return has_changed

    def heard_news(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _watch(self, worker: RemoteWorker) -> None:
        self._remotes[worker.address] = worker
        self._watching[worker.address] = asyncio.create_task(worker.watch())

    async def _follow(self, listings: AsyncGenerator[Sequence[str], None]) -> None:
        """Use the workers of each listing, and forget the others once they do not answer."""
        async with contextlib.aclosing(listings):
            async for addresses in listings:
                for address in addresses:
                    if address not in self._remotes:
                        self._watch(RemoteWorker(address, self))
                # A listing may lack a worker by mistake; one that answers, or speaks, is there.
                for worker in self.workers:
                    if worker.address not in addresses and worker.status is None and not worker.num_open:
                        await self._forget(worker)

    async def _forget(self, worker: RemoteWorker) -> None:
        logger.info("a worker is gone", extra={"worker": worker.address})
        del self._remotes[worker.address]
        watching = self._watching.pop(worker.address)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await worker.aclose()
        self.heard_voices()

    def _lack(self) -> str:
        """Say that no worker can be used."""
        num_workers = len(self._remotes)
        return f"of {num_workers} workers none can be used" if num_workers else "no worker is known yet"

    async def _next_news(self, timeout_s: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()

    async def _next_worker(
        self, request: SentenceRequest, lost: Sequence[RemoteWorker], give_up_s: float
    ) -> RemoteWorker:
        """Return the worker that has the most room, or that speaks the sentence's utterance already.

        It has the sentence's voice; if none has, any may be asked, which keeps removed voices for what it has begun.
        Raises `OverloadedError` if every worker refuses it for too long, and `EngineError` if none is ready.
        """
        while True:
            voice = self._voices.digests.get(request.voice)
            ready = [worker for worker in self.workers if worker.is_ready and not worker.is_doubted]
            if voice is not None:
                ready = [worker for worker in ready if worker.voices.get(request.voice) == voice]
            usable = [worker for worker in ready if request.sentence_index or not worker.refused_for_s]
            usable = [worker for worker in usable if worker not in lost] or usable
            if usable:
                speaking = [worker for worker in usable if worker.speaks(request.utterance_id)]
                return min(speaking or usable, key=RemoteWorker.load)
            wait_s = give_up_s - time.monotonic()
            if wait_s <= 0 and ready:
                retry_after_s = round(min(worker.refused_for_s for worker in ready), 2)
                raise OverloadedError("every worker is full: try later", retry_after_s=retry_after_s)
            if wait_s <= 0:
                raise EngineError(self._lack(), retry_after_s=RETRY_AFTER_S)
            await self._next_news(wait_s)


def _combined(rooms: Sequence[Room | None]) -> Room | None:
    """Return the room of several workers together; None if one of them refuses no one."""
    known = [room for room in rooms if room is not None]
    if not known or len(known) < len(rooms):
        return None
    return Room(
        num_listeners=sum(room.num_listeners for room in known),
        max_listeners=sum(room.max_listeners for room in known),
        num_unheard=sum(room.num_unheard for room in known),
        num_short=sum(room.num_short for room in known),
        max_short=sum(room.max_short for room in known),
        mean_stay_s=sum(room.mean_stay_s for room in known) / len(known),
    )


def _difference(theirs: ModelInfo, ours: ModelInfo) -> str:
    """Say in what a worker's model differs from that of the others."""
    for field in fields(ModelInfo):
        if field.name in ("voices", "default_voice"):  # which may change while a worker runs
            continue
        found, expected = getattr(theirs, field.name), getattr(ours, field.name)
        if found != expected:
            return f"its {field.name} is {found!r:.100}, and that of the others {expected!r:.100}"
    return "its weights, tokenizer or number format differ from those of the others"
