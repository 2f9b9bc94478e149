"""One client's connection: a reader, a writer, and a task for every utterance, all in one task group.

The session carries out what its protocol decides. Whatever ends the connection ends all of its tasks; nothing
outlives `Session.run`. The file is long because these tasks share one life: cut apart, no part could be read alone.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Coroutine, Sequence
from typing import Final

from websockets.exceptions import ConnectionClosed

from streamer.audio.packets import create_encoder
from streamer.errors import AuthenticationError, OverloadedError, RateLimitedError, StreamerError
from streamer.server.access import RETRY_AFTER_S, authenticate, origin_of
from streamer.server.client_connection import ClientConnection
from streamer.server.client_protocol import (
    Action,
    Authenticate,
    Cancel,
    ClientProtocol,
    Close,
    Collect,
    Deliver,
    Open,
    Played,
    Send,
    SetTimer,
    Write,
)
from streamer.server.ending import CloseRequest, SessionClosed, first_closed
from streamer.server.flow_control import (
    Budget,
    Outbox,
    PlaybackClock,
    SlowClientError,
    size_bytes,
)
from streamer.server.light_event import LightEvent
from streamer.server.places import FULL_MESSAGES
from streamer.server.service import Service
from streamer.server.speaker import Speaker
from streamer.server.timers import Timers
from streamer.server.upgrade import Upgrade
from streamer.server.utterance import Utterance
from streamer.telemetry.metrics import exemplar

logger = logging.getLogger(__name__)
GOING_AWAY_BEFORE_S: Final = 60.0
"""How long before its time limit a session asks its client to leave."""
SLOW_CLIENT: Final = 4408
"""The close code of a client that does not take what is sent; the connection is cut without a closing handshake."""
MESSAGE_COST_BYTES: Final = 32
"""What a message counts for beside its own bytes: the shortest ones would otherwise come by thousands a second."""


class Session:
    """Serves one client that was let in, by the protocol that its route chose."""

    def __init__(
        self, connection: ClientConnection, service: Service, upgrade: Upgrade, protocol: ClientProtocol
    ) -> None:
        self.id = secrets.token_hex(8)
        self._span = service.tracer.begin(
            "session", upgrade.headers, session_id=self.id, **{"url.path": upgrade.path}
        )
        self._connection = connection
        self._service = service
        self._protocol = protocol
        self._key_name = (
            None if upgrade.key_name == upgrade.address else upgrade.key_name
        )  # `tcp` has no keys
        self._address = upgrade.address
        self._protocol_name = upgrade.protocol
        self._origin = origin_of(upgrade.headers)
        self._claim_place = upgrade.claim
        self._is_authenticated = upgrade.key_name is not None or not service.keys.are_required
        self._limits = limits = service.config.limits
        self._outbox = Outbox(connection, limits.write_timeout_s, service.metrics.bytes_sent.inc, self._begin)
        self._budget = Budget(limits.max_bytes_per_s, 2 * limits.max_message_bytes)
        self._speakers: dict[Utterance, Speaker] = {}
        self._timers = Timers(lambda timer: self._carry_out(timer.expired()))
        self._collected: list[Collect] = []
        self._num_utterances = 0
        self._is_quiet = LightEvent()  # set while no utterance is open
        self._is_quiet.set()
        self._refusal: StreamerError | None = None
        self._close_request: CloseRequest | None = None
        self._ends_at_s = 0.0
        self._asked_to_end = LightEvent()
        self._is_ending = False
        self._grace: asyncio.Timeout | None = None
        self._tasks = asyncio.TaskGroup()

    def end(self, request: CloseRequest) -> None:
        """Ask the session to end. Of two requests the one with an error counts, otherwise the one that ends sooner."""
        now_s = asyncio.get_running_loop().time()
        before, ends_at_s = self._close_request, now_s + request.grace_s
        if before is None or (before.error is None and (request.error or ends_at_s < self._ends_at_s)):
            self._close_request, self._ends_at_s = request, ends_at_s
            self._asked_to_end.set()
            if self._grace is not None and not self._grace.expired():
                self._grace.reschedule(now_s)
            self._begin_to_end()

    def has_lost_key(self) -> bool:
        """Whether a key let the client in that is not valid any more."""
        return self._key_name is not None and not self._service.keys.may(self._key_name, "speak")

    async def run(self) -> None:
        """Serve the client until either side ends the session."""
        started_s = time.monotonic()
        closed = SessionClosed(1000, "")
        with self._span:
            ageing = self._end_when_old()
            try:
                async with self._tasks:
                    if self._close_request is not None:
                        self._begin_to_end()
                    if not self._is_authenticated:
                        self._begin(self._expect_key())
                    await self._carry_out(self._protocol.greeting(self.id))
                    await self._read()
            except* SessionClosed as group:
                closed = first_closed(group)
            except* SlowClientError:
                self._service.metrics.slow_clients_closed.inc()
                closed = SessionClosed(SLOW_CLIENT, "the client reads too slowly")
            except* ConnectionClosed:
                pass
            finally:
                ageing.cancel()
                for action in self._collected:
                    action.mailbox.close()
                    action.over()
                for speaker in self._speakers.values():  # whose tasks were cancelled before they began
                    speaker.abandon()
            await self._connection.close(closed.code, closed.reason)
            self._span.set(close_code=self._connection.close_code or 0)
        self._service.metrics.session_seconds.observe(
            time.monotonic() - started_s, exemplar(self._span.trace_id or self.id)
        )
        logger.info("session over", extra={"session_id": self.id, "close_code": self._connection.close_code})

    async def _read(self) -> None:
        """Carry out what the client says, in order; always reading, so that a cancel is seen at once."""
        while True:
            try:
                async with asyncio.timeout(self._protocol.idle_timeout_s):
                    frame = await self._connection.recv()
            except TimeoutError:
                await self._carry_out(self._protocol.idled())
                continue
            await self._carry_out(self._protocol.receive(frame))
            await self._connection.rest(self._budget.spend(size_bytes(frame) + MESSAGE_COST_BYTES))

    async def _carry_out(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Send(frame, error):
                    if error is not None:
                        self._service.metrics.errors.labels(error.code).inc()
                    await self._outbox.put(frame)
                case Authenticate(key):
                    result = self._authenticate(key)
                    if self._is_authenticated and (reason := self._claim_place()) is not None:
                        self._is_authenticated = False
                        self._service.metrics.connections_rejected.labels(reason).inc()
                        full = OverloadedError(FULL_MESSAGES[reason], retry_after_s=RETRY_AFTER_S)
                        await self._carry_out(self._protocol.failed(full))
                    else:
                        await self._carry_out(self._protocol.authenticated(result))
                case Open():
                    await self._open(action)
                case Write(utterance, piece):
                    utterance.write(piece)
                case Played(utterance, position_ms):
                    utterance.played(position_ms)
                case Cancel(utterance, played_ms):
                    if (speaker := self._speakers.get(utterance)) is not None:
                        utterance.stopped_at(played_ms)
                        speaker.stop()
                        await utterance.is_over.wait()
                case SetTimer():
                    self._timers.set(action, self._tasks)
                case Collect():
                    self._collected.append(action)
                    self._begin(self._collect(action))
                case Deliver(mailbox, message):
                    await mailbox.put(message)
                case Close(code, reason):
                    await self._close(code, reason)

    async def _collect(self, action: Collect) -> None:
        while True:
            await self._carry_out(action.told(await action.mailbox.get()))

    def _authenticate(self, given: str) -> str | StreamerError:
        """Let the client speak if its key or ticket is right; returns the key's name, or what is wrong with it."""
        keys, tickets = self._service.keys, self._service.tickets
        try:
            self._key_name = authenticate(
                given, "speak", keys, tickets, address=self._address, origin=self._origin
            )
        except RateLimitedError as error:
            return error
        except AuthenticationError as error:
            return AuthenticationError(error.message)  # protocols have one error for keys
        self._is_authenticated = True
        return self._key_name

    async def _open(self, action: Open) -> None:
        """Open an utterance and have it spoken, or tell the protocol why not."""
        try:
            speaker = self._create_speaker(action)
        except StreamerError as error:
            return await self._carry_out(self._protocol.refused(error))
        self._speakers[speaker.utterance] = speaker
        self._is_quiet.clear()
        await self._carry_out(self._protocol.opened(speaker.utterance))
        self._begin(self._speak(speaker))

    def _create_speaker(self, action: Open) -> Speaker:
        """Raises `StreamerError` if there is to be no utterance now."""
        if self._refusal is not None:
            raise self._refusal
        if not self._is_authenticated:
            raise AuthenticationError("a valid key has to come first")
        encoder = create_encoder(action.audio_format)
        permit = self._service.admit(self._key_name, self._address)
        self._num_utterances += 1
        utterance = Utterance(
            action.id,
            f"{self.id}.{self._num_utterances}",
            action.settings,
            action.audio_format,
            PlaybackClock(action.lead_ms),
            pre_skip=encoder.pre_skip,
            starts_safely=action.starts_safely,
            after=action.after,
            span=self._span.child("utterance"),
        )
        ids = {"session_id": self.id, "utterance_id": action.id, "trace_id": utterance.trace_id}
        record = self._service.record(self._key_name, self._protocol_name, action.settings.voice, ids)
        return Speaker(utterance, action.wire, encoder, permit, self._service, self._outbox, record)

    async def _speak(self, speaker: Speaker) -> None:
        utterance = speaker.utterance
        try:
            with self._service.metrics.requests_running.track_inprogress():
                await speaker.run()
        finally:
            del self._speakers[utterance]
            utterance.close_ranks()
            actions = self._protocol.ended(utterance)
            utterance.is_over.set()
            if not self._speakers:
                self._is_quiet.set()
        await self._carry_out(actions)

    async def _expect_key(self) -> None:
        """End the session if no valid key has come in time, whatever else the client says."""
        await asyncio.sleep(self._limits.auth_timeout_s)
        if not self._is_authenticated:
            await self._carry_out(self._protocol.failed(AuthenticationError("no valid key came in time")))

    def _begin(self, coroutine: Coroutine[None, None, None]) -> bool:
        """Run it beside the rest of the session, unless that has not begun or is over; returns whether it runs."""
        try:
            self._tasks.create_task(coroutine)
        except RuntimeError:  # so a task group says that it takes no more
            coroutine.close()
            return False
        return True

    def _end_when_old(self) -> asyncio.TimerHandle:
        """Have the session end at its longest age, and its client warned before."""
        warning_s, timeout_s = self._warning_s(), self._limits.session_timeout_s
        return asyncio.get_running_loop().call_later(timeout_s - warning_s, self._grow_old)

    def _grow_old(self) -> None:
        grace_s = self._warning_s()
        self.end(CloseRequest(1001, "the session is as old as it may get", grace_s=grace_s))

    def _warning_s(self) -> float:
        return min(GOING_AWAY_BEFORE_S, self._limits.session_timeout_s / 2)

    def _begin_to_end(self) -> None:
        self._is_ending = self._is_ending or self._begin(self._end_when_asked())

    async def _end_when_asked(self) -> None:
        """Let the utterances finish, or fail them, so that each has its `done` before the close."""
        request = await self._last_request()
        speakers = list(self._speakers.values())
        for speaker in speakers:
            speaker.stop(request.error)
        for speaker in speakers:
            await speaker.utterance.is_over.wait()
        if request.error is not None:
            await self._carry_out(self._protocol.failed(request.error))
        await self._close(request.code, request.reason)

    async def _last_request(self) -> CloseRequest:
        """How to end, once the grace is over. A more urgent request that comes meanwhile replaces the first."""
        while True:
            await self._asked_to_end.wait()
            self._asked_to_end.clear()
            assert self._close_request is not None
            request = self._close_request
            self._refusal = request.error or OverloadedError("the server is going away; connect again")
            if request.error is not None:
                return request
            await self._carry_out(self._protocol.going_away(request.grace_s))
            try:
                async with asyncio.timeout_at(self._ends_at_s) as self._grace:
                    await self._is_quiet.wait()
            except TimeoutError:
                pass
            finally:
                self._grace = None
            if not self._asked_to_end.is_set():
                return request

    async def _close(self, code: int, reason: str) -> None:
        await self._outbox.emptied()
        raise SessionClosed(code, reason)
