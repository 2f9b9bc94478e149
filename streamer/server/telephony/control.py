"""The connection of a program that drives a call, as a state machine without I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from streamer.errors import InvalidMessageError, StreamerError, UtteranceError
from streamer.server.client_protocol import Action, Close, Collect, Deliver, Send, SetTimer
from streamer.server.mailbox import Mailbox
from streamer.server.service import Service
from streamer.server.telephony.calls import Asked, CallOver, Calls, CallStarted, Driver, RunningCall
from streamer.server.telephony.messages import error_message, read_message
from streamer.server.upgrade import Upgrade
from streamer.server.utterance import Utterance
from streamer.server.wire import Frame

WAIT_S: Final = 30.0
"""How long a program may wait for its call, which the telephone connects on its own."""
NO_CALL: Final = 4404
OVER: Final = 1000
FAILED: Final = 1011
EVENTS: Final = ("text", "mark", "clear", "stop")
"""What a program may send."""


class ControlProtocol:
    """Implements `server.client_protocol.ClientProtocol`. It speaks nothing itself: the call's session does."""

    def __init__(self, upgrade: Upgrade, service: Service, calls: Calls) -> None:
        self._owner = upgrade.key_name
        self._sid = upgrade.parameters["sid"]
        self._limits = service.config.limits
        self._calls = calls
        self._driver: Driver = Mailbox()
        self._running: RunningCall | None = None

    @property
    def idle_timeout_s(self) -> float:
        return self._limits.idle_timeout_s

    def greeting(self, session_id: str) -> Sequence[Action]:  # noqa: ARG002
        collect = Collect(self._driver, self._told, self._left)
        if (running := self._calls.find(self._owner, self._sid)) is not None:
            return [collect, *self._join(running)]
        self._calls.wait_for(self._owner, self._sid, self._driver)
        return [collect, SetTimer("call", WAIT_S, self._waited_in_vain)]

    def receive(self, frame: Frame) -> Sequence[Action]:
        try:
            message = read_message(frame, self._limits.max_message_bytes)
            if message.event not in EVENTS:
                raise InvalidMessageError(
                    f"unknown event {message.event!r}: send {', '.join(EVENTS)}", param="event"
                )
            if self._running is None:
                raise UtteranceError("the call has not started yet: wait for `start`")
        except StreamerError as error:
            return [Send(error_message(error), error)]
        return [Deliver(self._running.mailbox, Asked(message, self._driver))]

    def authenticated(self, key: str | StreamerError) -> Sequence[Action]:  # noqa: ARG002
        return ()

    def opened(self, utterance: Utterance) -> Sequence[Action]:  # noqa: ARG002
        return ()

    def refused(self, error: StreamerError) -> Sequence[Action]:  # noqa: ARG002
        return ()

    def ended(self, utterance: Utterance) -> Sequence[Action]:  # noqa: ARG002
        return ()

    def idled(self) -> Sequence[Action]:
        return ()  # a program may have nothing to say for the length of a call

    def going_away(self, deadline_s: float) -> Sequence[Action]:  # noqa: ARG002
        return ()

    def failed(self, error: StreamerError) -> Sequence[Action]:
        return [Send(error_message(error), error), Close(FAILED, error.message)]

    def _told(self, message: str | CallStarted | CallOver) -> Sequence[Action]:
        match message:
            case str():
                return [Send(message)]
            case CallStarted(running):
                return [SetTimer("call"), *self._join(running)]
            case CallOver():
                stop = [] if self._running is None else [Send(self._running.call.told("stop"))]
                return [*stop, Close(OVER, "the call is over")]

    def _join(self, running: RunningCall) -> Sequence[Action]:
        try:
            self._calls.join(running, self._driver)
        except StreamerError as error:
            return self.failed(error)
        self._running = running
        return [Send(running.call.started())]

    def _waited_in_vain(self) -> Sequence[Action]:
        error = UtteranceError(f"no call of this name has started within {WAIT_S:g} s", param="sid")
        return [Send(error_message(error), error), Close(NO_CALL, error.message)]

    def _left(self) -> None:
        self._calls.leave(self._owner, self._sid, self._running, self._driver)
