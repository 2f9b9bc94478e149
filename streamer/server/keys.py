"""Looks up the API keys that clients give, and tells what each is good for; `key_files` reads them."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from streamer.errors import AuthenticationError, ScopeError
from streamer.server.key_files import ApiKey, Scope, digest_of, read_keys
from streamer.telemetry.metrics import OTHER_OWNER

logger = logging.getLogger(__name__)


class ApiKeys:
    """The keys that open the server. Without any, every client may speak."""

    def __init__(
        self,
        keys: Sequence[ApiKey] = (),
        path: Path | None = None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """`path`: the file that `reload` reads. `now_s` returns the Unix time in s."""
        self._path = path
        self._now_s = now_s
        self._by_id = {_id_of(key, digest): key for key in keys for digest in key.digests}
        if expired := [key.name for key in keys if key.has_expired(now_s())]:
            logger.warning("keys have expired", extra={"keys": ", ".join(expired)})

    @classmethod
    def read(cls, path: Path | None) -> ApiKeys:
        """Return the keys of a file. Raises `ConfigError`."""
        return cls() if path is None else cls(read_keys(path), path)

    def reload(self) -> None:
        """Read the file again. Raises `ConfigError`, and then the old keys stay."""
        if self._path is not None:
            self._by_id = ApiKeys(read_keys(self._path), now_s=self._now_s)._by_id

    @property
    def are_required(self) -> bool:
        """Whether a client needs a key."""
        return bool(self._by_id)

    @property
    def have_scopes(self) -> bool:
        """Whether the operator said what each key is good for."""
        return any(key.is_named for key in self._by_id.values())

    def check(self, given: str, scope: Scope) -> str:
        """Return the id of a key: one that takes the place of another, under the same name, has another id.

        Raises `AuthenticationError` for one that is not valid, or not any more, and `ScopeError` for one that is valid
        and not for this.
        """
        digest, found = digest_of(given), None
        # Every key is compared, in constant time, so that the time taken tells nothing.
        for key in dict.fromkeys(self._by_id.values()):
            for known in key.digests:
                if hmac.compare_digest(digest, known):
                    found = key
        if found is None:
            raise AuthenticationError("this key is not valid here")
        if found.has_expired(self._now_s()):
            message = (
                f"the key {found.name!r} expired at {found.expiry}: ask this server's operator for another"
            )
            raise AuthenticationError(message)
        if scope not in found.scopes:
            known_as = repr(found.name) if found.is_named else "without a name"
            raise ScopeError(f"the key {known_as} does not have the scope {scope!r} that is needed here")
        return _id_of(found, digest)

    def may(self, key_id: str, scope: Scope) -> bool:
        """Whether the key of this id is valid, now and for this."""
        key = self._by_id.get(key_id)
        return key is not None and scope in key.scopes and not key.has_expired(self._now_s())

    def owner(self, key_id: str | None) -> str:
        """Return who is named in metrics and in the log: one label for all who have no named key."""
        key = self._by_id.get(key_id or "")
        return key.name if key is not None and key.is_named else OTHER_OWNER

    def share(self, key_id: str | None) -> float:
        """Return the weight that the owner of a key has in the start queue."""
        key = self._by_id.get(key_id or "")
        return 1.0 if key is None else key.share

    def name(self, key_id: str) -> str:
        """Return the name of a key, under which its owner's utterances are counted, whichever key they came with."""
        key = self._by_id.get(key_id)
        return key_id if key is None else key.name


def _id_of(key: ApiKey, digest: bytes) -> str:
    return f"{key.name}:{digest.hex()[:12]}" if key.is_named else key.name
