"""The checks of a request before its route sees it: host, web origin, key, and whether there is a place for it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

from websockets.datastructures import Headers

from streamer.errors import AuthenticationError, ConfigError, RateLimitedError, ScopeError
from streamer.server.http import RefusedError, Request, error_answer, refusal
from streamer.server.key_entries import Scope
from streamer.server.keys import ApiKeys
from streamer.server.places import FULL_MESSAGES, Place
from streamer.server.tickets import PREFIX, Tickets, web_origin

Credentials = Callable[[Request], str | None]
"""Finds the key that came with a request, or None; raises `RefusedError` if it must not be."""
_KEY_PARAMETERS: Final = frozenset(
    (
        "token key apikey xapikey xiapikey accesskey accesstoken authtoken bearer auth authorization "
        "secret password"
    ).split()
)
"""Names of query parameters that can only be meant for a key, without `-` and `_`."""
_USUAL_PORTS: Final = (":80", ":443")
RETRY_AFTER_S: Final = 5.0
"""When a client that found the server full is to come back."""
SUBPROTOCOL: Final = "streamer."
"""What stands before a ticket among the subprotocols that a page offers."""
_FORWARDED: Final = ("Forwarded", "Via", "X-Forwarded-For", "X-Real-IP")
"""Header fields of proxies, any of which says that the client is not who opened the connection."""


def read_bearer(request: Request) -> str | None:
    """Find a key in `Authorization: Bearer` (or `Token`) or `X-API-Key`, or a ticket.

    A ticket may also stand where browsers can put one: in the query, or among the subprotocols. Raises `RefusedError`
    for a key in the query.
    """
    _refuse_key_in_query(request)
    return _key_in_headers(request.headers) or _ticket(request)


def read_key(request: Request) -> str | None:
    """Find a key as `read_bearer` does. Raises `RefusedError` for a ticket, which cannot bring another one."""
    _refuse_key_in_query(request)
    key = _key_in_headers(request.headers) or _ticket(request)
    if key is not None and key.startswith(PREFIX):
        message = "a ticket is no key: it brings no other ticket"
        raise RefusedError(refusal(HTTPStatus.UNAUTHORIZED, "unauthorized", message), "key")
    return key


def _refuse_key_in_query(request: Request) -> None:
    """Raise `RefusedError` for a key in the query: addresses are written into logs and histories."""
    parameters = parse_qsl(request.query, keep_blank_values=True)
    names = (name.lower().replace("-", "").replace("_", "") for name, _ in parameters)
    if not _KEY_PARAMETERS.isdisjoint(names):
        message = "a key does not belong in an address; use a header or the `auth` message"
        answer = refusal(HTTPStatus.BAD_REQUEST, "key_in_query", message)
        raise RefusedError(answer, "key_in_query")


def _key_in_headers(headers: Headers) -> str | None:
    for value in headers.get_all("Authorization"):
        scheme, _, key = value.partition(" ")
        if scheme.lower() in ("bearer", "token"):
            return key.strip()
    keys = headers.get_all("X-API-Key")
    return keys[0].strip() if keys else None


def _ticket(request: Request) -> str | None:
    """Find a ticket in `?ticket=…`, or in the subprotocol `streamer.ticket.…`."""
    for name, value in parse_qsl(request.query):
        if name == "ticket":
            return value
    offered = ",".join(request.headers.get_all("Sec-WebSocket-Protocol")).split(",")
    begin = f"{SUBPROTOCOL}{PREFIX}"
    return next(
        (name.strip().removeprefix(SUBPROTOCOL) for name in offered if name.strip().startswith(begin)), None
    )


def authenticate(
    given: str,
    scope: Scope,
    keys: ApiKeys,
    tickets: Tickets | None = None,
    *,
    address: str,
    origin: str | None = None,
) -> str:
    """Return the name of a key that a client gave, or of the one that its ticket stands for, which may only speak.

    `address`: the client's; `origin`: of the page that brings the ticket. Raises what `ApiKeys.check` does. Wrong
    tickets are not limited: they are signed, and pages whose ticket has expired must lock nobody out.
    """
    if tickets is None or scope != "speak" or not given.startswith(PREFIX):
        return keys.check(given, scope, address)
    name = tickets.redeem(given, origin, keys)
    if name is None:
        keys.failures["ticket"] += 1
        raise AuthenticationError(
            "this ticket is not valid here: it has expired, was used, or is another origin's; ask for another"
        )
    return name


def check_key(
    request: Request,
    keys: ApiKeys,
    credentials: Credentials,
    *,
    is_needed: bool,
    scope: Scope = "speak",
    tickets: Tickets | None = None,
) -> str | None:
    """Return the name of the request's key, or of the key that its ticket stands for; None without one.

    Raises `RefusedError` for one that is wrong, or lacks the scope, if a key `is_needed` for a missing one, and after
    too many wrong ones from the client's address.
    """
    given = credentials(request)
    if not keys.are_required or (given is None and not is_needed):
        return None
    try:
        if given is None:
            keys.failures["missing"] += 1
            raise AuthenticationError("a key is needed: send it as `Authorization: Bearer KEY`")
        return authenticate(
            given, scope, keys, tickets, address=request.address, origin=origin_of(request.headers)
        )
    except ScopeError as error:
        challenge = (
            "WWW-Authenticate",
            f'Bearer error="insufficient_scope", scope="{scope}"',
        )  # RFC 6750, 3.1
        answer = refusal(HTTPStatus.FORBIDDEN, "forbidden", error.message, headers=(challenge,))
        raise RefusedError(answer, "scope") from None
    except AuthenticationError as error:
        raise RefusedError(error_answer(error), "key") from None
    except RateLimitedError as error:
        raise RefusedError(error_answer(error), "wrong_keys") from None


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


def check_allowed_origins(allowed: Iterable[str]) -> None:
    """Raise `ConfigError` for an allowed origin that no page can have, and that would never match."""
    for origin in allowed:
        if origin != "*" and web_origin(origin.removesuffix("/")) is None:
            message = f"allowed_origins: {origin!r} is no origin; write https://app.example.com, without a path, or *"
            raise ConfigError(message, param="allowed_origins")


def check_host(request: Request, host: str, allowed: Collection[str]) -> None:
    """Raise `RefusedError` for a request that was sent to another name than this machine's own.

    For a server that only programs of this machine can reach, and without a key: a web page whose name is made to
    resolve to 127.0.0.1 would otherwise speak to it as if it were the server's own page. `host` is what the server
    listens on; the hosts of `allowed` origins are known, too. Browsers always name a host.
    """
    hosts = request.headers.get_all("Host")
    known = [host.strip("[]").lower(), *(_host_of(origin.partition("://")[2]) for origin in allowed)]
    if "*" in allowed or all(is_local(name) or _host_of(name) in known for name in hosts):
        return
    shown = ", ".join(hosts)[:200]
    message = (
        f"this server is for this machine only and does not answer as {shown}: ask for localhost, use keys, or name "
        f"the page that is meant in `allowed_origins`"
    )
    raise RefusedError(refusal(HTTPStatus.MISDIRECTED_REQUEST, "host", message), "host")


def check_place(place: Place) -> None:
    """Raise `RefusedError` if there is no place for anything but probes on this connection."""
    reason = place.claim()
    if reason is None:
        return
    status, code = HTTPStatus.SERVICE_UNAVAILABLE, "overloaded"
    if reason == "address_full":
        status, code = HTTPStatus.TOO_MANY_REQUESTS, "rate_limited"
    raise RefusedError(refusal(status, code, FULL_MESSAGES[reason], retry_after_s=RETRY_AFTER_S), reason)


def is_of_this_machine(request: Request) -> bool:
    """Whether a program of this machine seems to send the request, and no proxy, nor a page whose name was made to
    resolve here.

    A forwarder on this machine that adds no header (`ssh -R`, stunnel, a balancer of TCP) looks like a program.
    """
    is_forwarded = any(name in request.headers for name in _FORWARDED)
    hosts = request.headers.get_all("Host")
    return is_local(request.address) and not is_forwarded and all(map(is_local, hosts))


def is_local(host: str) -> bool:
    """Whether a host, with or without a port, can only be this machine (RFC 6761: `localhost` and names below it)."""
    name = _host_of(host)
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def _host_of(address: str) -> str:
    """Return the host of an address in the form in which two are compared: no port, no brackets, no final dot."""
    address = address.strip().lower().rstrip("/")
    if address.startswith("["):
        return address[1:].partition("]")[0]
    host, _, port = address.rpartition(":")
    return (host if port.isdigit() and ":" not in host else address).rstrip(".")


def origin_of(headers: Headers) -> str | None:
    """Return the web origin of the page that sends a request; None for a program, or if there are several."""
    origins = headers.get_all("Origin")
    return origins[0] if len(origins) == 1 else None


def _without_usual_port(address: str) -> str:
    address = address.strip().lower()
    for port in _USUAL_PORTS:
        address = address.removesuffix(port)
    return address
