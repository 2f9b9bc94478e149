"""Makes a typed value of a client's JSON, for adapters whose messages are msgspec structs."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from streamer.errors import InvalidMessageError, InvalidParameterError, TextTooLongError
from streamer.server.field_errors import wrong_field

_Message = TypeVar("_Message")


def decoded(decoder: msgspec.json.Decoder[_Message], data: str | bytes) -> _Message:
    """Decode a message. Raises `InvalidParameterError`, which names the wrong field, or `InvalidMessageError`."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise wrong_field(error, decoder.type, _parsed(data)) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidMessageError(f"this is not JSON: {error}"[:200]) from None


def check_size(frame: str, max_bytes: int) -> None:
    """Raise `InvalidMessageError` for a message of more than `max_bytes`."""
    if len(frame) * 4 > max_bytes and (num_bytes := len(frame.encode())) > max_bytes:
        raise InvalidMessageError(f"a message of {num_bytes} bytes; at most {max_bytes}: send text in pieces")


def check_text(text: str | None, name: str, max_chars: int) -> str:
    """Return the text of a request, whose field has this name; spaces alone are none.

    Raises `InvalidParameterError` or `TextTooLongError`.
    """
    if text is None:
        raise InvalidParameterError(f"{name} is missing: there is nothing to say", param=name)
    if not text.strip():
        raise InvalidParameterError(f"{name} is empty: there is nothing to say", param=name)
    if len(text) > max_chars:
        raise TextTooLongError(f"{name} has {len(text)} characters; it may have {max_chars}", param=name)
    return text


def _parsed(data: str | bytes) -> object:
    """Return what the data says, to be quoted; unset if it is no JSON behind the place where decoding ended."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return msgspec.UNSET
