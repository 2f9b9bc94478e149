"""The native protocol as a state machine without I/O: a client's frame goes in, what is to be done comes out.

`session` feeds it and carries out its actions; `transitions` holds its table; `docs/protocol.md` is the contract.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from streamer.config import Config
from streamer.errors import (
    AuthenticationError,
    EngineError,
    IdleTimeoutError,
    InvalidMessageError,
    InvalidParameterError,
    OverloadedError,
    RateLimitedError,
    StreamerError,
    TextTooLongError,
    UtteranceError,
)
from streamer.sampling import draw_seed
from streamer.server.client_protocol import Action, Authenticate, Cancel, Close, Open, Played, Send, Write
from streamer.server.native import messages
from streamer.server.native.decoding import check_size, parse_object, read_message
from streamer.server.native.defaults import StreamDefaults
from streamer.server.native.replies import echoed, error_message, greeting, started, unknown_field
from streamer.server.native.transitions import Event, Reaction
from streamer.server.native.utterance_ids import OpenUtterance, UtteranceIds
from streamer.server.native.wire import NativeWire, heard
from streamer.server.utterance import Utterance
from streamer.server.wire import Frame
from streamer.speech.text_feed import TextEnd, TextFlush

MAX_STREAMS: Final = 65_535
MAX_WAITING_PIECES: Final = 4096
INTERNAL_ERROR: Final = 1011
TRY_AGAIN_LATER: Final = 1013
CLOSE_CODES: Final[Mapping[type[StreamerError], int]] = {
    AuthenticationError: 4401,
    RateLimitedError: TRY_AGAIN_LATER,
    OverloadedError: TRY_AGAIN_LATER,
    IdleTimeoutError: 4408,
}
"""The close codes of the errors that end a session; every other error closes it with `INTERNAL_ERROR`."""
_EVENTS: Final[Mapping[type[messages.ClientMessage], Event]] = {
    messages.Start: Event.START,
    messages.Speak: Event.START,
    messages.AppendText: Event.TEXT,
    messages.Flush: Event.FLUSH,
    messages.End: Event.END,
    messages.Cancel: Event.CANCEL,
    messages.Played: Event.PLAYED,
}


class NativeProtocol:
    """Implements `ClientProtocol` for one session.

    `needs_key`: whether `auth` has to come first. `remarks` follow the greeting.
    """

    def __init__(
        self,
        defaults: StreamDefaults,
        config: Config,
        *,
        needs_key: bool = False,
        is_framed: bool = True,
        remarks: Sequence[Action] = (),
        draw_seed: Callable[[], int] = draw_seed,
    ) -> None:
        self._defaults = defaults
        self._config = config
        self._limits = config.limits
        self._needs_key = needs_key
        self._is_framed = is_framed
        self._remarks = remarks
        self._draw_seed = draw_seed
        self._num_streams = 0
        self.ids = UtteranceIds()
        self._auth: messages.Auth | None = None  # whose key the session is asked about
        self._start: tuple[messages.Start, NativeWire] | None = None  # which the session is asked to open

    @property
    def idle_timeout_s(self) -> float:
        return self._limits.idle_timeout_s

    def greeting(self, session_id: str) -> list[Action]:
        return [_send(greeting(session_id, self._defaults.info, self._config)), *self._remarks]

    def receive(self, frame: Frame) -> list[Action]:
        fields: dict[str, Any] = {}
        try:
            if isinstance(frame, bytes):
                raise InvalidMessageError("a binary frame; this protocol's messages are JSON text")
            fields, mistakes = parse_object(frame)
            if mistakes:
                raise InvalidMessageError(f"the message is not JSON: {mistakes[0]}")
            check_size(frame, self._limits.max_message_bytes)
            message, unknown = read_message(fields)
            if self._needs_key and not isinstance(message, messages.Auth):
                raise AuthenticationError("the first message must be `auth` with a valid key")
            warnings = [_send(unknown_field(name, fields.get("id"), message.ref)) for name in unknown]
            return [*warnings, *self._react(message)]
        except AuthenticationError as error:
            return self._fail(error, fields.get("id"), fields.get("ref"))
        except StreamerError as error:
            is_start = fields.get("type") in ("start", "speak")
            return self._reject(error, fields.get("id"), fields.get("ref"), is_start=is_start)

    def authenticated(self, key: str | StreamerError) -> list[Action]:
        assert self._auth is not None
        self._needs_key = isinstance(key, StreamerError)
        return self._fail(key, ref=self._auth.ref) if isinstance(key, StreamerError) else []

    def opened(self, utterance: Utterance) -> list[Action]:
        assert self._start is not None
        message, wire = self._start
        cancels = self._cancel_all(message.ref) if message.interrupt else []
        self._num_streams += 1
        self.ids.accept(message.id, utterance, wire)
        writes: list[Action] = []
        if isinstance(message, messages.Speak):
            self.ids.step(message.id, Event.END)
            writes = [Write(utterance, message.text), Write(utterance, TextEnd())]
        return [*writes, *cancels, _send(started(utterance, self._num_streams, message.ref))]

    def refused(self, error: StreamerError) -> list[Action]:
        assert self._start is not None
        message, _ = self._start
        return self._reject(error, message.id, message.ref, is_start=True)

    def ended(self, utterance: Utterance) -> list[Action]:
        self.ids.step(utterance.id, Event.DONE)
        return []

    def idled(self) -> list[Action]:
        if self.ids.open:
            return []
        return self.failed(IdleTimeoutError(f"nothing was said for {self.idle_timeout_s:g} s"))

    def going_away(self, deadline_s: float) -> list[Action]:
        return [_send(messages.GoingAway(deadline_s=deadline_s))]

    def failed(self, error: StreamerError) -> list[Action]:
        return self._fail(error)

    def _fail(self, error: StreamerError, utterance_id: object = None, ref: object = None) -> list[Action]:
        reason = "the engine failed" if isinstance(error, EngineError) else error.message
        close = Close(CLOSE_CODES.get(type(error), INTERNAL_ERROR), reason)
        return [_send(error_message(error, "session", utterance_id, ref), error), close]

    def _react(self, message: messages.ClientMessage) -> Sequence[Action]:
        match message:
            case messages.Auth():
                self._auth = message
                return [Authenticate(message.token)] if self._needs_key else []
            case messages.Configure():
                self._defaults = self._defaults.merged(message)
                return []
            case messages.Ping():
                return [_send(messages.Pong(t=message.t, ref=message.ref))]
            case messages.Cancel(id=None):
                return self._cancel_all(message.ref, message.played_ms)
            case messages.Start() | messages.AppendText() | messages.Flush() | messages.End():
                return self._react_by_state(message, message.id)
            case messages.Cancel(id=str(utterance_id)) | messages.Played(id=utterance_id):
                return self._react_by_state(message, utterance_id)
        raise InvalidMessageError("a message of another protocol", param="type")

    def _react_by_state(self, message: messages.ClientMessage, utterance_id: str) -> Sequence[Action]:
        event = _EVENTS[type(message)]
        match self.ids.step(utterance_id, event), message:
            case Reaction.ADMIT, messages.Start():
                return [self._ask(message)]
            case Reaction.WRITE, messages.AppendText() | messages.Flush() | messages.End():
                return [self._write(self.ids.open[utterance_id].utterance, message)]
            case Reaction.CANCEL, messages.Cancel():
                return [self._cancel(self.ids.open[utterance_id], message.ref, message.played_ms)]
            case Reaction.WARN, messages.Cancel():
                return [self._warn_of_late_cancel(message, utterance_id)]
            case Reaction.MOVE_CLOCK, messages.Played():
                utterance = self.ids.find(utterance_id)
                assert utterance is not None
                return [Played(utterance, message.ms)]
        return []  # dropped

    def _ask(self, message: messages.Start) -> Open:
        """What the session is to open for a `start` or `speak` that is right; raises what is wrong with it."""
        num_others = 0 if message.interrupt else len(self.ids.open)
        if message.after is not None and message.interrupt:
            raise InvalidParameterError("`after` and `interrupt` exclude each other", param="after")
        if num_others >= self._limits.max_utterances_per_session:
            raise OverloadedError(f"{num_others} utterances are open in this session", retry_after_s=1.0)
        if self._num_streams >= MAX_STREAMS:
            raise OverloadedError("this session has used all stream numbers; open another one")
        defaults = self._defaults.merged(message)
        settings = defaults.settings(self._limits.max_audio_s, self._draw_seed)
        if isinstance(message, messages.Speak):
            self._check_length(message.text)
        wire = NativeWire(self._num_streams + 1 if self._is_framed else None, message.ref)
        self._start = message, wire
        return Open(
            message.id,
            settings,
            defaults.audio_format(),
            defaults.lead_ms,
            wire,
            starts_safely=defaults.start == "safe",
            after=self._predecessor(message),
        )

    def _predecessor(self, message: messages.Start) -> Utterance | None:
        before = None
        if message.after is not None:
            before = self.ids.find(message.after)
            if before is None:
                raise UtteranceError(f"`after` names no known utterance: {message.after!r}", param="after")
        if not self._is_framed and not message.interrupt and self.ids.open:
            # Without headers streams cannot be told apart, so utterances queue up behind each other.
            return next(reversed(self.ids.open.values())).utterance
        return before

    def _write(
        self, utterance: Utterance, message: messages.AppendText | messages.Flush | messages.End
    ) -> Write:
        match message:
            case messages.AppendText(text=text):
                self._check_length(text)
                if utterance.num_waiting_chars + len(text) > self._limits.max_buffered_chars:
                    limit = self._limits.max_buffered_chars
                    raise TextTooLongError(f"more than {limit} characters wait to be spoken", param="text")
                return Write(utterance, text)
            case messages.Flush():
                if len(utterance.feed) >= MAX_WAITING_PIECES:
                    message_text = "too many flushes wait for what was written before"
                    raise RateLimitedError(message_text, retry_after_s=1.0)
                return Write(utterance, TextFlush(message.ref))
        return Write(utterance, TextEnd())

    def _check_length(self, text: str) -> None:
        if len(text) > self._limits.max_text_chars:
            raise TextTooLongError(
                f"{len(text)} characters; one text holds at most {self._limits.max_text_chars}", param="text"
            )

    def _cancel_all(self, ref: str | None, played_ms: float | None = None) -> list[Action]:
        return [self._cancel(opened, ref, played_ms) for opened in self.ids.open.values()]

    def _cancel(self, opened: OpenUtterance, ref: str | None, played_ms: float | None) -> Cancel:
        opened.wire.end_ref = ref
        return Cancel(opened.utterance, played_ms)

    def _warn_of_late_cancel(self, message: messages.Cancel, utterance_id: str) -> Send:
        over = self.ids.find(utterance_id)
        warning = messages.WarningMessage(
            code="utterance_over" if over else "utterance_unknown",
            message=f"utterance {utterance_id!r} {self.ids.state(utterance_id).value}",
            id=utterance_id,
            ref=message.ref,
            heard=heard(over, over.heard_chars(message.played_ms)) if over else None,
        )
        return _send(warning)

    def _reject(
        self, error: StreamerError, utterance_id: object, ref: object, *, is_start: bool
    ) -> list[Action]:
        """Report what is wrong with a message. A refused `start` is remembered, for what the client sent behind it."""
        if is_start and (name := echoed(utterance_id)) is not None:
            self.ids.step(name, Event.REJECTED)
        scope: messages.Scope = "utterance" if is_start else "message"
        return [_send(error_message(error, scope, utterance_id, ref), error)]


def _send(message: messages.ServerMessage, error: StreamerError | None = None) -> Send:
    return Send(messages.encode(message), error)
