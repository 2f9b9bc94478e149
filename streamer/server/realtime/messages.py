"""The events of OpenAI's realtime API that a reader of text needs: a client's as bounded, typed structs."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta, Struct, field

from streamer.errors import (
    AudioEncodeError,
    InternalError,
    InvalidMessageError,
    RateLimitedError,
    StreamerError,
    UnknownMessageTypeError,
)
from streamer.server.json_messages import check_size, decoded
from streamer.speech.settings import MAX_TEMPO, MIN_TEMPO

Name = Annotated[str, Meta(min_length=1, max_length=128)]
Modalities = Annotated[list[Literal["audio", "text"]], Meta(max_length=2)]
Metadata = Annotated[dict[str, Annotated[str, Meta(max_length=512)]], Meta(max_length=16)]
FORMATS: Final = {"audio/pcm": "pcm_s16le", "audio/pcmu": "mulaw", "audio/pcma": "alaw"}
"""What each `type` of a format is here."""


class VoiceId(Struct, frozen=True):
    """A voice by its id."""

    id: Name


class Format(Struct, frozen=True):
    """How the sound is encoded."""

    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"] = "audio/pcm"
    rate: int | None = None


class Output(Struct, frozen=True):
    """How the sound is to be; None for what is not to change."""

    format: Format | None = None
    voice: Name | VoiceId | None = None
    speed: Annotated[float, Meta(ge=MIN_TEMPO, le=MAX_TEMPO)] | None = None


class Audio(Struct, frozen=True):
    """The sound of a session or a response; there is no input, because nobody listens here."""

    output: Output | None = None


class Settings(Struct, frozen=True):
    """The settings of a session, and those that a response may have for itself.

    The last three stood here in the API's preview: clients of the preview are told, rather than not followed.
    """

    type: Literal["realtime"] | None = None
    audio: Audio | None = None
    output_modalities: Modalities | None = None
    modalities: Any = None
    voice: Any = None
    output_audio_format: Any = None


class Content(Struct, frozen=True):
    """A part of a message."""

    type: Annotated[str, Meta(max_length=64)]
    text: str | None = None


class Item(Struct, frozen=True):
    """An item of a conversation."""

    type: Annotated[str, Meta(max_length=64)] = "message"
    role: Annotated[str, Meta(max_length=64)] | None = None
    content: Annotated[list[Content], Meta(max_length=64)] = field(default_factory=list)
    id: Name | None = None


class Response(Settings, frozen=True):
    """What a response is to be made of: the items of `input`, or what the conversation has to say."""

    input: Annotated[list[Item], Meta(max_length=64)] | None = None
    conversation: Annotated[str, Meta(max_length=64)] | None = None
    metadata: Metadata | None = None


class SessionUpdate(Struct, frozen=True, tag="session.update"):
    """Changes the session's settings."""

    session: Settings


class ItemCreate(Struct, frozen=True, tag="conversation.item.create"):
    """Adds an item to the conversation."""

    item: Item


class ItemDelete(Struct, frozen=True, tag="conversation.item.delete"):
    """Takes an item out of the conversation."""

    item_id: Name


class ItemTruncate(Struct, frozen=True, tag="conversation.item.truncate"):
    """Says how much of a response was heard."""

    item_id: Name
    audio_end_ms: Annotated[int, Meta(ge=0, le=86_400_000)]
    content_index: int = 0


class ResponseCreate(Struct, frozen=True, tag="response.create"):
    """Asks for a response."""

    response: Response = field(default_factory=Response)


class ResponseCancel(Struct, frozen=True, tag="response.cancel"):
    """Stops a response; without an id, those that are being made."""

    response_id: Name | None = None


ClientEvent = SessionUpdate | ItemCreate | ItemDelete | ItemTruncate | ResponseCreate | ResponseCancel


class Envelope(Struct, frozen=True):
    """What every event has."""

    type: Annotated[str, Meta(max_length=128)]
    event_id: Annotated[str, Meta(max_length=512)] | None = None


_envelope_decoder = msgspec.json.Decoder(Envelope)
_decoder: msgspec.json.Decoder[ClientEvent] = msgspec.json.Decoder(ClientEvent)
_TYPES: Final = frozenset(str(kind.__struct_config__.tag) for kind in ClientEvent.__args__)
_LISTENING: Final = ("input_audio_buffer.", "output_audio_buffer.")


def read_envelope(frame: str | bytes, max_bytes: int) -> Envelope:
    """Decode what every event has. Raises `InvalidMessageError` or `InvalidParameterError`."""
    if isinstance(frame, bytes):
        raise InvalidMessageError("a binary frame; events are JSON text")
    check_size(frame, max_bytes)
    return decoded(_envelope_decoder, frame)


def read_event(frame: str | bytes, envelope: Envelope) -> ClientEvent:
    """Decode an event. Raises `UnknownMessageTypeError`, or `InvalidParameterError` naming the field."""
    if envelope.type.startswith(_LISTENING):
        message = (
            f"{envelope.type}: this server speaks text and does not listen; send `conversation.item.create`"
        )
        raise UnknownMessageTypeError(message, param="type")
    if envelope.type not in _TYPES:
        known = ", ".join(sorted(_TYPES))
        raise UnknownMessageTypeError(f"unknown event {envelope.type!r}: use one of {known}", param="type")
    return decoded(_decoder, frame)


def read_query(query: str) -> dict[str, str]:
    """Return the fields of an address's query; of one with too many, none."""
    try:
        return dict(parse_qsl(query, max_num_fields=32, errors="replace"))
    except ValueError:
        return {}


def encode(kind: str, event_id: str, **fields: Any) -> str:
    """Return an event as it is sent."""
    return msgspec.json.encode({"type": kind, "event_id": event_id, **fields}).decode()


def error_fields(error: StreamerError, event_id: str | None = None) -> dict[str, Any]:
    """Return an error as OpenAI's clients read it. `event_id`: that of the event which caused it."""
    kind = (
        "server_error"
        if isinstance(error, InternalError | AudioEncodeError) or error.retryable
        else "invalid_request_error"
    )
    if isinstance(error, RateLimitedError):
        kind = "rate_limit_error"
    return {
        "type": kind,
        "code": error.code,
        "message": error.message,
        "param": error.param,
        "event_id": event_id,
    }
