"""The version of Cartesia's API that a client asks for, and what depends on it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from websockets.datastructures import Headers

_VERSION_FIELD: Final = "Cartesia-Version"
_VERSION_PARAMETER: Final = "cartesia_version"
_VERSION: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_FIRST_STRUCTURED: Final = "2026-03-01"
"""The first version whose errors are objects. In earlier ones they are texts."""
_FIRST_FROM_ONE: Final = "2025-01-01"
"""Clients of a version since then count flushes from 1. The Python packages 1 and 2, which ask for versions of 2024,
use `flush_id` as an index into their list of flushes, and lose every chunk whose number is too high."""


@dataclass(frozen=True, slots=True)
class ApiVersion:
    """`has_structured_errors`: whether errors are objects. `first_flush_id`: the number of a context's first flush."""

    has_structured_errors: bool = True
    first_flush_id: int = 1


def read_version(query: str, headers: Headers) -> ApiVersion:
    """Return the version that a client asks for: a query comes before a header field, and the newest without one."""
    versions = parse_qs(query).get(_VERSION_PARAMETER) or headers.get_all(_VERSION_FIELD)
    version = versions[-1].strip() if versions else ""
    if not _VERSION.fullmatch(version):
        return ApiVersion()
    return ApiVersion(version >= _FIRST_STRUCTURED, int(version >= _FIRST_FROM_ONE))
