"""The interface between a session and its client's protocol: actions go one way, their results the other way.

A protocol is a state machine without I/O. The session feeds it the client's frames, carries out the actions that it
returns, in order, and reports their results to it. `server/native` holds our own protocol; every adapter adds another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from streamer.audio.formats import AudioFormat
from streamer.errors import StreamerError
from streamer.server.mailbox import Mailbox
from streamer.server.service import Service
from streamer.server.upgrade import Upgrade
from streamer.server.utterance import Utterance
from streamer.server.wire import Frame, Wire
from streamer.speech.settings import SpeechSettings
from streamer.speech.text_feed import Piece


@dataclass(frozen=True, slots=True)
class Send:
    """Send this frame. `error` is the error that the frame reports, if any; the metrics count it."""

    frame: Frame
    error: StreamerError | None = None


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Check this key. The session answers with `ClientProtocol.authenticated`."""

    key: str


@dataclass(frozen=True, slots=True)
class Open:
    """Open an utterance. The session answers with `opened` and then speaks it, or with `refused`.

    `id` is the client's name for the utterance, or one that the protocol makes up. `lead_ms` is how far ahead of
    playback sound is sent; None for as fast as it is made. `starts_safely` holds the first packet until playback will
    not stop. The utterance is heard behind `after`.
    """

    id: str
    settings: SpeechSettings
    audio_format: AudioFormat
    lead_ms: int | None
    wire: Wire
    starts_safely: bool = False
    after: Utterance | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """Append text, a flush or the end to an utterance's text."""

    utterance: Utterance
    piece: Piece


@dataclass(frozen=True, slots=True)
class Played:
    """The client has played this much of an utterance's sound."""

    utterance: Utterance
    position_ms: float


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel an utterance and continue when it is over. `played_ms`: what the client has played, if it says so."""

    utterance: Utterance
    played_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection once everything before has been sent."""

    code: int
    reason: str


def _nothing() -> Sequence[Action]:
    return ()


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Call `expired` in `delay_s` seconds, and carry out what it returns; without a delay, never.

    It takes the place of the timer of the same name. A name stands for one thing that is waited for, such as an
    utterance that may expire, so that a session has few timers.
    """

    name: str
    delay_s: float | None = None
    expired: Callable[[], Sequence[Action]] = _nothing


@dataclass(frozen=True, slots=True)
class Collect:
    """Carry out what `told` returns for each message of a mailbox, in order; once the session is over, call `over`."""

    mailbox: Mailbox[Any]
    told: Callable[[Any], Sequence[Action]]
    over: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Deliver:
    """Put a message into the mailbox of another session, once there is room."""

    mailbox: Mailbox[Any]
    message: object


Action = Send | Authenticate | Open | Write | Played | Cancel | Close | SetTimer | Collect | Deliver


class ClientProtocol(Protocol):
    """One client's side of a conversation. No method raises: what a client does wrong becomes a frame or a close."""

    @property
    def idle_timeout_s(self) -> float:
        """How long the client may be silent until `idled` is called."""
        ...

    def greeting(self, session_id: str) -> Sequence[Action]:
        """The session begins."""
        ...

    def receive(self, frame: Frame) -> Sequence[Action]:
        """The client has sent a frame."""
        ...

    def authenticated(self, key: str | StreamerError) -> Sequence[Action]:
        """The answer to `Authenticate`: the name of the key, or what is wrong with it."""
        ...

    def opened(self, utterance: Utterance) -> Sequence[Action]:
        """The answer to `Open`: the utterance exists, and is spoken once the actions returned are carried out."""
        ...

    def refused(self, error: StreamerError) -> Sequence[Action]:
        """The other answer to `Open`: there is no utterance, because of `error`."""
        ...

    def ended(self, utterance: Utterance) -> Sequence[Action]:
        """The utterance is over; the frames of `Wire.done` are on their way."""
        ...

    def idled(self) -> Sequence[Action]:
        """The client has been silent for `idle_timeout_s`."""
        ...

    def going_away(self, deadline_s: float) -> Sequence[Action]:
        """The session will end. From now on every `Open` is refused; what is open may finish within `deadline_s`."""
        ...

    def failed(self, error: StreamerError) -> Sequence[Action]:
        """The session ends because of `error`. The actions should report it, and `Close` with the protocol's code."""
        ...


CreateProtocol = Callable[[Upgrade, Service], ClientProtocol]
"""How a route makes the protocol of a client that is let in. Raises `StreamerError` to refuse its handshake instead."""
