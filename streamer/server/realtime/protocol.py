"""OpenAI's realtime API as a state machine without I/O: a response speaks the text that it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from streamer.errors import (
    EngineError,
    IdleTimeoutError,
    InvalidParameterError,
    OverloadedError,
    StreamerError,
    TextTooLongError,
    UtteranceError,
)
from streamer.server.client_protocol import Action, Cancel, Close, Open, Send, Write
from streamer.server.openai_names import REALTIME_ALIASES, ModelNotFoundError, check_model, read_mapping
from streamer.server.realtime.messages import (
    ClientEvent,
    Item,
    ItemCreate,
    ItemDelete,
    ItemTruncate,
    Response,
    ResponseCancel,
    ResponseCreate,
    SessionUpdate,
    encode,
    error_fields,
    read_envelope,
    read_event,
    read_query,
)
from streamer.server.realtime.spoken import SpokenAs, joined, text_of
from streamer.server.realtime.wire import ResponseWire
from streamer.server.service import Service
from streamer.server.upgrade import Upgrade
from streamer.server.utterance import Utterance
from streamer.server.wire import Frame
from streamer.speech.text_feed import TextEnd

MAX_ITEMS: Final = 64
"""Items of a conversation that may wait to be spoken, and responses that are remembered."""
OVER: Final = 1000
INVALID: Final = 4000
FAILED: Final = 1011


class ResponseActiveError(UtteranceError):
    """A response of the conversation is being made already."""

    code = "conversation_already_has_active_response"


class NoResponseError(UtteranceError):
    """There is no response to cancel."""

    code = "response_cancel_not_active"


class RealtimeProtocol:
    """Implements `server.client_protocol.ClientProtocol`.

    What users say in the conversation waits for `response.create`, and is spoken once. A response with an `input` of
    its own speaks that. Responses outside of the conversation may be made side by side.
    """

    def __init__(self, upgrade: Upgrade, service: Service) -> None:
        self._service = service
        self._limits = service.config.limits
        self._model = read_query(upgrade.query).get("model")
        self._mapping = read_mapping(service.config.speech.openai_voices)
        self._spoken_as = SpokenAs()
        self._session_id = ""
        self._num_events = self._num_items = self._num_responses = 0
        self._event_id: str | None = None  # of the event that is being reacted to
        self._items: dict[str, str | None] = {}  # what is to be spoken of each
        self._asked: tuple[str, ResponseWire, Response] | None = (
            None  # the response that the session is to open
        )
        self._open: dict[Utterance, ResponseWire] = {}
        self._active: Utterance | None = None  # the conversation's
        self._spoken: dict[str, None] = {}  # items of the last responses

    @property
    def idle_timeout_s(self) -> float:
        return self._limits.idle_timeout_s

    def greeting(self, session_id: str) -> Sequence[Action]:
        self._session_id = session_id
        try:
            check_model(self._model, self._service.synthesizer.info.name, REALTIME_ALIASES)
        except ModelNotFoundError as error:
            return [self._error(error), Close(INVALID, "invalid_request_error.invalid_model")]
        return [self._send("session.created", session=self._session())]

    def receive(self, frame: Frame) -> Sequence[Action]:
        self._event_id = None
        try:
            envelope = read_envelope(frame, self._limits.max_message_bytes)
            self._event_id = envelope.event_id
            return self._react(read_event(frame, envelope))
        except StreamerError as error:
            return [self._error(error)]

    def authenticated(self, key: str | StreamerError) -> Sequence[Action]:  # noqa: ARG002
        return ()

    def opened(self, utterance: Utterance) -> Sequence[Action]:
        assert self._asked is not None
        text, wire, response = self._asked
        self._open[utterance] = wire
        if _is_of_conversation(response):
            self._active = utterance
        if response.input is None:
            self._items.clear()
        self._spoken[wire.item_id] = None
        if len(self._spoken) > MAX_ITEMS:
            del self._spoken[next(iter(self._spoken))]
        return [*map(Send, wire.begin()), Write(utterance, text), Write(utterance, TextEnd())]

    def refused(self, error: StreamerError) -> Sequence[Action]:
        return [self._error(error)]

    def ended(self, utterance: Utterance) -> Sequence[Action]:
        del self._open[utterance]
        if self._active is utterance:
            self._active = None
        return ()

    def idled(self) -> Sequence[Action]:
        if self._open:
            return ()
        error = IdleTimeoutError(f"nothing was said for {self.idle_timeout_s:g} s")
        return [self._error(error), Close(OVER, error.message)]

    def going_away(self, deadline_s: float) -> Sequence[Action]:  # noqa: ARG002
        return ()

    def failed(self, error: StreamerError) -> Sequence[Action]:
        reason = "the engine failed" if isinstance(error, EngineError) else error.message
        self._event_id = None
        return [self._error(error), Close(FAILED, reason)]

    def _react(self, event: ClientEvent) -> Sequence[Action]:
        match event:
            case SessionUpdate(settings):
                spoken_as = self._spoken_as.changed(settings)
                spoken_as.settings(self._service, self._mapping)
                self._spoken_as = spoken_as
                return [self._send("session.updated", session=self._session())]
            case ItemCreate(item):
                return self._add(item)
            case ItemDelete(item_id):
                if item_id not in self._items:
                    raise InvalidParameterError(f"no item {item_id!r} waits to be spoken", param="item_id")
                del self._items[item_id]
                return [self._send("conversation.item.deleted", item_id=item_id)]
            case ItemTruncate(item_id, audio_end_ms, content_index):
                if item_id not in self._spoken:
                    raise InvalidParameterError(f"no response has the item {item_id!r}", param="item_id")
                fields = {"item_id": item_id, "audio_end_ms": audio_end_ms, "content_index": content_index}
                return [self._send("conversation.item.truncated", **fields)]
            case ResponseCreate(response):
                return [self._respond(response)]
            case ResponseCancel(response_id):
                return self._cancel(response_id)

    def _add(self, item: Item) -> Sequence[Action]:
        text = text_of(item)
        item_id = item.id or self._new_item_id()
        if item_id in self._items:
            raise InvalidParameterError(f"an item {item_id!r} waits to be spoken already", param="item.id")
        if len(self._items) >= MAX_ITEMS:
            raise OverloadedError(f"{MAX_ITEMS} items wait to be spoken; send `response.create`")
        self._check_length(sum(len(other or "") for other in self._items.values()) + len(text or ""))
        previous = next(reversed(self._items), None)
        self._items[item_id] = text
        shown = {
            "id": item_id,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": item.role,
            "content": [{"type": part.type, "text": part.text} for part in item.content],
        }
        return [
            self._send(kind, previous_item_id=previous, item=shown)
            for kind in ("conversation.item.added", "conversation.item.done")
        ]

    def _respond(self, response: Response) -> Open:
        """Return what the session is to open; raises what is wrong with it."""
        is_of_conversation = _is_of_conversation(response)
        if is_of_conversation and self._active is not None:
            message = f"the response {self._open[self._active].response_id} is being made: wait for it, or cancel it"
            raise ResponseActiveError(message)
        if len(self._open) >= self._limits.max_utterances_per_session:
            raise OverloadedError(f"{len(self._open)} responses are being made", retry_after_s=1.0)
        spoken_as = self._spoken_as.changed(response)
        settings = spoken_as.settings(self._service, self._mapping)
        texts = self._items.values() if response.input is None else map(text_of, response.input)
        text = joined(texts)
        if not text.strip():
            message = "there is nothing to say: send a message of a user with `input_text`"
            raise InvalidParameterError(message, param="response.input")
        self._check_length(len(text))
        self._num_responses += 1
        described = {
            "conversation_id": f"conv_{self._session_id}" if is_of_conversation else None,
            "output_modalities": ["audio"],
            "max_output_tokens": "inf",
            "audio": {"output": spoken_as.described(self._service.default_voice)},
            "metadata": response.metadata,
        }
        response_id = f"resp_{self._session_id}_{self._num_responses}"
        num_tokens = self._service.synthesizer.count_tokens(text)
        wire = ResponseWire(response_id, self._new_item_id(), described, num_tokens, self._new_event_id)
        self._asked = text, wire, response
        # Open WebUI collects the sound, and OpenAI sends it faster than it plays, too.
        return Open(response_id, settings, spoken_as.audio_format, None, wire)

    def _cancel(self, response_id: str | None) -> Sequence[Action]:
        cancelled = [
            utterance for utterance, wire in self._open.items() if response_id in (None, wire.response_id)
        ]
        if not cancelled:
            raise NoResponseError("there is no such response to cancel", param="response_id")
        return [Cancel(utterance) for utterance in cancelled]

    def _check_length(self, num_chars: int) -> None:
        limit = self._limits.max_buffered_chars
        if num_chars > limit:
            raise TextTooLongError(
                f"{num_chars} characters wait to be spoken; at most {limit} may", param="text"
            )

    def _session(self) -> dict[str, Any]:
        return {
            "type": "realtime",
            "object": "realtime.session",
            "id": f"sess_{self._session_id}",
            "model": self._service.synthesizer.info.name,
            "output_modalities": ["audio"],
            "instructions": "",
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "audio": {"output": self._spoken_as.described(self._service.default_voice)},
        }

    def _new_event_id(self) -> str:
        self._num_events += 1
        return f"event_{self._session_id}_{self._num_events}"

    def _new_item_id(self) -> str:
        self._num_items += 1
        return f"item_{self._session_id}_{self._num_items}"

    def _send(self, kind: str, **fields: Any) -> Send:
        return Send(encode(kind, self._new_event_id(), **fields))

    def _error(self, error: StreamerError) -> Send:
        fields = error_fields(error, self._event_id)
        return Send(encode("error", self._new_event_id(), error=fields), error)


def _is_of_conversation(response: Response) -> bool:
    return response.conversation != "none"
