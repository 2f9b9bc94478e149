"""The native protocol as a state machine without I/O: a client's frame goes in, what is to be done comes out.

`session` feeds it and carries out its actions in order. `docs/protocol.md` is the contract.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from streamer.audio.packets import PacketEncoder
from streamer.config import LimitsConfig
from streamer.errors import (
    AuthenticationError,
    InvalidMessageError,
    InvalidParameterError,
    OverloadedError,
    RateLimitedError,
    StreamerError,
    TextTooLongError,
    UtteranceError,
)
from streamer.server.admission import Permit
from streamer.server.flow_control import PlaybackClock
from streamer.server.native import messages
from streamer.server.native.decoding import check_size, parse_object, read_message
from streamer.server.native.defaults import StreamDefaults
from streamer.server.native.replies import error_message, short, started, unknown_field
from streamer.server.utterance import Utterance

MAX_STREAMS: Final = 65_535
MAX_WAITING_PIECES: Final = 4096
REMEMBERED: Final = 32
"""Utterances that are over, and refused ids, of which a late message is still understood."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send this message."""

    message: messages.ServerMessage


@dataclass(frozen=True, slots=True)
class Begin:
    """Start speaking this utterance with this encoder, which is large and not to be kept beyond that."""

    utterance: Utterance
    encoder: PacketEncoder


