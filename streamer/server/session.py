"""One client's connection: a reader, a writer, and a task for every utterance, all under one task group.

Whatever ends the connection ends them all; nothing outlives `Session.run`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from dataclasses import dataclass

from websockets.exceptions import ConnectionClosed

from streamer.audio.packets import PacketEncoder
from streamer.errors import AuthenticationError, IdleTimeoutError, OverloadedError, StreamerError
from streamer.server.flow_control import ByteBudget, Outbox, SlowClientError, size_bytes
from streamer.server.native import messages
from streamer.server.native.decoding import Framing, read_query
from streamer.server.native.defaults import StreamDefaults
from streamer.server.native.protocol import Begin, Close, Protocol, Send, Stop
from streamer.server.native.replies import error_message, greeting, unknown_field
from streamer.server.service import Service
from streamer.server.speaker import Speaker
from streamer.server.utterance import Utterance
from streamer.server.websocket import WebSocket

logger = logging.getLogger(__name__)
GOING_AWAY_BEFORE_S = 60.0
_REASON_BYTES = 123


@dataclass(frozen=True, slots=True)
class CloseRequest:
    """Why and how a session is to end: `error` fails its utterances, else they may finish until `grace_s`."""

    code: int
    reason: str
    error: StreamerError | None = None
    grace_s: float = 0.0


class SessionClosed(Exception):
    """Raised inside the task group to end the session with a close code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Session:
    """`key_name`: who was recognised by a header, None where `auth` must follow or no key is needed."""

    def __init__(
        self,
        connection: WebSocket,
        service: Service,
        *,
        address: str,
        key_name: str | None,
        query: str,
    ) -> None:
        self.id = secrets.token_hex(8)
        self._connection = connection
        self._service = service
        self._owner = key_name or address
        self._query = query
        self._limits = service.config.limits
        self._outbox = Outbox(self._limits.write_timeout_s, service.metrics.bytes_sent.inc)
        self._budget = ByteBudget(self._limits.max_bytes_per_s, 2 * self._limits.max_message_bytes)
        self._ending: CloseRequest | None = None
        self._ends_at_s = 0.0
        self._asked_to_end = asyncio.Event()
        self._grace: asyncio.Timeout | None = None
        self._quiet = asyncio.Event()  # no utterance is open
        self._quiet.set()
        needs_auth = service.keys.are_required and key_name is None
        self._defaults = StreamDefaults.of_server(service.synthesizer.info, service.config.speech)
        self._framing: Framing = "framed"
        self._greetings = self._read_query()
        self._protocol = Protocol(
            self._defaults,
            self._limits,
            admit=lambda: service.admission.admit(self._owner),
            accepts_token=self._accepts_token if needs_auth else None,
            is_framed=self._framing == "framed",
        )

    def end(self, ending: CloseRequest) -> None:
        """Ask the session to end; of two wishes the hastier counts, and an error before all."""
        now_s = asyncio.get_running_loop().time()
        before, ends_at_s = self._ending, now_s + ending.grace_s
        if before is None or (before.error is None and (ending.error or ends_at_s < self._ends_at_s)):
            self._ending, self._ends_at_s = ending, ends_at_s
            self._asked_to_end.set()
            if self._grace is not None:
                self._grace.reschedule(now_s)

    async def run(self) -> None:
        """Serve the client until either side has had enough."""
        started_s = time.monotonic()
        over = SessionClosed(1000, "")
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._tasks.create_task(self._outbox.write(self._connection))
                self._tasks.create_task(self._end_when_asked())
                self._tasks.create_task(self._watch_the_clock())
                self._tasks.create_task(self._expect_auth())
                await self._greet()
                await self._read()
        except* SessionClosed as ended:
            over = _first(ended)
        except* SlowClientError:
            self._service.metrics.slow_clients_closed.inc()
            over = SessionClosed(4408, "the client reads too slowly")
        except* ConnectionClosed:
            pass
        finally:
            for utterance in self._protocol.open.values():
                utterance.permit.release()
        await self._connection.close(over.code, over.reason.encode()[:_REASON_BYTES].decode(errors="ignore"))
        self._service.metrics.session_seconds.observe(time.monotonic() - started_s)
        logger.info("session over", extra={"session_id": self.id, "close_code": self._connection.close_code})

    async def _read(self) -> None:
        """Carry out what the client says, in order; always reading, so that a `cancel` is seen at once."""
        while True:
            try:
                async with asyncio.timeout(self._limits.idle_timeout_s):
                    frame = await self._connection.recv()
            except TimeoutError:
                if not self._protocol.open:
                    error = IdleTimeoutError(f"nothing was said for {self._limits.idle_timeout_s:g} s")
                    await self._end_with(error, 4408)
                continue
            await self._carry_out(self._protocol.receive(frame))
            await asyncio.sleep(self._budget.spend(size_bytes(frame)))

    async def _expect_auth(self) -> None:
        """Whoever has no key yet has only so long to tell one, whatever else is said meanwhile."""
        await asyncio.sleep(self._limits.auth_timeout_s)
        if not self._protocol.is_authenticated:
            await self._end_with(AuthenticationError("no `auth` came in time"), 4401)

    async def _carry_out(self, actions: list[Send | Begin | Stop | Close]) -> None:
        for action in actions:
            match action:
                case Send(message):
                    await self._say(message)
                case Begin(utterance, encoder):
                    self._quiet.clear()
                    self._tasks.create_task(self._speak(utterance, encoder))
                case Stop(utterance):
                    utterance.stop("client")
                    await utterance.sent.wait()
                case Close(code, reason):
                    await self._close(code, reason)

    async def _speak(self, utterance: Utterance, encoder: PacketEncoder) -> None:
        service = self._service
        speaker = Speaker(
            utterance,
            encoder,
            service.synthesizer,
            self._outbox,
            service.metrics,
            is_framed=self._framing == "framed",
            session_id=self.id,
        )
        try:
            with service.metrics.requests_running.track_inprogress():
                await speaker.run()
        finally:
            self._protocol.ended(utterance)
            utterance.sent.set()
            if not self._protocol.open:
                self._quiet.set()

    async def _end_when_asked(self) -> None:
        """Let the utterances finish, or fail them, so that each has its `done` before the close."""
        ending = await self._last_wish()
        utterances = list(self._protocol.open.values())
        for utterance in utterances:
            utterance.stop(ending.error or "drain")
        for utterance in utterances:
            await utterance.sent.wait()
        if ending.error is not None:
            await self._say(error_message(ending.error, "session", {}))
        await self._close(ending.code, ending.reason)

    async def _last_wish(self) -> CloseRequest:
        """How to end, once the grace is over; who asks meanwhile for a hastier end is heard."""
        while True:
            await self._asked_to_end.wait()
            self._asked_to_end.clear()
            assert self._ending is not None
            ending = self._ending
            self._protocol.refusal = ending.error or OverloadedError(
                "the server is going away; connect again"
            )
            if ending.error is not None:
                return ending
            await self._say(messages.GoingAway(deadline_s=ending.grace_s))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._ends_at_s) as self._grace:
                    await self._quiet.wait()
            self._grace = None
            if not self._asked_to_end.is_set():
                return ending

    async def _watch_the_clock(self) -> None:
        """End the session at its longest age, with fair warning."""
        warning_s = min(GOING_AWAY_BEFORE_S, self._limits.session_timeout_s / 2)
        await asyncio.sleep(self._limits.session_timeout_s - warning_s)
        self.end(CloseRequest(1001, "the session is as old as it may get", grace_s=warning_s))

    async def _say(self, message: messages.ServerMessage) -> None:
        if isinstance(message, messages.Error):
            self._service.metrics.errors.labels(message.code).inc()
        await self._outbox.put(messages.encode(message))

    async def _end_with(self, error: StreamerError, code: int) -> None:
        await self._say(error_message(error, "session", {}))
        await self._close(code, error.message)

    async def _close(self, code: int, reason: str) -> None:
        await self._outbox.emptied()
        raise SessionClosed(code, reason)

    def _accepts_token(self, token: str) -> bool:
        key_name = self._service.keys.find(token)
        if key_name is None:
            return False
        self._owner = key_name
        return True

    def _read_query(self) -> list[messages.ServerMessage]:
        """Take the defaults from the address; what is wrong there is said after `session`, and ignored."""
        try:
            settings, framing, unknown = read_query(self._query)
            self._defaults = self._defaults.merged(settings)
            self._framing = framing
        except StreamerError as error:
            return [error_message(error, "message", {})]
        return [unknown_field(name) for name in unknown]

    async def _greet(self) -> None:
        await self._say(greeting(self.id, self._service.synthesizer.info, self._service.config))
        for message in self._greetings:
            await self._say(message)


def _first(group: BaseExceptionGroup[SessionClosed]) -> SessionClosed:
    while isinstance(group.exceptions[0], BaseExceptionGroup):
        group = group.exceptions[0]
    return group.exceptions[0]
