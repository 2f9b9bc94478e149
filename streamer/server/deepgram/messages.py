"""The messages of Deepgram's text to speech: the client's as typed structs, the server's as JSON, and its errors."""

from __future__ import annotations

import json
import secrets
import uuid
from http import HTTPStatus
from typing import Any, Final

import msgspec
from msgspec import Struct

from streamer.errors import InvalidMessageError, InvalidParameterError, StreamerError, TextTooLongError
from streamer.server.http import Answer, Request, json_answer
from streamer.server.json_messages import check_size, check_text, decoded
from streamer.server.service import package_version

REQUEST_ID_FIELD: Final = "dg-request-id"
_ERROR_FIELD: Final = "dg-error"
_ERROR_CODES: Final = {
    HTTPStatus.BAD_REQUEST: "Bad Request",
    HTTPStatus.UNAUTHORIZED: "INVALID_AUTH",
    HTTPStatus.TOO_MANY_REQUESTS: "TOO_MANY_REQUESTS",
}
"""Deepgram's codes, where its clients look for them; otherwise the status's name."""
_MAX_FIELD_CHARS: Final = 200
"""The longest reason in a header field."""
_MODEL_IDS: Final = uuid.UUID("5f0c3b0e-3f0b-4c63-9d2b-5d8f4f3f6a51")
"""The namespace of the UUIDs that voices have here: Deepgram's clients want one."""


class Speak(Struct, frozen=True, tag_field="type", tag="Speak"):
    """Text behind the text before it."""

    text: str


class Flush(Struct, frozen=True, tag_field="type", tag="Flush"):
    """Everything before is to be spoken; `Flushed` tells when it has been sent."""


class Clear(Struct, frozen=True, tag_field="type", tag="Clear"):
    """Nothing more of what was said before is to be sent."""


class Close(Struct, frozen=True, tag_field="type", tag="Close"):
    """Everything before is to be spoken, and then the connection closed."""


ClientMessage = Speak | Flush | Clear | Close


class TextSource(Struct, frozen=True):
    """The body of `POST /v1/speak`."""

    text: str | None = None
    url: str | None = None


_messages: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(ClientMessage)
_sources: msgspec.json.Decoder[TextSource] = msgspec.json.Decoder(TextSource)


def read_message(frame: str | bytes, max_bytes: int) -> ClientMessage:
    """Decode a client's frame. Raises `InvalidMessageError` or `InvalidParameterError`."""
    if isinstance(frame, bytes):
        raise InvalidMessageError("a binary frame; the messages of this protocol are JSON text")
    check_size(frame, max_bytes)
    return decoded(_messages, frame)


def read_text(body: bytes, max_chars: int) -> str:
    """Return the text of a request. Raises `InvalidMessageError`, `InvalidParameterError` or `TextTooLongError`."""
    source = decoded(_sources, body)
    if source.url is not None:
        raise InvalidParameterError("url: this server fetches no texts; send it as `text`", param="url")
    return check_text(source.text, "text", max_chars)


def model_uuid(voice: str) -> str:
    """Return the UUID that stands for a voice."""
    return str(uuid.uuid5(_MODEL_IDS, voice))


def metadata(request_id: str, voice: str) -> str:
    """Return the greeting. `request_id`: the name by which the server's log knows the session."""
    return _message(
        "Metadata",
        request_id=request_id,
        model_name=voice,
        model_version=package_version(),
        model_uuid=model_uuid(voice),
        additional_model_uuids=[],
    )


def flushed(sequence_id: int) -> str:
    """Return the answer to a `Flush`."""
    return _message("Flushed", sequence_id=sequence_id)


def cleared(sequence_id: int) -> str:
    """Return the answer to a `Clear`."""
    return _message("Cleared", sequence_id=sequence_id)


def warning(code: str, text: str) -> str:
    """Return a warning; clients of an older version of the API read the fields `warn_…`."""
    return _message("Warning", description=text, code=code, warn_msg=text, warn_code=code)


def error_message(error: StreamerError) -> str:
    """Return a report of what is wrong, which ends nothing by itself."""
    return _message("Error", description=error.message, code=error.code)


def shape_error(_request: Request, answer: Answer) -> Answer:
    """Return an error's answer as Deepgram's clients read it: in the body, and in header fields for handshakes."""
    error = json.loads(answer.body)["error"]
    status = answer.status
    if error["code"] == TextTooLongError.code:
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    request_id = secrets.token_hex(8)
    shaped = {
        "err_code": _ERROR_CODES.get(status, status.name),
        "err_msg": error["message"],
        "request_id": request_id,
    }
    fields = ((REQUEST_ID_FIELD, request_id), (_ERROR_FIELD, error["message"][:_MAX_FIELD_CHARS]))
    return json_answer(status, shaped, (*answer.headers, *fields))


def _message(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, **fields})
