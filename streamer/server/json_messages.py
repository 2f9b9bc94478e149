"""Makes a typed value of a client's JSON, for adapters whose messages are msgspec structs."""

from __future__ import annotations

import re
from typing import Final, TypeVar

import msgspec

from streamer.errors import InvalidMessageError, InvalidParameterError

_FIELD: Final = re.compile(r" - at `\$\.?([\w.\[\]]*)`$")
_Message = TypeVar("_Message")


def decoded(decoder: msgspec.json.Decoder[_Message], data: str | bytes) -> _Message:
    """Decode a message. Raises `InvalidParameterError`, which names the wrong field, or `InvalidMessageError`."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        field = _FIELD.search(str(error))
        reason = str(error)[: field.start()] if field else str(error)
        param = (field and field[1]) or None
        raise InvalidParameterError(f"{param}: {reason}" if param else reason, param=param) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidMessageError(f"this is not JSON: {error}"[:200]) from None


def check_size(frame: str, max_bytes: int) -> None:
    """Raise `InvalidMessageError` for a message of more than `max_bytes`."""
    if len(frame) * 4 > max_bytes and (num_bytes := len(frame.encode())) > max_bytes:
        raise InvalidMessageError(f"a message of {num_bytes} bytes; at most {max_bytes}: send text in pieces")
