"""Says in plain words what is wrong with a field of a client's message and what it may be.

msgspec's own messages speak of its types; this module is used wherever one of a client's messages is made a struct.
"""

from __future__ import annotations

import re
import sys
from typing import Any, Final

import msgspec
import msgspec.inspect as inspect
from msgspec import UNSET

from streamer.errors import InvalidParameterError

_AT: Final = " - at "
"""What msgspec puts before the place; a client's own value, which it may quote before that, can hold the same."""
_PLACE: Final = re.compile(r"(?P<key>`key` in )?`\$\.?(?P<path>[^`]{0,200})`")
_MISSING: Final = re.compile(r"Object missing required field `(\w[\w.-]{0,99})`")
_STEP: Final = re.compile(r"\[[^\]]*\]|[^.\[]+")
_ANY_ENTRY: Final = "[...]"
_MAX_SHOWN_CHARS: Final = 64
_READABLE: Final = (-(2**63), 2**63 - 1)
"""Limits that only bound what is read: a client is told those of the model later on."""


def wrong_field(error: msgspec.ValidationError, kind: Any, message: object = UNSET) -> InvalidParameterError:
    """Return what a client is told whose `message`, if it could be parsed as JSON, is not of this kind."""
    told, _, place = str(error).rpartition(_AT)
    where, missing = _PLACE.fullmatch(place), _MISSING.match(told or place)
    steps: list[str] = _STEP.findall(where["path"]) if where else []
    steps += [missing[1]] if missing else []
    allowed, value = _follow(steps, inspect.type_info(kind), message)
    name = _joined(steps)
    if where and where["key"]:
        keys = _alternatives(allowed, inspect.DictType)
        allowed, problem = keys[0].key_type if keys else None, f"a name in {name} is wrong"
    elif steps[-1:] == [_ANY_ENTRY]:
        name = _joined(steps[:-1])
        problem = _wrong_entry(name, _follow(steps[:-1], inspect.type_info(kind), message)[1], allowed)
    elif missing:
        problem = f"{name} is missing"
    else:
        problem = f"{name or 'the message'} is {_shown(value, allowed)}"
    described = _described(allowed)
    message = f"{problem}; it must be {described}" if described else problem
    return InvalidParameterError(message, param=name or None)


def _wrong_entry(name: str, entries: object, allowed: inspect.Type | None) -> str:
    """Return which entry of a mapping is wrong, which msgspec does not tell, if texts of some length are allowed."""
    if isinstance(entries, dict) and isinstance(allowed, inspect.StrType):
        shortest, longest = allowed.min_length or 0, allowed.max_length or sys.maxsize
        for label, value in entries.items():
            if not (isinstance(value, str) and shortest <= len(value) <= longest):
                place = f"{name}[{label!r}]" if len(label) <= _MAX_SHOWN_CHARS else f"a value in {name}"
                return f"{place} is {_shown(value, allowed)}"
    return f"a value in {name} is wrong"


def _joined(steps: list[str]) -> str:
    return "".join(step if step.startswith("[") else f".{step}" for step in steps).removeprefix(".")


def _follow(steps: list[str], kind: inspect.Type | None, value: object) -> tuple[inspect.Type | None, object]:
    """Return what is allowed at a place in a message of this kind, if that is known, and what stands there."""
    for step in steps:
        kind, value = _inside(kind, step, value), _entry(value, step)
    return kind, value


def _inside(kind: inspect.Type | None, step: str, value: object) -> inspect.Type | None:
    structs: list[inspect.StructType] = _alternatives(kind, inspect.StructType)
    tags = tuple(struct.tag for struct in structs if struct.tag_field == step)
    if tags:
        return inspect.LiteralType(tags)
    for struct in structs:
        tag = UNSET if struct.tag_field is None else _entry(value, struct.tag_field)
        for field in struct.fields:
            if field.encode_name == step and tag in (UNSET, struct.tag):
                return field.type
    if step == _ANY_ENTRY:
        return next((mapping.value_type for mapping in _alternatives(kind, inspect.DictType)), None)
    return next((items.item_type for items in _alternatives(kind, inspect.ListType)), None)


def _entry(value: object, step: str) -> object:
    if isinstance(value, list) and step[1:-1].isdecimal() and int(step[1:-1]) < len(value):
        return value[int(step[1:-1])]
    return value.get(step, UNSET) if isinstance(value, dict) else UNSET


def _alternatives(kind: inspect.Type | None, among: type[inspect.Type]) -> list[Any]:
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    return [each for each in kinds if isinstance(each, among)]


def _shown(value: object, allowed: inspect.Type | None) -> str:
    """Return a value as a client knows it; a text, which may be a secret, only by its length where any is allowed."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case "":
            return "empty"
        case str() if _alternatives(allowed, inspect.StrType):
            return f"a text of {len(value)} characters"
        case list() if _alternatives(allowed, inspect.ListType):
            return f"a list of {len(value)} entries"
        case dict() if _alternatives(allowed, inspect.DictType):
            return f"an object of {len(value)} fields"
        case int() | float() | str():
            return repr(value)[:_MAX_SHOWN_CHARS]
        case list():
            return "a list"
        case dict():
            return "an object"
    return "wrong"


def _described(kind: inspect.Type | None) -> str:
    """Return what a value of this kind may be."""
    kinds = _alternatives(kind, inspect.Type)
    can_be_null = any(isinstance(each, inspect.NoneType) for each in kinds)
    names = dict.fromkeys(_name(each) for each in kinds if not isinstance(each, inspect.NoneType))
    return " or ".join(names) + (", or null" if can_be_null else "")


def _name(kind: inspect.Type) -> str:
    match kind:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return f"a whole number{_limits(kind.ge, kind.le)}"
        case inspect.FloatType():
            return f"a number{_limits(kind.ge, kind.le)}"
        case inspect.StrType():
            return f"a text{_length(kind.min_length, kind.max_length, 'characters')}"
        case inspect.LiteralType():
            return f"one of {', '.join(map(str, kind.values))}"
        case inspect.ListType():
            return f"a list{_length(kind.min_length, kind.max_length, 'entries')}"
        case inspect.DictType():
            return f"an object{_length(kind.min_length, kind.max_length, 'fields')}"
    return "an object"


def _limits(smallest: float | None, largest: float | None) -> str:
    if (smallest, largest) == _READABLE:
        return ""
    if largest is None:
        return "" if smallest is None else f" of at least {_number(smallest)}"
    return (
        f" of at most {_number(largest)}"
        if smallest is None
        else f" from {_number(smallest)} to {_number(largest)}"
    )


def _number(limit: float) -> str:
    return str(limit) if isinstance(limit, int) else f"{limit:g}"


def _length(shortest: int | None, longest: int | None, what: str) -> str:
    if longest is None:
        return f" of at least {shortest} {what}" if shortest else ""
    return f" of {shortest} to {longest} {what}" if shortest else f" of at most {longest} {what}"
