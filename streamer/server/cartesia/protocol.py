"""Cartesia's text to speech as a state machine without I/O: a client's frame goes in, what is to be done comes out.

Each context is an utterance, and all of them are spoken side by side. `session` carries out the actions.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Final

from streamer.errors import (
    EngineError,
    OverloadedError,
    RateLimitedError,
    StreamerError,
    TextTooLongError,
    UtteranceError,
)
from streamer.server.cartesia import messages
from streamer.server.cartesia.errors import error_message
from streamer.server.cartesia.messages import GenerationRequest
from streamer.server.cartesia.options import read_options
from streamer.server.cartesia.version import ApiVersion, read_version
from streamer.server.cartesia.wire import CartesiaWire
from streamer.server.client_protocol import Action, Cancel, Close, Open, Send, SetTimer, Write
from streamer.server.service import Service
from streamer.server.upgrade import Upgrade
from streamer.server.utterance import Utterance
from streamer.server.wire import Frame
from streamer.speech.text_feed import TextEnd, TextFlush
from streamer.text.message_borders import parted

CONTAINERS: Final = ("raw",)
CONTEXT_TIMEOUT_S: Final = 20.0
"""How long a context waits for more text, and goes without beginning another sentence, until it is done by itself.
Cartesia's expire one second after their sound; a language model that calls a tool is often silent for longer."""
MAX_WAITING_PIECES: Final = 1024
"""How many texts and flushes of a context may wait to be read."""
NORMAL, INTERNAL_ERROR = 1000, 1011


class Context:
    """A context that takes text. `flushes_each`: whether each message is spoken at once (`max_buffer_delay_ms: 0`)."""

    def __init__(self, utterance: Utterance, *, flushes_each: bool) -> None:
        self.utterance = utterance
        self.is_complete = False
        self._flushes_each = flushes_each
        self._last_message = ""

    def write(self, request: GenerationRequest) -> list[Action]:
        """Return what appends a message's text, its flush, and the end that it brings."""
        writes: list[Action] = []
        text = request.transcript or ""
        if text:
            writes.append(Write(self.utterance, parted(self._last_message, text)))
            self._last_message = text
        if not request.continues:
            self.is_complete = True
            return [*writes, Write(self.utterance, TextEnd())]
        if request.flush or (self._flushes_each and text.strip()):
            self._last_message = ""
            writes.append(Write(self.utterance, TextFlush()))
        return writes


def create_protocol(upgrade: Upgrade, service: Service) -> CartesiaProtocol:
    """Return the protocol of a client that is let in."""
    return CartesiaProtocol(service, read_version(upgrade.query, upgrade.headers))


