"""The media stream of a call as a state machine without I/O: its messages and those of the programs that drive it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from streamer.errors import (
    AuthenticationError,
    InvalidMessageError,
    OverloadedError,
    RateLimitedError,
    StreamerError,
)
from streamer.server.client_protocol import Action, Authenticate, Close, Collect, Deliver, Send, SetTimer
from streamer.server.service import Service
from streamer.server.telephony.calls import Asked, Calls, CallStarted, RunningCall
from streamer.server.telephony.messages import Call, Message, error_message, missing, read_call, read_message
from streamer.server.telephony.talk import Talk
from streamer.server.upgrade import Upgrade
from streamer.server.utterance import Utterance
from streamer.server.wire import Frame

OVER: Final = 1000
POLICY: Final = 1008
FAILED: Final = 1011
TRY_AGAIN_LATER: Final = 1013
UNAUTHORIZED: Final = 4401
ECHO_MARGIN_S: Final = 2.0
"""How much longer than the clock says an announcement may play, if the telephone does not report its end."""


class MediaStreamProtocol:
    """Implements `server.client_protocol.ClientProtocol`.

    `start` has the call's parameters: `token` is a key, and `text` is spoken, in a `voice`; behind it the stream is
    closed, so that the telephone's own script continues, unless `keep_open` says otherwise or a program drives it.
    """

    def __init__(self, upgrade: Upgrade, service: Service, calls: Calls) -> None:
        self._service = service
        self._limits = service.config.limits
        self._calls = calls
        self._owner = upgrade.key_name
        self._needs_key = upgrade.key_name is None and service.keys.are_required
        self._starting: Call | None = None  # whose key the session is asked about
        self._running: RunningCall | None = None
        self._talk: Talk | None = None
        self._announcement = ""  # the name of the mark behind it

    @property
    def idle_timeout_s(self) -> float:
        return self._limits.idle_timeout_s

    def greeting(self, session_id: str) -> Sequence[Action]:  # noqa: ARG002
        return ()

    def receive(self, frame: Frame) -> Sequence[Action]:
        try:
            return self._react(read_message(frame, self._limits.max_message_bytes))
        except StreamerError as error:
            return [Send(error_message(error), error)]

    def authenticated(self, key: str | StreamerError) -> Sequence[Action]:
        assert self._starting is not None
        if isinstance(key, StreamerError):
            return self.failed(key)
        self._needs_key, self._owner = False, key
        return self._begin(self._starting)

    def opened(self, utterance: Utterance) -> Sequence[Action]:
        assert self._talk is not None
        return self._talk.opened(utterance)

    def refused(self, error: StreamerError) -> Sequence[Action]:
        assert self._talk is not None
        refused = self._talk.refused(error)
        return [*refused, Close(FAILED, error.message)] if self._is_announcing else refused

    def ended(self, utterance: Utterance) -> Sequence[Action]:
        assert self._talk is not None
        wire, actions = self._talk.ended(utterance)
        if not self._is_announcing or wire.name != self._announcement or wire.outcome is None:
            return actions
        if wire.outcome.error is not None:
            return [*actions, Close(FAILED, wire.outcome.error.message)]
        return [
            *actions,
            SetTimer("announcement", utterance.clock.remaining_s + ECHO_MARGIN_S, self._announced),
        ]

    def idled(self) -> Sequence[Action]:
        return [Close(OVER, "nothing came from the telephone")]

    def going_away(self, deadline_s: float) -> Sequence[Action]:  # noqa: ARG002
        return ()

    def failed(self, error: StreamerError) -> Sequence[Action]:
        code = FAILED
        if isinstance(error, AuthenticationError):
            code = UNAUTHORIZED
        elif isinstance(error, RateLimitedError | OverloadedError):
            code = TRY_AGAIN_LATER
        return [Send(error_message(error), error), Close(code, error.message)]

    @property
    def _is_announcing(self) -> bool:
        """Whether the stream is there for one text alone."""
        return bool(self._announcement) and self._running is not None and not self._running.drivers

    def _react(self, message: Message) -> Sequence[Action]:
        if message.event in ("media", "connected"):
            return ()
        if message.event == "start":
            return self._start(message)
        if message.event == "stop":
            stopped = [] if self._talk is None else self._talk.stop()
            return [*stopped, Close(OVER, "the call is over")]
        if self._talk is None or self._running is None:
            raise InvalidMessageError(f"`{message.event}` comes before `start`")
        match message.event:
            case "dtmf":
                if message.dtmf is None:
                    raise missing("dtmf", "dtmf")
                told = self._running.call.told("dtmf", {"digit": message.dtmf.digit})
                return [Deliver(driver, told) for driver in self._running.drivers]
            case "mark" if message.mark is not None and self._talk.was_sent(message.mark.name):
                return self._announced() if message.mark.name == self._announcement else ()
            case "text" | "mark" | "clear":
                return self._talk.react(message, None)
        return ()  # a vendor may have events that are not known here

    def _start(self, message: Message) -> Sequence[Action]:
        if self._starting is not None:
            raise InvalidMessageError("a stream has one `start`")
        try:
            self._starting, token = read_call(message)
        except StreamerError as error:
            return [Send(error_message(error), error), Close(POLICY, error.message)]
        if not self._needs_key:
            return self._begin(self._starting)
        if token is None:
            return self.failed(AuthenticationError("a key is needed: give the stream the parameter `token`"))
        return [Authenticate(token)]

    def _begin(self, call: Call) -> Sequence[Action]:
        self._running = running = RunningCall(call, self._owner)
        self._talk = talk = Talk(call, self._service)
        waiting = self._calls.begin(running)
        actions: list[Action] = [Collect(running.mailbox, self._told, lambda: self._calls.end(running))]
        actions += [Deliver(driver, CallStarted(running)) for driver in waiting]
        text = call.parameters.get("text")
        if text is None:
            return actions
        if call.parameters.get("keep_open", "false").lower() not in ("true", "1", "yes"):
            self._announcement = talk.next_name
        announcement = Message("text", text=text, voice=call.parameters.get("voice"), last=True)
        try:
            return [*actions, *talk.react(announcement, None)]
        except StreamerError as error:
            return [*actions, Send(error_message(error), error), Close(POLICY, error.message)]

    def _told(self, asked: Asked) -> Sequence[Action]:
        assert self._talk is not None
        if asked.message.event == "stop":
            return [*self._talk.stop(), Close(OVER, "a program has ended the stream")]
        try:
            return self._talk.react(asked.message, asked.driver)
        except StreamerError as error:
            return [Deliver(asked.driver, error_message(error))]

    def _announced(self) -> Sequence[Action]:
        """The announcement has been heard."""
        return [Close(OVER, "the announcement is over")] if self._is_announcing else ()
