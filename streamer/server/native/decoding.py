"""Makes a typed message of a frame's text, and refuses what JSON allows and a server should not; used by `protocol`.

Each refusal is one `InvalidMessageError` or `InvalidParameterError`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Literal, TypeVar
from urllib.parse import parse_qsl

import msgspec

from streamer.errors import InvalidMessageError, InvalidParameterError, UnknownMessageTypeError
from streamer.server.field_errors import wrong_field
from streamer.server.native.messages import CLIENT_MESSAGES, ClientMessage, Configure, Params

Framing = Literal["framed", "bare"]
MAX_DEPTH = 8
"""The deepest nesting of objects and lists."""
MAX_UNKNOWN_FIELDS = 16
"""The most unknown fields of one message that are reported."""
_Message = TypeVar("_Message", bound=ClientMessage)
_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_OPENING_OR_CLOSING = re.compile(r"[\[\]{}]")
_QUERY_NUMBERS = ("sample_rate", "frame_ms", "bitrate", "lead_ms", "max_buffer_ms", "speed")
_QUERY_FLAGS = frozenset({"normalize", "markup"})
_TYPES = ", ".join(CLIENT_MESSAGES)
_QUERY_CHOICES = {"true": True, "false": False}


def parse_object(text: str) -> tuple[dict[str, Any], list[str]]:
    """Parse one JSON object; returns it, and what in it is not JSON although it could be read.

    That is NaN, a number beyond the range of a float, or a key given twice: the answer to these can still name the
    utterance. Raises `InvalidMessageError` for anything but an object, for nesting deeper than `MAX_DEPTH`, and for
    lone surrogates, which could not be written out again.
    """
    _check_depth(text)
    mistakes: list[str] = []

    def number(digits: str) -> float:
        value = float(digits)
        if not math.isfinite(value):
            mistakes.append(f"{digits[:32]} is not a number in JSON, or out of range")
        return value

    def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) != len(pairs):
            mistakes.append("a key is given twice")
        return values

    try:
        value = json.loads(text, object_pairs_hook=unique_keys, parse_constant=number, parse_float=number)
        text.encode()
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InvalidMessageError("the message holds half of a surrogate pair") from None
    except (ValueError, RecursionError) as error:
        raise InvalidMessageError(f"this is not JSON: {error}"[:200]) from None
    if not isinstance(value, dict):
        raise InvalidMessageError("this is JSON, but not an object in braces")
    return value, mistakes


def check_size(text: str, longest: int) -> None:
    """Raise `InvalidMessageError` for more than `longest` bytes."""
    if len(text) * 4 > longest and (num_bytes := len(text.encode())) > longest:
        raise InvalidMessageError(f"a message of {num_bytes} bytes; at most {longest}: send text in pieces")


def read_message(fields: dict[str, Any]) -> tuple[ClientMessage, list[str]]:
    """Make the typed message; returns it, and the names of the fields that it does not know.

    Raises `UnknownMessageTypeError`, or `InvalidParameterError` naming the field that is wrong.
    """
    tag = fields.get("type")
    if not isinstance(tag, str):
        raise InvalidMessageError(f"a message needs a `type`, one of {_TYPES}", param="type")
    kind = CLIENT_MESSAGES.get(tag)
    if kind is None:
        raise UnknownMessageTypeError(f"unknown message type {tag[:64]!r}: use one of {_TYPES}", param="type")
    return _convert(fields, kind), _unknown_fields(fields, kind)


def read_query(query: str) -> tuple[Configure, Framing, list[str]]:
    """Read the query of the address; returns the session's defaults, the framing, and the unknown names.

    The fields of `configure` are given by their names, and so are those of `params`; `null` means null. Raises
    `InvalidParameterError`.
    """
    try:
        given = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=32, errors="strict"))
    except (ValueError, UnicodeDecodeError):
        raise InvalidParameterError("the address's query cannot be read", param="query") from None
    given.pop("ticket", None)  # `access` has read it
    framing = _value("framing", given.pop("framing", "framed")) or "framed"
    if framing not in ("framed", "bare"):
        raise InvalidParameterError(
            f"framing is {str(framing)[:64]!r}; it must be one of framed, bare", param="framing"
        )
    fields: dict[str, Any] = {"type": "configure"}
    params: dict[str, Any] = {}
    for name, text in given.items():
        if name in Params.__struct_fields__:
            params[name] = _value(name, text)
        else:
            fields[name] = _value(name, text)
    if params:
        fields["params"] = params
    unknown = _unknown_fields(fields, Configure)
    return _convert(fields, Configure), "bare" if framing == "bare" else "framed", unknown


def _value(name: str, text: str) -> object:
    """Return what a field of the query is in JSON."""
    if text == "null":
        return None
    if name in _QUERY_FLAGS:
        return _QUERY_CHOICES.get(text, text)
    return _number(text) if name in _QUERY_NUMBERS or name in Params.__struct_fields__ else text


def _number(text: str) -> object:
    try:
        return float(text) if re.search(r"[.eE]", text) else int(text[:20])
    except ValueError:
        return text


def _convert(fields: Mapping[str, Any], kind: type[_Message]) -> _Message:
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise wrong_field(error, kind, fields) from None


def _unknown_fields(fields: Mapping[str, Any], kind: type[ClientMessage]) -> list[str]:
    known = {"type", *kind.__struct_fields__}
    unknown = [name for name in fields if name not in known]
    params = fields.get("params")
    if "params" in known and isinstance(params, dict):
        unknown += [f"params.{name}" for name in params if name not in Params.__struct_fields__]
    return [name[:64] for name in unknown[:MAX_UNKNOWN_FIELDS]]


def _check_depth(text: str) -> None:
    depth = 0
    for bracket in _OPENING_OR_CLOSING.findall(_STRINGS.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise InvalidMessageError(f"the message is nested deeper than {MAX_DEPTH}")
