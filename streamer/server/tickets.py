"""Short-lived tickets, with which a page connects instead of with a key: signed, for one origin, good for one use.

A backend asks for one with its key (`POST /v1/tickets`) and hands it to its page; `access` and `session` accept it. A
ticket names the key that it was issued for, whose limits hold for it. Nothing is kept of a ticket before it is used.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import struct
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from streamer.errors import ConfigError, InvalidParameterError
from streamer.server.keys import ApiKeys

LIFETIME_S: Final = 60
PREFIX: Final = "ticket."
"""What every ticket begins with."""
MAX_ORIGIN_CHARS: Final = 200
MAX_TICKET_CHARS: Final = 512
MAX_USED: Final = 65_536
"""The most used tickets that are remembered, each until it expires. When there are more, none is accepted."""
MAX_USED_PER_KEY: Final = 8192
"""How many of them may be of one key, whose tickets would otherwise use up those of all others."""
MIN_SECRET_BYTES: Final = 32
_MAX_SECRET_BYTES: Final = 65_536
_HEAD: Final = struct.Struct("!Q16s48s")
"""When it expires (Unix time in s), a nonce, and the name of the key; the origin stands behind."""
_USUAL_PORTS: Final = {"http": ":80", "https": ":443"}


class Tickets:
    """Issues tickets and accepts each of them once. Processes with the same secret accept each other's."""

    def __init__(
        self,
        secret: bytes | None = None,
        now_s: Callable[[], float] = time.time,
        *,
        path: Path | None = None,
    ) -> None:
        """`secret`: None to have one drawn; `path`: the file that it was read from."""
        self._secret = secret or secrets.token_bytes(MIN_SECRET_BYTES)
        self._path = path
        self._now_s = now_s
        # Nonces, when they expire, and the names of their keys, in the order of their use.
        self._used: dict[bytes, tuple[int, str]] = {}
        self._num_used = Counter[str]()  # by the names of keys

    @classmethod
    def read(cls, path: Path | None) -> Tickets:
        """Read the secret of a file. Raises `ConfigError` for one that is not there, too short or too long."""
        return cls() if path is None else cls(_read_secret(path), path=path)

    def reload(self) -> None:
        """Read the secret again, if it is a file's; tickets that another one signed are good no longer.

        Raises `ConfigError`, and then the old secret stays.
        """
        if self._path is not None:
            self._secret = _read_secret(self._path)

    def issue(self, key_name: str | None, origin: str) -> str:
        """Return a ticket for pages of `origin`, such as `https://app.example.com`.

        `key_name` is as `ApiKeys.check` names a key. Raises `InvalidParameterError` for what is no web origin.
        """
        place = web_origin(origin)
        if place is None:
            message = f"origin {origin[:64]!r} is not a web origin such as https://app.example.com"
            raise InvalidParameterError(message, param="origin")
        expires_s = int(self._now_s()) + LIFETIME_S
        head = _HEAD.pack(expires_s, secrets.token_bytes(16), (key_name or "").encode())
        payload = head + place.encode()
        return f"{PREFIX}{_encoded(payload)}.{_encoded(self._signature(payload))}"

    def redeem(self, ticket: str, origin: str | None, keys: ApiKeys) -> str | None:
        """Return the name of the key that the ticket stands for, and accept it never again; None if it is not valid.

        `origin` is that of the page that brings it; a program, which has none, cannot use a ticket.
        """
        payload = self._verified(ticket)
        if payload is None or origin is None:
            return None
        expires_s, nonce, name = _HEAD.unpack_from(payload)
        now_s = self._now_s()
        key_name: str = name.rstrip(b"\0").decode()
        if (
            expires_s <= now_s
            or payload[_HEAD.size :].decode() != web_origin(origin)
            or not keys.may(key_name, "speak")
        ):
            return None
        self._forget_expired(now_s)
        if nonce in self._used or len(self._used) >= MAX_USED or self._num_used[key_name] >= MAX_USED_PER_KEY:
            return None
        self._used[nonce] = expires_s, key_name
        self._num_used[key_name] += 1
        return key_name

    def _forget_expired(self, now_s: float) -> None:
        while self._used:
            nonce, (expires_s, key_name) = next(iter(self._used.items()))
            if expires_s > now_s:
                break
            del self._used[nonce]
            self._num_used[key_name] -= 1
            if not self._num_used[key_name]:
                del self._num_used[key_name]

    def _verified(self, ticket: str) -> bytes | None:
        """Return what the ticket says, if it was signed here."""
        parts = ticket.removeprefix(PREFIX).split(".")
        if len(ticket) > MAX_TICKET_CHARS or not ticket.startswith(PREFIX) or len(parts) != 2:
            return None
        try:
            payload, signature = map(_decoded, parts)
        except (binascii.Error, ValueError):
            return None
        return payload if hmac.compare_digest(signature, self._signature(payload)) else None

    def _signature(self, payload: bytes) -> bytes:
        return hmac.new(self._secret, payload, hashlib.sha256).digest()


def web_origin(origin: str) -> str | None:
    """Return a web origin in the form in which two are compared; None if it is none."""
    origin = origin.strip().lower()
    scheme, separator, host = origin.partition("://")
    if scheme not in _USUAL_PORTS or not separator or not 0 < len(host) <= MAX_ORIGIN_CHARS:
        return None
    if any(
        character in "/?#@\\*," or character.isspace() or not character.isprintable() for character in host
    ):
        return None
    return origin.removesuffix(_USUAL_PORTS[scheme])


def _read_secret(path: Path) -> bytes:
    try:
        secret = path.read_bytes().strip()
    except OSError as error:
        message = f"ticket_secret_file {path}: {error.strerror}"
        raise ConfigError(message, param="ticket_secret_file") from None
    if not MIN_SECRET_BYTES <= len(secret) <= _MAX_SECRET_BYTES:
        message = f"ticket_secret_file {path} has {len(secret)} bytes; it needs {MIN_SECRET_BYTES} or more"
        raise ConfigError(message, param="ticket_secret_file")
    return secret


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
