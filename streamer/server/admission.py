"""Who may connect and start: API keys, caps on connections, and each key's share of utterances.

A refusal is immediate and says when to come back; only a short, bounded wait is spent in line.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from asyncio_throttle.throttler import Throttler

from streamer.config import LimitsConfig
from streamer.errors import ConfigError, OverloadedError, RateLimitedError

_RETRY_AFTER_S = 1.0
_POLL_S = 0.02
_MAX_SHARES = 10_000


class ApiKeys:
    """The keys that open the server, kept as digests. Without any, everybody may speak."""

    def __init__(self, keys: tuple[str, ...] = ()) -> None:
        self._digests = tuple(_digest(key) for key in keys)

    @classmethod
    def read(cls, path: Path | None) -> ApiKeys:
        """Read one key a line, `#` begins a comment; raises `ConfigError` for a file without any."""
        if path is None:
            return cls()
        try:
            lines = [line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"api_keys_file {path}: {error}", param="api_keys_file") from None
        keys = tuple(line for line in lines if line)
        if not keys:
            raise ConfigError(f"api_keys_file {path} holds no key", param="api_keys_file")
        return cls(keys)

    @property
    def are_required(self) -> bool:
        return bool(self._digests)

    def find(self, key: str) -> str | None:
        """A name for the key that is safe to keep (part of its digest), or None if it is not valid here."""
        digest = _digest(key)
        # Every key is compared, in constant time, so that the time taken tells nothing.
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return digest.hex()[:16] if any(matches) else None


class Permit:
    """The permission to speak one utterance; `wait` until it may begin, `release` when it is over."""

    def __init__(self, share: ClientQuota) -> None:
        self._share = share
        self._is_waiting = True
        self._is_released = False
        share.num_open += 1
        share.num_waiting += 1

    async def wait(self) -> None:
        await self._share.throttler.acquire()
        self._stop_waiting()

    def release(self) -> None:
        self._stop_waiting()
        if not self._is_released:
            self._is_released = True
            self._share.num_open -= 1

    def _stop_waiting(self) -> None:
        if self._is_waiting:
            self._is_waiting = False
            self._share.num_waiting -= 1


class _Line(Protocol):
    """The part of `asyncio_throttle.Throttler` used here, which carries no types itself."""

    async def acquire(self) -> None: ...


class ClientQuota:
    """What one key, or one address where there are no keys, has in use."""

    def __init__(self, starts_per_s: int) -> None:
        self.num_open = 0
        self.num_waiting = 0
        self.num_sessions = 0
        self.throttler: _Line = Throttler(rate_limit=starts_per_s, period=1.0, retry_interval=_POLL_S)


class Admission:
    """Counts connections and shares; one per server."""

    def __init__(self, limits: LimitsConfig) -> None:
        self._limits = limits
        self._connections: Counter[str] = Counter()
        self._shares: dict[str, ClientQuota] = {}

    def refuse_connection(self, address: str) -> str | None:
        """Why one more connection from there is too many (`server_full` or `address_full`), or None."""
        if self._connections.total() >= self._limits.max_connections:
            return "server_full"
        if self._connections[address] >= self._limits.max_connections_per_address:
            return "address_full"
        return None

    def connected(self, address: str) -> None:
        """Count a connection, until `disconnected`."""
        self._connections[address] += 1

    def disconnected(self, address: str) -> None:
        self._connections[address] -= 1
        if not self._connections[address]:
            del self._connections[address]

    @contextlib.contextmanager
    def share(self, client_key: str) -> Iterator[None]:
        """Keep the client's share while one of its sessions lasts, and after, until there are too many."""
        if len(self._shares) > _MAX_SHARES:
            self._shares = {name: share for name, share in self._shares.items() if share.num_sessions}
        share = self._shares.setdefault(client_key, ClientQuota(self._limits.max_starts_per_s))
        share.num_sessions += 1
        try:
            yield
        finally:
            share.num_sessions -= 1

    def admit(self, client_key: str) -> Permit:
        """A turn for one utterance.

        Raises `OverloadedError` where the owner has too many open, `RateLimitedError` where the wait for
        its turn would be too long; both say when to come back.
        """
        share, limits = self._shares[client_key], self._limits
        if share.num_open >= limits.max_utterances_per_key:
            raise OverloadedError(
                f"{share.num_open} utterances are open, no more are allowed", retry_after_s=_RETRY_AFTER_S
            )
        expected_wait_s = share.num_waiting / limits.max_starts_per_s
        if expected_wait_s > limits.max_start_wait_s:
            raise RateLimitedError(
                f"more than {limits.max_starts_per_s} utterances a second",
                retry_after_s=round(expected_wait_s, 2),
            )
        return Permit(share)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
