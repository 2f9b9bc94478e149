"""Declares one option of the settings, and checks the values that are given for it.

`config` declares the options with it; the command line derives its flags from `Option`.
"""

from __future__ import annotations

import difflib
import math
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import MISSING, Field, dataclass, field
from pathlib import Path
from typing import Any

ENVIRONMENT_PREFIX = "STREAMER_"


def option(
    default: Any,
    help_text: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """Declare a field of the settings with its help text and range."""
    metadata = {"help": help_text, "minimum": minimum, "maximum": maximum, "choices": choices}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Option:
    """One option as the command line needs it. Names are unique across the sections."""

    section: str
    name: str
    kind: type
    optional: bool
    is_list: bool
    default: Any
    help: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def environment_variable(self) -> str:
        return ENVIRONMENT_PREFIX + self.name.upper()


def declared(section: str, declaration: Field[Any], hint: Any) -> Option:
    """Return the option that a field of a section declares; `hint` is its evaluated type."""
    optional = isinstance(hint, types.UnionType)
    kind = next(k for k in typing.get_args(hint) if k is not type(None)) if optional else hint
    assert declaration.default is not MISSING
    return Option(
        section=section,
        name=declaration.name,
        kind=str if typing.get_origin(kind) is tuple else kind,
        optional=optional,
        is_list=typing.get_origin(kind) is tuple,
        default=declaration.default,
        **declaration.metadata,
    )


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return a hint at the nearest known name, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def convert(option: Option, value: object) -> object:
    """Check and return one value from any source; text is parsed. Raises `ValueError` naming what is expected."""
    if option.optional and (value is None or (isinstance(value, str) and value.lower() in ("none", ""))):
        return None
    if option.is_list:
        items = [item.strip() for item in value.split(",")] if isinstance(value, str) else value
        if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
            raise ValueError(f"{value!r} is not a list of strings")
        return tuple(item for item in items if item)
    converted = _PARSERS[option.kind](value)
    if option.choices and converted not in option.choices:
        raise ValueError(f"{value!r} is not one of {', '.join(option.choices)}")
    if isinstance(converted, int | float):
        low, high = option.minimum, option.maximum
        if (
            not math.isfinite(converted)
            or (low is not None and converted < low)
            or (high is not None and converted > high)
        ):
            raise ValueError(f"{value!r} is not from {low} to {high}")
    return converted


def _parse_int(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lstrip("+-").isdecimal() and len(value) < 20:
        return int(value)
    raise ValueError(f"{value!r} is not a whole number")


def _parse_float(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    raise ValueError(f"{value!r} is not a number")


def _parse_text(value: object) -> str:
    if isinstance(value, str) and value.strip():
        return value.strip()
    raise ValueError(f"{value!r} is not a string, or empty")


def _parse_path(value: object) -> Path:
    path = value if isinstance(value, Path) else Path(_parse_text(value))
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"{str(path)!r}: {error}") from error


_PARSERS: dict[type, Callable[[object], Any]] = {
    int: _parse_int,
    float: _parse_float,
    str: _parse_text,
    Path: _parse_path,
}
