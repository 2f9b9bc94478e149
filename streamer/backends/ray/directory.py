"""The directory of an application's workers: replicas announce themselves, and front ends read the listing over HTTP.

It holds nothing that would be missed. If it is started again, it knows all workers after one interval of announcements,
and front ends keep what they know meanwhile.
"""

from __future__ import annotations

import hmac
import http
import time
from collections.abc import Callable
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

ANNOUNCE_INTERVAL_S: Final = 1.0
"""How often a worker announces itself."""
LISTED_FOR_S: Final = 5.0
"""How long a worker is listed after its last announcement."""
MAX_WORKERS: Final = 4096
LISTING_PATH: Final = "/workers"
"""Where the listing is read, below the address of the application."""

Address = Annotated[str, Meta(max_length=256)]


class Listing(Struct, frozen=True):
    """The addresses of the workers, as `ws://HOST:PORT` or `wss://…`; encoded as JSON."""

    workers: Annotated[tuple[Address, ...], Meta(max_length=MAX_WORKERS)]


class WorkerDirectory:
    """The addresses of the workers that announced themselves lately."""

    def __init__(self, token: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`token` is the secret that front ends have to know; empty if none is needed."""
        self._token = token
        self._clock = clock
        self._announced_s: dict[str, float] = {}

    def announce(self, address: str) -> None:
        """List a worker, or keep it listed. Raises `ValueError` if there are too many."""
        self._forget_silent()
        if address not in self._announced_s and len(self._announced_s) >= MAX_WORKERS:
            raise ValueError(f"{MAX_WORKERS} workers are listed, and {address} is one more")
        self._announced_s[address] = self._clock()

    def withdraw(self, address: str) -> None:
        """List a worker no longer."""
        self._announced_s.pop(address, None)

    def addresses(self) -> tuple[str, ...]:
        """Return the addresses of the workers, those first that came first."""
        self._forget_silent()
        return tuple(self._announced_s)

    def answer(self, path: str, authorization: str) -> tuple[http.HTTPStatus, bytes]:
        """Return the status and the body for a GET request with this path and this `Authorization` header."""
        if path != LISTING_PATH:
            return http.HTTPStatus.NOT_FOUND, b"the workers are listed at /workers\n"
        given = authorization.encode("utf-8", "surrogatepass")
        if self._token and not hmac.compare_digest(given, bearer(self._token).encode()):
            return http.HTTPStatus.UNAUTHORIZED, b"the token is not the workers'\n"
        return http.HTTPStatus.OK, msgspec.json.encode(Listing(self.addresses()))

    def _forget_silent(self) -> None:
        oldest_s = self._clock() - LISTED_FOR_S
        for address in [name for name, when_s in self._announced_s.items() if when_s < oldest_s]:
            del self._announced_s[address]


def bearer(token: str) -> str:
    """Return the `Authorization` header of those who know the token (RFC 6750)."""
    return f"Bearer {token}"
