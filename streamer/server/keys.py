"""Looks up the API keys that clients give, and tells what each is good for; `key_files` reads them."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamer.errors import AuthenticationError, RateLimitedError, ScopeError
from streamer.server.key_entries import ApiKey, Scope, digest_of
from streamer.server.key_files import read_keys
from streamer.server.wrong_keys import WrongKeys
from streamer.telemetry.metrics import OTHER_OWNER

logger = logging.getLogger(__name__)
FAILURES: Final = ("missing", "wrong", "expired", "scope", "ticket", "limited")
"""Why a client may not be let in; `limited`: because too many wrong keys came from its address."""


@dataclass(frozen=True, slots=True)
class _Table:
    """The same keys by their ids, and by the digests of what clients give."""

    by_id: Mapping[str, ApiKey]
    by_digest: Mapping[bytes, ApiKey]

    @classmethod
    def of(cls, keys: Sequence[ApiKey]) -> _Table:
        by_digest = {digest: key for key in keys for digest in key.digests}
        return cls({_id_of(key, digest): key for digest, key in by_digest.items()}, by_digest)


class ApiKeys:
    """The keys that open the server. Without any, every client may speak.

    A key is found by its SHA-256, in the same time however many there are. How long that takes tells nothing of a key:
    what is compared are digests, of which nobody can choose a part without the key itself.
    """

    def __init__(
        self,
        keys: Sequence[ApiKey] = (),
        path: Path | None = None,
        now_s: Callable[[], float] = time.time,
        wrong_keys: WrongKeys | None = None,
    ) -> None:
        """`path`: the file that `reload` reads. `now_s` returns the Unix time in s. `wrong_keys`: None for no limit."""
        self._path = path
        self._now_s = now_s
        self._wrong_keys = wrong_keys or WrongKeys(None)
        self._table = _Table.of(keys)
        self.failures = Counter[str]()
        """How often clients were not let in, by one of the `FAILURES`."""
        if expired := [key.name for key in keys if key.has_expired(now_s())]:
            logger.warning("keys have expired", extra={"keys": ", ".join(expired)})

    @classmethod
    def read(cls, path: Path | None, max_wrong_per_min: int | None = None) -> ApiKeys:
        """Return the keys of a file; see `WrongKeys` for `max_wrong_per_min`. Raises `ConfigError`."""
        return cls() if path is None else cls(read_keys(path), path, wrong_keys=WrongKeys(max_wrong_per_min))

    def reload(self) -> None:
        """Read the file again. Raises `ConfigError`, and then the old keys stay."""
        if self._path is not None:
            self._table = ApiKeys(read_keys(self._path), now_s=self._now_s)._table

    @property
    def are_required(self) -> bool:
        """Whether a client needs a key."""
        return bool(self._table.by_id)

    @property
    def have_scopes(self) -> bool:
        """Whether the operator said what each key is good for."""
        return any(key.is_named for key in self._table.by_id.values())

    def check(self, given: str, scope: Scope, address: str = "") -> str:
        """Return the id of a key: one that takes the place of another, under the same name, has another id.

        `address`: the client's. Raises `AuthenticationError` for a key that is not valid, or not any more, `ScopeError`
        for one that is valid and not for this, and `RateLimitedError` after too many wrong ones from the address.
        """
        digest = digest_of(given)
        if wait_s := self._wrong_keys.wait_s(address, digest):
            self.failures["limited"] += 1
            message = f"too many wrong keys came from this address: try again in {math.ceil(wait_s)} s"
            raise RateLimitedError(message, retry_after_s=round(wait_s, 2))
        found = self._table.by_digest.get(digest)
        if found is None:
            self.failures["wrong"] += 1
            self._wrong_keys.note_wrong(address, digest)
            raise AuthenticationError("this key is not valid here")
        self._wrong_keys.note_right(address, digest)
        if found.has_expired(self._now_s()):
            self.failures["expired"] += 1
            message = (
                f"the key {found.name!r} expired at {found.expiry}: ask this server's operator for another"
            )
            raise AuthenticationError(message)
        if scope not in found.scopes:
            self.failures["scope"] += 1
            known_as = repr(found.name) if found.is_named else "without a name"
            raise ScopeError(f"the key {known_as} does not have the scope {scope!r} that is needed here")
        return _id_of(found, digest)

    def may(self, key_id: str, scope: Scope) -> bool:
        """Whether the key of this id is valid, now and for this."""
        key = self._table.by_id.get(key_id)
        return key is not None and scope in key.scopes and not key.has_expired(self._now_s())

    def owner(self, key_id: str | None) -> str:
        """Return who is named in metrics and in the log: one label for all who have no named key."""
        key = self._table.by_id.get(key_id or "")
        return key.name if key is not None and key.is_named else OTHER_OWNER

    def share(self, key_id: str | None) -> float:
        """Return the weight that the owner of a key has in the start queue."""
        key = self._table.by_id.get(key_id or "")
        return 1.0 if key is None else key.share

    def name(self, key_id: str) -> str:
        """Return the name of a key, under which its owner's utterances are counted, whichever key they came with."""
        key = self._table.by_id.get(key_id)
        return key_id if key is None else key.name


def _id_of(key: ApiKey, digest: bytes) -> str:
    return f"{key.name}:{digest.hex()[:12]}" if key.is_named else key.name
