"""The worker's side: speaks sentences for front ends over connections of any kind; `worker_server` listens for them.

It knows no server and no library of WebSockets: whatever accepts connections wraps each as a `FrameConnection`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from streamer.backends.loading import HasVoices
from streamer.backends.workers.frame_connection import FrameConnection
from streamer.backends.workers.messages import (
    BAD_MESSAGE,
    BAD_TOKEN,
    MAX_REASON_BYTES,
    NO_ROOM,
    PROTOCOL,
    STATUS_INTERVAL_S,
    Hello,
    Status,
    Voices,
    Welcome,
    decode_request,
    encode,
    model_message,
    retry_reason,
)
from streamer.backends.workers.speaking import RETRY_AFTER_S, OpenSentences, SpeakingConnection
from streamer.errors import (
    AuthenticationError,
    InvalidMessageError,
    OverloadedError,
    StreamerError,
)
from streamer.synthesis import ModelInfo, SentenceRequest, Synthesizer
from streamer.text.tokens.tokenizer import TokenizerFile

logger = logging.getLogger(__name__)
HELLO_TIMEOUT_S: Final = 5.0
"""How long a connection may take to say who it is."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """What a worker speaks with, as its front ends have to know it.

    Workers with the same `fingerprint` make the same sound of the same sentence and voice. `voices`: a digest of each.
    """

    info: ModelInfo
    tokenizer: TokenizerFile
    fingerprint: str
    voices: Mapping[str, bytes]


class Worker:
    """One engine and the connections of its front ends. Whoever owns it starts it, and closes it in the end."""

    def __init__(
        self, synthesizer: Synthesizer, describe: Callable[[], ServedModel], *, version: str, token: str = ""
    ) -> None:
        """`describe` tells what was loaded, once the synthesizer has started; it runs in a thread.

        `version` is the program's, which the front end's must equal. `token`: the secret that a front end has to
        know; empty if none is needed.
        """
        self.id = secrets.token_hex(4)
        self.version = version
        self.synthesizer = synthesizer
        self.is_draining = False
        self._describe = describe
        self._token = token
        self._model: ServedModel | None = None
        self._has_untold_voices = False
        self.sentences = OpenSentences()

    async def start(self) -> None:
        """Load the model and warm it up; until then front ends are told to come back. Raises what loading raises."""
        await self.synthesizer.start()
        self._model = await asyncio.to_thread(self._describe)

    async def close(self) -> None:
        """Release the engine."""
        await self.synthesizer.close()

    def reload_voices(self) -> None:
        """Read the voices again, and tell front ends of them. Raises what the synthesizer raises."""
        if isinstance(self.synthesizer, HasVoices):
            self.synthesizer.reload_voices()
            self._has_untold_voices = True
            self._describe_again()

    def refresh_voices(self) -> bool:
        """Do so if their files have changed, or if front ends were not told of an earlier change; return whether.

        Raises `OSError`, and what describing the model raises; the next call tries that again.
        """
        if isinstance(self.synthesizer, HasVoices) and self.synthesizer.refresh_voices():
            self._has_untold_voices = True
        return self._has_untold_voices and self._describe_again()

    def _describe_again(self) -> bool:
        """Take over the voices, and nothing else: what is in memory stays the model that was loaded.

        Return whether there is a model, whose voices are told now.
        """
        if self._model is None:
            return False
        found = self._describe()
        self._model = replace(self._model, info=found.info, voices=found.voices)
        self._has_untold_voices = False
        return True

    @property
    def num_open(self) -> int:
        """The sentences that are being made."""
        return len(self.sentences)

    @property
    def model_name(self) -> str:
        """The loaded model's name, empty until it is loaded."""
        return "" if self._model is None else self._model.info.name

    def drain(self) -> None:
        """Take no more sentences; those that are open continue."""
        self.is_draining = True

    async def finished(self) -> None:
        """Return once no sentence is open."""
        await self.sentences.finished()

    def failure(self) -> str | None:
        """Why the engine is dead, None while it is alive."""
        health = self.synthesizer.health()
        return None if health.alive else health.reason or "the engine is dead"

    def status(self) -> Status:
        """Return how the worker is now."""
        health = self.synthesizer.health()
        is_ready = health.ready and self._model is not None
        return Status(
            is_ready=is_ready,
            is_draining=self.is_draining,
            reason=None if is_ready else health.reason or "the model makes its first sound",
            room=health.room_soon or health.room,
            expected_speed=health.expected_speed,
            num_slots=None if health.engine is None else health.engine.num_slots,
            step_age_s=health.step_age_s,
        )

    async def serve(self, connection: FrameConnection) -> None:
        """Serve a connection that was just accepted, until either side closes it."""
        code, reason = 1000, ""
        try:
            hello, model = await self._greet(connection)
            if hello.role == "watch":
                if hello.fingerprint != model.fingerprint:
                    await connection.send(encode(model_message(model.info, model.tokenizer)))
                await self._report(connection)
            else:
                synthesizer, sentences = self.synthesizer, self.sentences
                await SpeakingConnection(connection, synthesizer, model.info, self.admit, sentences).run()
        except OverloadedError as error:
            code, reason = NO_ROOM, retry_reason(error.retry_after_s or RETRY_AFTER_S)
        except AuthenticationError as error:
            logger.warning("a front end was refused: %s", error.message)
            code, reason = BAD_TOKEN, error.message
        except StreamerError as error:
            logger.warning("a front end was refused: %s", error.message)
            code, reason = BAD_MESSAGE, error.message
        except ConnectionError:
            return
        await connection.close(code, reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore"))

    def admit(self, request: SentenceRequest) -> None:
        """Raise `OverloadedError` if there is no room for the sentence.

        Front ends ask for no more than the last status had room for; this decides where several of them did. An
        utterance that has begun is refused only by a worker that drains.
        """
        if self.is_draining:
            raise OverloadedError("the worker stops", retry_after_s=RETRY_AFTER_S)
        room = self.synthesizer.health().room
        if room is None or request.sentence_index or request.is_preferred:
            return
        if room.num_listeners >= room.max_listeners:
            retry_after_s = max(0.1, room.mean_stay_s / room.max_listeners)
            raise OverloadedError(
                f"{room.num_listeners} utterances are being spoken", retry_after_s=retry_after_s
            )

    async def _greet(self, connection: FrameConnection) -> tuple[Hello, ServedModel]:
        """Check who is there, and say what this worker is. Raises `StreamerError` for one that is refused."""
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                frame = await connection.receive()
        except TimeoutError:
            raise InvalidMessageError(f"no hello within {HELLO_TIMEOUT_S:.0f} s") from None
        if frame is None:
            raise ConnectionError
        hello = decode_request(frame)
        if not isinstance(hello, Hello):
            raise InvalidMessageError("the first message must be hello")
        if not hmac.compare_digest(_digest(hello.token), _digest(self._token)):
            raise AuthenticationError("the token is not this worker's: give both the same worker_token_file")
        if hello.protocol != PROTOCOL:
            raise InvalidMessageError(
                f"this worker ({self.version}) speaks protocol {PROTOCOL}, not {hello.protocol}"
            )
        if self._model is None:
            raise OverloadedError("the model is being read", retry_after_s=RETRY_AFTER_S)
        welcome = Welcome(
            protocol=PROTOCOL,
            version=self.version,
            worker_id=self.id,
            fingerprint=self._model.fingerprint,
        )
        await connection.send(encode(welcome))
        return hello, self._model

    async def _report(self, connection: FrameConnection) -> None:
        """Tell the status until the connection is closed, and the voices before the first one and when they change."""
        told: ServedModel | None = None
        ending = asyncio.create_task(connection.receive())
        try:
            while not ending.done():
                model = self._model
                if model is not None and model is not told:
                    voices = Voices(default=model.info.default_voice, digests=dict(model.voices))
                    await connection.send(encode(voices))
                    told = model
                await connection.send(encode(self.status()))
                await asyncio.wait({ending}, timeout=STATUS_INTERVAL_S)
        finally:
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