@dataclass(frozen=True, slots=True)
class Stop:
    """Cancel this utterance and go on when its `done` has been sent."""

    utterance: Utterance


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection after what was sent before."""

    code: int
    reason: str


Action = Send | Begin | Stop | Close


class Protocol:
    """One session. `admit` gives a turn or raises; `accepts_token` is None where no key is required."""

    def __init__(
        self,
        defaults: StreamDefaults,
        limits: LimitsConfig,
        *,
        admit: Callable[[], Permit],
        accepts_token: Callable[[str], bool] | None = None,
        is_framed: bool = True,
    ) -> None:
        self.open: dict[str, Utterance] = {}
        self.is_authenticated = accepts_token is None
        self.refusal: StreamerError | None = None
        self._defaults = defaults
        self._limits = limits
        self._admit = admit
        self._accepts_token = accepts_token
        self._is_framed = is_framed
        self._num_streams = 0
        self._over: OrderedDict[str, Utterance] = OrderedDict()
        self._refused_ids: deque[str] = deque(maxlen=REMEMBERED)

    def receive(self, frame: str | bytes) -> list[Action]:
        """What a client's frame leads to. Never raises: what is wrong becomes one `error`."""
        fields: dict[str, Any] = {}
        try:
            if isinstance(frame, bytes):
                raise InvalidMessageError("a binary frame; this protocol's messages are JSON text")
            fields, mistakes = parse_object(frame)
            if mistakes:
                raise InvalidMessageError(f"the message is not JSON: {mistakes[0]}")
            check_size(frame, self._limits.max_message_bytes)
            message, unknown = read_message(fields)
            if not self.is_authenticated and not isinstance(message, messages.Auth):
                raise AuthenticationError("the first message must be `auth` with a valid key")
            return [*self._warnings(unknown, message.ref, fields), *self._dispatch(message)]
        except AuthenticationError as error:
            return [Send(error_message(error, "session", fields)), Close(4401, error.message)]
        except StreamerError as error:
            return [Send(self._refused(error, fields))]

    def ended(self, utterance: Utterance) -> None:
        """Note that the utterance's `done` is out: its id is free again."""
        del self.open[utterance.id]
        utterance.close_ranks()
        self._over[utterance.id] = utterance
        self._over.move_to_end(utterance.id)
        while len(self._over) > REMEMBERED:
            self._over.popitem(last=False)

    def _dispatch(self, message: messages.ClientMessage) -> Sequence[Action]:
        match message:
            case messages.Start():
                return self._start(message)
            case messages.AppendText():
                return self._append(message)
            case messages.Flush():
                return self._flush(message)
            case messages.End():
                return self._end(message)
            case messages.Cancel():
                return self._cancel(message)
            case messages.Played():
                return self._played(message)
            case messages.Ping():
                return [Send(messages.Pong(t=message.t, ref=message.ref))]
            case messages.Configure():
                self._defaults = self._defaults.merged(message)
            case messages.Auth():
                self._authenticate(message)
        return []

    def _authenticate(self, message: messages.Auth) -> None:
        if self.is_authenticated:
            return
        assert self._accepts_token is not None
        if not self._accepts_token(message.token):
            raise AuthenticationError("this key is not valid here")
        self.is_authenticated = True

    def _start(self, message: messages.Start) -> list[Action]:
        """Open an utterance; `speak` fills and ends it at once."""
        others = list(self.open.values())
        self._check_start(message, 0 if message.interrupt else len(others))
        settings, lead_ms = self._defaults.merged(message).settings(self._limits.max_audio_s)
        text = message.text if isinstance(message, messages.Speak) else None
        if text is not None:
            self._check_length(text)
        after = self._predecessor(message)
        encoder = settings.create_encoder()
        permit = self._admit()
        self._num_streams += 1
        utterance = Utterance(
            id=message.id,
            stream=self._num_streams,
            settings=settings,
            clock=PlaybackClock(lead_ms),
            permit=permit,
            after=after,
            ref=message.ref,
        )
        if text is not None:
            utterance.append(text)
            utterance.end()
        self.open[message.id] = utterance
        if message.id in self._refused_ids:
            self._refused_ids.remove(message.id)
        stops = self._stops(others, message.ref) if message.interrupt else []
        return [*stops, Send(started(utterance, encoder.pre_skip, lead_ms)), Begin(utterance, encoder)]

    def _check_start(self, message: messages.Start, num_others: int) -> None:
        if self.refusal is not None:
            raise self.refusal
        if message.id in self.open:
            raise UtteranceError(f"utterance {message.id!r} is open already", param="id")
        if message.after is not None and message.interrupt:
            raise InvalidParameterError("`after` and `interrupt` exclude each other", param="after")
        if num_others >= self._limits.max_utterances_per_session:
            raise OverloadedError(f"{num_others} utterances are open in this session", retry_after_s=1.0)
        if self._num_streams >= MAX_STREAMS:
            raise OverloadedError("this session has used all stream numbers; open another one")

    def _predecessor(self, message: messages.Start) -> Utterance | None:
        before = None
        if message.after is not None:
            before = self.open.get(message.after) or self._over.get(message.after)
            if before is None:
                raise UtteranceError(f"`after` names no known utterance: {message.after!r}", param="after")
        if not self._is_framed and not message.interrupt:
            # Without headers nothing tells streams apart, so utterances queue up behind each other.
            return next(reversed(self.open.values()), before)
        return before

    def _append(self, message: messages.AppendText) -> list[Action]:
        utterance = self._writable(message.id, "text")
        if utterance is None:
            return []
        self._check_length(message.text)
        if utterance.num_waiting_chars + len(message.text) > self._limits.max_buffered_chars:
            raise TextTooLongError(
                f"more than {self._limits.max_buffered_chars} characters wait to be spoken", param="text"
            )
        utterance.append(message.text)
        return []

    def _flush(self, message: messages.Flush) -> list[Action]:
        utterance = self._writable(message.id, "flush")
        if utterance is not None:
            if len(utterance.feed) >= MAX_WAITING_PIECES:
                raise RateLimitedError("too many flushes wait for what was written before", retry_after_s=1.0)
            utterance.feed.flush(message.ref)
        return []

    def _end(self, message: messages.End) -> list[Action]:
        if message.id not in self.open and message.id in self._refused_ids:
            self._refused_ids.remove(message.id)
            return []
        utterance = self._writable(message.id, "end")
        if utterance is not None:
            utterance.end()
        return []

    def _writable(self, utterance_id: str, what: str) -> Utterance | None:
        """The open utterance; None where its `start` was refused, which was said once already."""
        utterance = self.open.get(utterance_id)
        if utterance is None:
            if utterance_id in self._refused_ids:
                return None
            state = "is over" if utterance_id in self._over else "was never started"
            raise UtteranceError(f"`{what}` for utterance {utterance_id!r}, which {state}", param="id")
        if utterance.is_ended:
            raise UtteranceError(f"`{what}` after the `end` of utterance {utterance_id!r}", param="id")
        return utterance

    def _check_length(self, text: str) -> None:
        if len(text) > self._limits.max_text_chars:
            raise TextTooLongError(
                f"{len(text)} characters; one text holds at most {self._limits.max_text_chars}", param="text"
            )

    def _cancel(self, message: messages.Cancel) -> Sequence[Action]:
        if message.id is None:
            return self._stops(list(self.open.values()), message.ref, message.played_ms)
        if message.id in self.open:
            return self._stops([self.open[message.id]], message.ref, message.played_ms)
        if message.id in self._refused_ids:
            self._refused_ids.remove(message.id)
            return []
        over = self._over.get(message.id)
        warning = messages.Warning(
            code="utterance_over" if over else "utterance_unknown",
            message=f"utterance {message.id!r} {'is over' if over else 'was never started'}",
            id=message.id,
            ref=message.ref,
            heard=over.heard(message.played_ms) if over else None,
        )
        return [Send(warning)]

    def _stops(
        self, utterances: Sequence[Utterance], ref: str | None, played_ms: float | None = None
    ) -> list[Action]:
        for utterance in utterances:
            utterance.cancel_ref = ref
            if played_ms is not None:
                utterance.played_ms = played_ms
        return [Stop(utterance) for utterance in utterances]

    def _played(self, message: messages.Played) -> list[Action]:
        utterance = self.open.get(message.id) or self._over.get(message.id)
        if utterance is None:
            raise UtteranceError(
                f"`played` for utterance {message.id!r}, which was never started", param="id"
            )
        utterance.played_ms = message.ms
        utterance.clock.played(message.ms)
        return []

    def _refused(self, error: StreamerError, fields: dict[str, Any]) -> messages.Error:
        is_start = fields.get("type") in ("start", "speak")
        utterance_id = short(fields.get("id"))
        if is_start and utterance_id is not None and utterance_id not in (*self.open, *self._refused_ids):
            self._refused_ids.append(utterance_id)
        return error_message(error, "utterance" if is_start else "message", fields)

    def _warnings(self, names: list[str], ref: str | None, fields: dict[str, Any]) -> list[Action]:
        return [Send(unknown_field(name, ref, short(fields.get("id")))) for name in names]
