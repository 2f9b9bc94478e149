"""A WebSocket handshake that was let in, as an adapter sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from websockets.datastructures import Headers


@dataclass(frozen=True, slots=True)
class Upgrade:
    """`key_name`: the name of the key, if one came with the handshake; `parameters`: what the path pattern matched;
    `protocol`: the folder of the adapter whose address it is."""

    path: str
    query: str
    headers: Headers
    address: str
    key_name: str | None
    parameters: Mapping[str, str] = field(default_factory=dict)
    protocol: str = ""
