"""The checks of a request before its route sees it: web origin and key. How many may come is `admission`'s business."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

from streamer.server.admission import ApiKeys
from streamer.server.http import RefusedError, Request, refusal

Credentials = Callable[[Request], str | None]
"""Finds the key that came with a request, or None; raises `RefusedError` if it must not be."""
_KEY_PARAMETERS: Final = frozenset({"token", "key", "api_key", "apikey", "access_token", "authorization"})
_USUAL_PORTS: Final = (":80", ":443")


def read_bearer(request: Request) -> str | None:
    """Find a key in `Authorization: Bearer` (or `Token`) or `X-API-Key`. Raises `RefusedError` for one in the query.

    Addresses are written into logs and histories, where a key does not belong.
    """
    names = (name.lower() for name, _ in parse_qsl(request.query, keep_blank_values=True))
    if not _KEY_PARAMETERS.isdisjoint(names):
        message = "a key does not belong in an address; use a header or the `auth` message"
        answer = refusal(HTTPStatus.BAD_REQUEST, "key_in_query", message)
        raise RefusedError(answer, "key_in_query")
    for value in request.headers.get_all("Authorization"):
        scheme, _, key = value.partition(" ")
        if scheme.lower() in ("bearer", "token"):
            return key.strip()
    keys = request.headers.get_all("X-API-Key")
    return keys[0].strip() if keys else None


def check_key(request: Request, keys: ApiKeys, credentials: Credentials, *, is_needed: bool) -> str | None:
    """Return the name of the request's key, None without one.

    Raises `RefusedError` for a wrong key and, if a key `is_needed`, for a missing one.
    """
    given = credentials(request)
    name = keys.find(given) if given is not None else None
    if not keys.are_required or name is not None or (given is None and not is_needed):
        return name
    message = "this key is not valid here"
    if given is None:
        message = "a key is needed: send it as `Authorization: Bearer KEY`"
    answer = refusal(
        HTTPStatus.UNAUTHORIZED, "unauthorized", message, headers=(("WWW-Authenticate", "Bearer"),)
    )
    raise RefusedError(answer, "key")


def check_origin(request: Request, allowed: Iterable[str]) -> str | None:
    """Return the web origin whose script sends the request, None for a program, which sends no origin.

    Scripts of the server's own page and of the `allowed` origins are let in; raises `RefusedError` for others. What a
    proxy says of the address the page came from (`X-Forwarded-Host`) is not believed: any client can send that.
    """
    origins = request.headers.get_all("Origin")
    if not origins:
        return None
    hosts = request.headers.get_all("Host")
    if len(origins) == 1:
        origin = _without_usual_port(origins[0])
        known = [_without_usual_port(other.rstrip("/")) for other in allowed]
        if "*" in known or origin in known:
            return origins[0]
        scheme, _, host = origin.partition("://")
        if scheme in ("http", "https") and host and len(hosts) == 1 and host == _without_usual_port(hosts[0]):
            return origins[0]
    shown_origin, shown_host = ", ".join(origins)[:200], ", ".join(hosts)[:200]
    message = (
        f"pages of {shown_origin} may not connect: this server was asked for as {shown_host}. If the page is this "
        "server's own, have the proxy in between pass on the Host header; else name the page's origin in "
        "`allowed_origins`"
    )
    raise RefusedError(refusal(HTTPStatus.FORBIDDEN, "origin", message), "origin")


def _without_usual_port(address: str) -> str:
    address = address.strip().lower()
    for port in _USUAL_PORTS:
        address = address.removesuffix(port)
    return address
