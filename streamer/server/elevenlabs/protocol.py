"""ElevenLabs' protocol over WebSocket as a state machine without I/O: one text in a connection, or many contexts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from streamer.errors import (
    AuthenticationError,
    IdleTimeoutError,
    InvalidMessageError,
    OverloadedError,
    StreamerError,
    TextTooLongError,
)
from streamer.server.client_protocol import Action, Authenticate, Cancel, Close, Open, Send, SetTimer, Write
from streamer.server.elevenlabs.context_text import ContextText
from streamer.server.elevenlabs.contexts import Context, Contexts, Opening
from streamer.server.elevenlabs.messages import (
    ClientMessage,
    FinalFrame,
    close_code,
    encode,
    error_frame,
    read_context_id,
    read_message,
)
from streamer.server.elevenlabs.requested import choose_voice, read_requested, read_speed
from streamer.server.elevenlabs.wire import ElevenLabsWire
from streamer.server.json_messages import check_size
from streamer.server.service import Service
from streamer.server.upgrade import Upgrade
from streamer.server.utterance import Utterance
from streamer.server.wire import Frame
from streamer.speech.text_feed import TextEnd

MAX_CONTEXTS: Final = 5
"""How many contexts of a connection may accept text at once. Those that are draining do not count here: clients that
were interrupted leave some behind."""
DEFAULT_CONTEXT: Final = "default"
"""The context of text that names none."""


class TooManyContextsError(OverloadedError):
    """The connection has as many contexts as it may."""

    code = "max_active_conversations"


def one_context(upgrade: Upgrade, service: Service) -> ElevenLabsProtocol:
    """Return the protocol of `stream-input`."""
    return ElevenLabsProtocol(upgrade, service, is_multi=False)


def many_contexts(upgrade: Upgrade, service: Service) -> ElevenLabsProtocol:
    """Return the protocol of `multi-stream-input`."""
    return ElevenLabsProtocol(upgrade, service, is_multi=True)


class ElevenLabsProtocol:
    """Implements `ClientProtocol`.

    `is_multi`: whether the connection holds many contexts; otherwise its only one ends it. What is wrong with the
    address is told in a frame, and not by refusing the handshake, because that is where clients look for the reason.
    """

    def __init__(self, upgrade: Upgrade, service: Service, *, is_multi: bool) -> None:
        self._service = service
        self._limits = service.config.limits
        self._is_multi = is_multi
        self._needs_key = service.keys.are_required and upgrade.key_name is None
        self.contexts = Contexts()
        self._first: ClientMessage | None = None  # with the key that the session is asked about
        self._opening: Opening | None = None
        self._is_closing = False  # the client has said all that it will say
        self._has_ended = False  # the only context has
        self._fault: StreamerError | None = None
        self._asked = upgrade.parameters["voice"]
        try:
            self._requested = read_requested(upgrade.query, service.synthesizer.info)
            self._voice()
        except StreamerError as error:
            self._fault = error

    @property
    def idle_timeout_s(self) -> float:
        return min(self._limits.idle_timeout_s, self._inactivity_s)

    @property
    def _inactivity_s(self) -> float:
        return self._limits.idle_timeout_s if self._fault else self._requested.inactivity_s

    def greeting(self, session_id: str) -> Sequence[Action]:  # noqa: ARG002
        return self._fail(self._fault) if self._fault is not None else []

    def receive(self, frame: Frame) -> Sequence[Action]:
        if self._is_closing:
            return []
        context_id = None
        try:
            if isinstance(frame, bytes):
                raise InvalidMessageError("a binary frame; this protocol's messages are JSON text")
            check_size(frame, self._limits.max_message_bytes)
            context_id = read_context_id(frame) or DEFAULT_CONTEXT
            message = read_message(frame)
            if not self._needs_key:
                return self._react(message)
            if message.key is None:
                text = "a key is needed: as the header `xi-api-key`, or in the first message"
                raise AuthenticationError(text)
            self._first = message
            return [Authenticate(message.key)]
        except (AuthenticationError, InvalidMessageError) as error:
            return self._fail(error)
        except StreamerError as error:
            if context_id is None and self._is_multi:  # nobody knows which is meant: none ends
                return [Send(encode(error_frame(error)), error)]
            return self._end_with_error(context_id or DEFAULT_CONTEXT, error)

    def authenticated(self, key: str | StreamerError) -> Sequence[Action]:
        assert self._first is not None
        if isinstance(key, StreamerError):
            return self._fail(key)
        self._needs_key = False
        try:
            return self._react(self._first)
        except StreamerError as failure:
            return self._end_with_error(self._first.context_id or DEFAULT_CONTEXT, failure)

    def opened(self, utterance: Utterance) -> Sequence[Action]:
        assert self._opening is not None
        context = self.contexts.accept(self._opening, utterance)
        return self._write(context, self._opening.message)

    def refused(self, error: StreamerError) -> Sequence[Action]:
        assert self._opening is not None
        return self._end_with_error(self._opening.id, error)

    def ended(self, utterance: Utterance) -> Sequence[Action]:
        context = self.contexts.remove(utterance)
        error = context.wire.error
        if not self._is_multi:
            self._is_closing = self._has_ended = True
            return [Close(1000, "") if error is None else Close(close_code(error), error.message)]
        if error is not None:
            self.contexts.drop(context.id)
        if self._is_closing and not self.contexts.open:
            return [Close(1000, "")]
        return [SetTimer(context.id)] if context.id not in self.contexts.accepting else []

    def idled(self) -> Sequence[Action]:
        error = IdleTimeoutError(
            f"no text has come for {self.idle_timeout_s:g} s; a blank keeps the connection"
        )
        if not self.contexts.open:
            return self._fail(error)
        if self._is_multi:
            return []
        self._is_closing = True
        actions: list[Action] = []
        for context in tuple(self.contexts.accepting.values()):
            context.wire.error = error  # which follows what was written before
            actions += self._finish(context)
        return actions

    def going_away(self, deadline_s: float) -> Sequence[Action]:  # noqa: ARG002
        return []

    def failed(self, error: StreamerError) -> Sequence[Action]:
        return self._fail(error)

    def _react(self, message: ClientMessage) -> Sequence[Action]:
        if message.close_socket or (message.close_context and not self._is_multi):
            return self._close_all()
        context_id = message.context_id if self._is_multi else DEFAULT_CONTEXT
        if context_id is None:
            if not message.text and not message.flush:
                return []  # it keeps the connection alive
            context_id = DEFAULT_CONTEXT
        if message.close_context:
            return self._close(context_id)
        is_end = not self._is_multi and message.text == "" and not message.flush
        if is_end:
            return self._close_all()
        context = self.contexts.accepting.get(context_id)
        if context is not None:
            self._check_length(message, context.utterance.num_waiting_chars)
            return self._write(context, message)
        if not message.text or (self.contexts.is_dropped(context_id) and message.text.strip()):
            return []
        return [self._open(context_id, message)]

    def _open(self, context_id: str, message: ClientMessage) -> Open:
        """What the session is to open for the first message of a context; raises what is wrong with it."""
        self._check_length(message, 0)
        num_accepting, num_open = len(self.contexts.accepting), len(self.contexts.open)
        if num_accepting >= MAX_CONTEXTS or num_open >= self._limits.max_utterances_per_session:
            told = f"{num_accepting} contexts accept text and {num_open - num_accepting} are still speaking"
            raise TooManyContextsError(f"{told}: close one before opening another")
        requested, speech = self._requested, self._service.config.speech
        settings, generation = message.voice_settings, message.generation_config
        speed = read_speed(settings.speed if settings else None)
        wire_id = context_id if self._is_multi else None
        wire = ElevenLabsWire(wire_id, uses_context_clock=requested.uses_context_clock)
        schedule = generation.chunk_length_schedule if generation else None
        text = ContextText(schedule, is_auto=requested.is_auto)
        self._opening = Opening(context_id, wire, text, message)
        before = self.contexts.draining(context_id)
        return Open(
            context_id,
            self._service.settings(
                self._voice(), speed=speed, reading=requested.reading, seed=requested.seed
            ),
            requested.audio_format,
            speech.lead_ms,
            wire,
            starts_safely=speech.start == "safe",
            after=before[-1].utterance if before else None,
        )

    def _voice(self) -> str:
        """Return the voice of a context that begins now, because voices may change. Raises `VoiceNotFoundError`."""
        info, speech = self._service.synthesizer.info, self._service.config.speech
        return choose_voice(self._asked, self._requested.language_code, info, speech)[0]

    def _check_length(self, message: ClientMessage, num_waiting_chars: int) -> None:
        """Raise `TextTooLongError` for more text than may be sent at once, or may wait."""
        num_chars, limits = len(message.text or ""), self._limits
        if num_chars > limits.max_text_chars:
            told = f"{num_chars} characters; one text holds at most {limits.max_text_chars}"
            raise TextTooLongError(told, param="text")
        if num_waiting_chars + num_chars > limits.max_buffered_chars:
            told = f"more than {limits.max_buffered_chars} characters wait to be spoken"
            raise TextTooLongError(told, param="text")

    def _write(self, context: Context, message: ClientMessage) -> Sequence[Action]:
        """Append a message's text, and let the context live on."""
        flushes, triggers = bool(message.flush), bool(message.try_trigger_generation)
        pieces = context.text.append(message.text or "", flushes=flushes, triggers=triggers)
        writes: list[Action] = [Write(context.utterance, piece) for piece in pieces]
        if self._is_multi:
            writes.append(SetTimer(context.id, self._inactivity_s, lambda: self._expire(context)))
        return writes

    def _close(self, context_id: str) -> Sequence[Action]:
        """Close a context: what was flushed is still spoken, and the rest of the text is not.

        Of one that is draining nothing more is sent: its client was interrupted.
        """
        self.contexts.forget(context_id)
        context = self.contexts.accepting.get(context_id)
        if context is None:
            return [Cancel(draining.utterance) for draining in self.contexts.draining(context_id)]
        if not context.text.has_unflushed:
            return self._finish(context)
        self.contexts.drain(context)
        return [SetTimer(context.id), Cancel(context.utterance)]

    def _close_all(self) -> Sequence[Action]:
        """Have everything spoken, and then close the connection."""
        self._is_closing = True
        actions: list[Action] = []
        for context in tuple(self.contexts.accepting.values()):
            actions += self._finish(context)
        if not self.contexts.open:
            final: list[Action] = [] if self._is_multi else [Send(encode(FinalFrame()))]
            return [*final, Close(1000, "")]
        return actions

    def _finish(self, context: Context) -> Sequence[Action]:
        self.contexts.drain(context)
        return [SetTimer(context.id), Write(context.utterance, TextEnd())]

    def _expire(self, context: Context) -> Sequence[Action]:
        """A context that its client has forgotten ends once everything was spoken."""
        return self._finish(context) if self.contexts.accepting.get(context.id) is context else []

    def _end_with_error(self, context_id: str, error: StreamerError) -> Sequence[Action]:
        """End the context in which a mistake was made, or refuse it; its neighbours continue."""
        if not self._is_multi:
            return self._fail(error)
        self.contexts.drop(context_id)
        if (context := self.contexts.accepting.get(context_id)) is not None:
            context.wire.error = error
            self.contexts.drain(context)
            return [SetTimer(context_id), Cancel(context.utterance)]
        is_final = not self.contexts.draining(context_id)  # or one of the same id would end twice
        return [Send(encode(error_frame(error, context_id, is_final=is_final)), error)]

    def _fail(self, error: StreamerError) -> Sequence[Action]:
        """End everything, and the connection, with an error."""
        self._is_closing = True
        actions: list[Action] = []
        for context in self.contexts.open:
            if not self._is_multi:
                context.wire.error = error  # its end reports it
            actions.append(Cancel(context.utterance))
        if self._is_multi or not (self.contexts.open or self._has_ended):
            actions.append(Send(encode(error_frame(error)), error))
        return [*actions, Close(close_code(error), error.message)]
