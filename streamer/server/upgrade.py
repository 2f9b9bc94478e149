"""A WebSocket handshake that was let in, as an adapter sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from websockets.datastructures import Headers

from streamer.server.http import Request
from streamer.server.places import Full


@dataclass(frozen=True, slots=True)
class Upgrade:
    """`key_name`: the name of the key, if one came with the handshake; `parameters`: what the path pattern matched;
    `protocol`: the folder of the adapter whose address it is; `claim`: takes the connection's place for a client whose
    key follows, or returns why there is none."""

    path: str
    query: str
    headers: Headers
    address: str
    key_name: str | None
    parameters: Mapping[str, str] = field(default_factory=dict)
    protocol: str = ""
    claim: Callable[[], Full | None] = lambda: None

    @classmethod
    def of(cls, request: Request, key_name: str | None, protocol: str) -> Upgrade:
        """Return what a request asks for that begins a session."""
        place = request.path, request.query, request.headers, request.address
        return cls(*place, key_name, request.parameters, protocol)
