"""Decodes a client's JSON into a bounded, typed struct; for protocols that ignore the fields they do not know."""

from __future__ import annotations

import re
from typing import Final, TypeVar

import msgspec

from streamer.errors import InvalidMessageError, InvalidParameterError

_Message = TypeVar("_Message")
_FIELD: Final = re.compile(r" - at `\$\.?(.*)`$")


def decode(data: str | bytes, kind: type[_Message]) -> _Message:
    """Decode one message.

    Raises `InvalidMessageError` for what is not JSON, or nested too deeply to be read; `InvalidParameterError`, which
    names the field, for JSON of another shape.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        field = _FIELD.search(str(error))
        reason = str(error).partition(" - at ")[0][:200]
        param = (field and field[1][:64]) or None
        raise InvalidParameterError(f"{param}: {reason}" if param else reason, param=param) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidMessageError(f"this is not JSON: {error}"[:200]) from None
