"""Deepgram's text to speech as a state machine without I/O: a client's frame goes in, what is to be done comes out.

What a client says up to a `Flush` is a turn, and each turn is an utterance. `session` carries out the actions.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from typing import Final

from streamer.errors import (
    EngineError,
    IdleTimeoutError,
    OverloadedError,
    RateLimitedError,
    StreamerError,
    TextTooLongError,
)
from streamer.server.client_protocol import Action, Cancel, Close, Open, Send, Write
from streamer.server.deepgram import messages
from streamer.server.deepgram.options import SpeakOptions, read_options
from streamer.server.deepgram.wire import DeepgramWire
from streamer.server.service import Service
from streamer.server.upgrade import Upgrade
from streamer.server.utterance import Utterance
from streamer.server.wire import Frame
from streamer.speech.text_feed import TextEnd
from streamer.text.message_borders import parted

MAX_TURNS: Final = 64
"""How many turns may wait to be spoken."""
TURNS_AHEAD: Final = 2
"""How many turns are utterances at a time: the one that is heard, and the next, whose sound is made meanwhile."""
NORMAL, INTERNAL_ERROR = 1000, 1011
_LIMITS: Final = (TextTooLongError, RateLimitedError, OverloadedError)
"""Errors that are reported as warnings: what was asked for is right, and only too much."""


class Turn:
    """What a client says up to a `Flush`. `pieces`: text that waits until the turn is an utterance."""

    def __init__(self, sequence_ids: Iterator[int]) -> None:
        self.wire = DeepgramWire(sequence_ids)
        self.utterance: Utterance | None = None
        self.pieces: list[str] = []
        self.last_message = ""
        self.is_flushed = False

    @property
    def num_waiting_chars(self) -> int:
        """How much of the text has not begun to be sent."""
        waiting = self.utterance.num_waiting_chars if self.utterance is not None else 0
        return waiting + sum(map(len, self.pieces))

    def written(self) -> list[Action]:
        """Return what appends to the utterance what is known of it."""
        assert self.utterance is not None
        writes: list[Action] = [Write(self.utterance, piece) for piece in self.pieces]
        self.pieces.clear()
        return [*writes, Write(self.utterance, TextEnd())] if self.is_flushed else writes


def create_protocol(upgrade: Upgrade, service: Service) -> DeepgramProtocol:
    """Return the protocol of a client that is let in; raises `StreamerError` for a query that is wrong."""
    return DeepgramProtocol(read_options(upgrade.query, service, has_files=False), service)


class DeepgramProtocol:
    """Implements `server.client_protocol.ClientProtocol` for one session."""

    def __init__(self, options: SpeakOptions, service: Service) -> None:
        self._options = options
        self._service = service
        self._limits = service.config.limits
        self._sequence_ids = itertools.count()
        self._turns: deque[Turn] = deque()
        self._opening: Turn | None = None  # which the session is asked to open
        self._num_turns = 0
        self._is_closing = False

    @property
    def idle_timeout_s(self) -> float:
        return self._limits.idle_timeout_s

    def greeting(self, session_id: str) -> list[Action]:
        remarks = [Send(messages.warning(code, text)) for code, text in self._options.remarks]
        return [Send(messages.metadata(session_id, self._options.voice)), *remarks]

    def receive(self, frame: Frame) -> list[Action]:
        if self._is_closing:
            return []
        try:
            match messages.read_message(frame, self._limits.max_message_bytes):
                case messages.Speak(text=text):
                    return self._speak(text)
                case messages.Flush():
                    return self._flush()
                case messages.Clear():
                    return self._clear()
                case messages.Close():
                    self._is_closing = True
                    return [*self._end_turn(), *self._close_if_over()]
        except StreamerError as error:
            return [_report(error)]

    def authenticated(self, key: str | StreamerError) -> list[Action]:  # noqa: ARG002
        return []  # the key comes with the handshake

    def opened(self, utterance: Utterance) -> list[Action]:
        assert self._opening is not None
        turn, self._opening = self._opening, None
        turn.utterance = utterance
        return turn.written()

    def refused(self, error: StreamerError) -> list[Action]:
        assert self._opening is not None
        turn, self._opening = self._opening, None
        if turn in self._turns:  # and was not cleared meanwhile
            self._turns.remove(turn)
        answers = [Send(frame) for frame in turn.wire.answers()]
        return [_report(error), *answers, *self._open_next(), *self._close_if_over()]

    def ended(self, utterance: Utterance) -> list[Action]:
        over = [turn for turn in self._turns if turn.utterance is utterance]
        for turn in over:
            self._turns.remove(turn)
        late = [Send(frame) for turn in over for frame in turn.wire.answers()]
        return [*self._open_next(), *late, *self._close_if_over()]

    def idled(self) -> list[Action]:
        if self._turns:
            return []
        return self.failed(IdleTimeoutError(f"NET-0001: nothing was said for {self.idle_timeout_s:g} s"))

    def going_away(self, deadline_s: float) -> list[Action]:
        return [Send(messages.warning("going_away", f"the server closes the connection in {deadline_s:g} s"))]

    def failed(self, error: StreamerError) -> list[Action]:
        reason = "NET-0000: the engine failed" if isinstance(error, EngineError) else error.message
        return [_report(error), Close(INTERNAL_ERROR, reason)]

    def _speak(self, text: str) -> list[Action]:
        if not text:
            return []
        if len(text) > self._limits.max_text_chars:
            message = f"{len(text)} characters are not spoken; one text holds {self._limits.max_text_chars}"
            raise TextTooLongError(message)
        num_waiting = sum(turn.num_waiting_chars for turn in self._turns) + len(text)
        if num_waiting > self._limits.max_buffered_chars:
            limit = self._limits.max_buffered_chars
            message = f"more than {limit} characters wait; these are not spoken: {text[:64]!r}"
            raise TextTooLongError(message)
        if not self._turns or self._turns[-1].is_flushed:
            if len(self._turns) >= MAX_TURNS:
                message = f"{MAX_TURNS} flushed texts wait; this one is not spoken: {text[:64]!r}"
                raise RateLimitedError(message)
            self._turns.append(Turn(self._sequence_ids))
        turn = self._turns[-1]
        turn.pieces.append(parted(turn.last_message, text))
        turn.last_message = text
        return turn.written() if turn.utterance is not None else self._open_next()

    def _flush(self) -> list[Action]:
        """Flush the turn. A second `Flush`, with nothing said since, is answered together with the one before it."""
        if not self._turns:
            return [Send(messages.flushed(next(self._sequence_ids)))]
        self._turns[-1].wire.num_flushes += 1
        return self._end_turn()

    def _end_turn(self) -> list[Action]:
        if not self._turns or self._turns[-1].is_flushed:
            return []
        turn = self._turns[-1]
        turn.is_flushed = True
        return turn.written() if turn.utterance is not None else []

    def _clear(self) -> list[Action]:
        cancels = [Cancel(turn.utterance) for turn in self._turns if turn.utterance is not None]
        self._turns.clear()
        if (turn := self._opening) is not None:  # which has an utterance soon, with nothing to say
            turn.pieces.clear()
            turn.is_flushed, turn.wire.num_flushes = True, 0
        return [*cancels, Send(messages.cleared(next(self._sequence_ids)))]

    def _open_next(self) -> list[Action]:
        """Ask for the next turn to become an utterance if there may be one."""
        num_open = sum(turn.utterance is not None for turn in self._turns)
        if num_open >= min(TURNS_AHEAD, len(self._turns)) or self._opening is not None:
            return []
        self._opening = self._turns[num_open]
        self._num_turns += 1
        return [
            Open(
                str(self._num_turns),
                self._options.settings(self._service),
                self._options.audio_format,
                self._service.config.speech.lead_ms,
                self._opening.wire,
                after=self._turns[num_open - 1].utterance if num_open else None,
            )
        ]

    def _close_if_over(self) -> list[Action]:
        return [Close(NORMAL, "")] if self._is_closing and not self._turns else []


def _report(error: StreamerError) -> Send:
    if isinstance(error, _LIMITS):
        return Send(messages.warning(error.code, error.message), error)
    return Send(messages.error_message(error), error)