class CartesiaProtocol:
    """Implements `server.client_protocol.ClientProtocol` for one session."""

    def __init__(self, service: Service, version: ApiVersion) -> None:
        self._service = service
        self._limits = service.config.limits
        self._version = version
        self._session_id = ""
        self._contexts: dict[str, Context] = {}
        self._opening: tuple[str, GenerationRequest] | None = None  # which the session is asked to open

    @property
    def idle_timeout_s(self) -> float:
        return self._limits.idle_timeout_s

    def greeting(self, session_id: str) -> list[Action]:
        self._session_id = session_id
        return []

    def receive(self, frame: Frame) -> Sequence[Action]:
        context_id = ""
        try:
            request = messages.read_message(frame, self._limits.max_message_bytes)
            context_id = request.context_id or ""
            if request.cancel:
                return self._end(context_id)
            if not context_id:
                context_id = str(uuid.uuid4())
            return self._generate(context_id, request)
        except StreamerError as error:
            context_id = context_id or messages.context_of(frame)
            return [*self._end(context_id), self._report(error, context_id)]

    def authenticated(self, key: str | StreamerError) -> list[Action]:  # noqa: ARG002
        return []  # the key comes with the handshake

    def opened(self, utterance: Utterance) -> list[Action]:
        assert self._opening is not None
        context_id, request = self._opening
        self._opening = None
        context = Context(utterance, flushes_each=request.max_buffer_delay_ms == 0)
        self._contexts[context_id] = context
        return [*context.write(request), *self._wait_for_text(context)]

    def refused(self, error: StreamerError) -> list[Action]:
        assert self._opening is not None
        context_id, _ = self._opening
        self._opening = None
        return [self._report(error, context_id)]

    def ended(self, utterance: Utterance) -> list[Action]:
        context = self._contexts.get(utterance.id)
        if context is None or context.utterance is not utterance:
            return []
        del self._contexts[utterance.id]
        return [SetTimer(utterance.id)]

    def idled(self) -> list[Action]:
        return [] if self._contexts else [Close(NORMAL, f"nothing was said for {self.idle_timeout_s:g} s")]

    def going_away(self, deadline_s: float) -> list[Action]:  # noqa: ARG002
        return []  # the protocol has no word for it: contexts may end, and new ones are refused

    def failed(self, error: StreamerError) -> list[Action]:
        reason = "the engine failed" if isinstance(error, EngineError) else error.message
        return [self._report(error, ""), Close(INTERNAL_ERROR, reason)]

    def _generate(self, context_id: str, request: GenerationRequest) -> Sequence[Action]:
        text = request.transcript or ""
        if len(text) > self._limits.max_text_chars:
            message = (
                f"transcript has {len(text)} characters; one holds at most {self._limits.max_text_chars}"
            )
            raise TextTooLongError(message, param="transcript")
        context = self._contexts.get(context_id)
        if context is None:
            return (
                self._open(context_id, request) if text.strip() else self._answer_empty(context_id, request)
            )
        if context.is_complete:
            if not text.strip():
                return []
            message = f"context {context_id!r} had its last text: use another context_id, or `continue`"
            raise UtteranceError(message, param="context_id")
        if context.utterance.num_waiting_chars + len(text) > self._limits.max_buffered_chars:
            message = f"more than {self._limits.max_buffered_chars} characters wait to be spoken"
            raise TextTooLongError(message, param="transcript")
        if len(context.utterance.feed) >= MAX_WAITING_PIECES:
            raise RateLimitedError("too many flushes wait for the text before them")
        return [*context.write(request), *self._wait_for_text(context)]

    def _open(self, context_id: str, request: GenerationRequest) -> list[Action]:
        if len(self._contexts) >= self._limits.max_utterances_per_session:
            raise OverloadedError(f"{len(self._contexts)} contexts are open on this connection")
        options = read_options(request, self._service, CONTAINERS)
        wire = CartesiaWire(
            self._request_id(context_id),
            self._version,
            has_words=bool(request.add_timestamps),
        )
        self._opening = context_id, request
        lead_ms = self._service.config.speech.lead_ms
        return [Open(context_id, options.settings, options.audio_format, lead_ms, wire)]

    def _answer_empty(self, context_id: str, request: GenerationRequest) -> list[Action]:
        """Answer a context without a text: it needs no utterance."""
        if not request.continues:
            return [Send(messages.done(context_id=context_id))]
        return (
            [Send(messages.flush_done(self._version.first_flush_id, context_id=context_id))]
            if request.flush
            else []
        )

    def _wait_for_text(self, context: Context) -> list[Action]:
        """Have the context end by itself if its client forgets it."""
        name, num_waiting = context.utterance.id, context.utterance.num_waiting_chars
        if context.is_complete:
            return [SetTimer(name)]

        def expired() -> Sequence[Action]:
            if self._contexts.get(name) is not context or context.is_complete:
                return []
            if context.utterance.num_waiting_chars < num_waiting:  # it is still speaking what it has
                return self._wait_for_text(context)
            context.is_complete = True
            return [Write(context.utterance, TextEnd())]

        return [SetTimer(name, CONTEXT_TIMEOUT_S, expired)]

    def _end(self, context_id: str) -> list[Action]:
        """Cancel a context, if it is open: nothing more of it is sent."""
        context = self._contexts.pop(context_id, None)
        return [] if context is None else [SetTimer(context_id), Cancel(context.utterance)]

    def _report(self, error: StreamerError, context_id: str) -> Send:
        """Report an error, which ends the context. Clients want an id in each message, be it empty."""
        report = error_message(
            error,
            self._request_id(context_id),
            is_structured=self._version.has_structured_errors,
            context_id=context_id,
        )
        return Send(json.dumps(report), error)

    def _request_id(self, context_id: str) -> str:
        return f"{self._session_id}:{context_id}" if context_id else self._session_id
