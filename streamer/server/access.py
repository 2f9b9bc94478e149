"""The checks before a connection becomes a session: origin, key, and how many there are already."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from streamer.server.admission import ApiKeys
from streamer.server.http import refusal
from streamer.server.service import Service

_KEY_PARAMETERS: Final = frozenset({"token", "key", "api_key", "apikey", "access_token", "authorization"})
_RETRY_AFTER_S: Final = 5.0
Refusal = tuple[str, Response]
"""The reason as a metric's label, and the answer."""


def address(connection: ServerConnection) -> str:
    """Where the client connects from."""
    remote = connection.remote_address
    return str(remote[0]) if isinstance(remote, tuple) and remote else "local"


def key_name(request: Request, keys: ApiKeys) -> str | None:
    """The name of the key in the request's headers; None without one, or without a valid one."""
    given = _given_key(request)
    return keys.find(given) if given is not None else None


def check_handshake(connection: ServerConnection, request: Request, service: Service) -> Refusal | None:
    """Why this client may not come in, or None."""
    if not _is_origin_allowed(request, service.config.server.allowed_origins):
        return "origin", refusal(HTTPStatus.FORBIDDEN, "origin", "this web origin is not allowed here")
    if _has_key_in_query(request):
        message = "a key does not belong in an address; use a header or the `auth` message"
        return "key_in_query", refusal(HTTPStatus.BAD_REQUEST, "key_in_query", message)
    is_wrong = _given_key(request) is not None and key_name(request, service.keys) is None
    if service.keys.are_required and is_wrong:
        return "key", refusal(HTTPStatus.UNAUTHORIZED, "unauthorized", "this key is not valid here")
    reason = service.admission.refuse_connection(address(connection))
    if reason == "server_full":
        return reason, refusal(
            HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", "the server is full", _RETRY_AFTER_S
        )
    if reason is not None:
        message = "too many connections from this address"
        return reason, refusal(HTTPStatus.TOO_MANY_REQUESTS, "rate_limited", message, _RETRY_AFTER_S)
    return None


def _is_origin_allowed(request: Request, allowed: tuple[str, ...]) -> bool:
    """Scripts of the server's own page and of listed origins may connect; programs send no origin."""
    origins = request.headers.get_all("Origin")
    if not origins:
        return True
    if len(origins) > 1:
        return False
    origin = origins[0].strip().lower()
    if "*" in allowed or origin in (known.rstrip("/").lower() for known in allowed):
        return True
    host = request.headers.get_all("Host")
    try:
        return len(host) == 1 and origin != "null" and urlsplit(origin).netloc == host[0].strip().lower()
    except ValueError:  # `http://[` is no address
        return False


def _has_key_in_query(request: Request) -> bool:
    query = request.path.partition("?")[2]
    return any(name.lower() in _KEY_PARAMETERS for name, _ in parse_qsl(query, keep_blank_values=True))


def _given_key(request: Request) -> str | None:
    for value in request.headers.get_all("Authorization"):
        scheme, _, key = value.partition(" ")
        if scheme.lower() in ("bearer", "token"):
            return key.strip()
    keys = request.headers.get_all("X-API-Key")
    return keys[0].strip() if keys else None
