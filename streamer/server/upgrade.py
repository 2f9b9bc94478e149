"""A WebSocket handshake that was let in, as an adapter sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from websockets.datastructures import Headers


@dataclass(frozen=True, slots=True)
class Upgrade:
    """`parameters`: what the path pattern matched; `key_name`: the name of the key, if one came with the handshake."""

    path: str
    query: str
    headers: Headers
    address: str
    key_name: str | None
    parameters: Mapping[str, str] = field(default_factory=dict)
