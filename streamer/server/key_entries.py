"""One API key, as an entry of a keys file has it; `key_files` reads and writes the files, `keys` looks keys up.

Only hashes of named keys are kept. A plain SHA-256 is enough for them: it cannot be reversed by guessing, because the
keys of `new_key` are 256 random bits. The slow hashes that passwords need would only make each request slow.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, get_args

from streamer.errors import ConfigError
from streamer.options import suggestion
from streamer.telemetry.metrics import OTHER_OWNER

Scope = Literal["speak", "metrics", "admin"]
"""What a key is good for: speech, the metrics, and the operator's other routes."""
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
SHARE_RANGE: Final = (0.01, 100.0)
"""Bounds of a key's weight in the start queue."""
MAX_HASHES: Final = 4
"""The most keys of one name: one that is replaced overlaps with its successor for a while."""
_PREFIX: Final = "streamer_"
"""What new keys begin with, so that scanners for leaked secrets can know them."""
_KEY_BYTES: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
_HASH: Final = re.compile(r"sha256:([0-9a-f]{64})")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without the key itself.

    `name` is at most 32 characters of ASCII. `share` is its owner's weight in the start queue. `is_named`: whether the
    operator chose the name; that of a plain key is made of its digest, and stays within the process.
    """

    name: str
    digests: tuple[bytes, ...]
    scopes: frozenset[Scope] = frozenset(("speak",))
    expires: datetime | None = None
    share: float = 1.0
    is_named: bool = True

    def has_expired(self, now_s: float) -> bool:
        """Whether the key is not valid any more. `now_s`: Unix time in s."""
        return self.expires is not None and self.expires.timestamp() <= now_s

    @property
    def expiry(self) -> str:
        """When the key expires, in RFC 3339."""
        return "" if self.expires is None else self.expires.isoformat().replace("+00:00", "Z")


def digest_of(key: str) -> bytes:
    """Return the SHA-256 of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def plain_key(key: str) -> ApiKey:
    """Return what is kept of a key without a name, which may speak."""
    digest = digest_of(key)
    return ApiKey(f"digest:{digest.hex()[:16]}", (digest,), is_named=False)


def new_key() -> str:
    """Return a key that nobody has had before."""
    return _PREFIX + secrets.token_urlsafe(_KEY_BYTES)


def named_key(
    name: str, key: str, scopes: Sequence[str] = ("speak",), expires: str | None = None, share: float = 1.0
) -> ApiKey:
    """Return what is kept of a key. `expires` is in RFC 3339. Raises `ConfigError`."""
    fields = {"hash": f"sha256:{digest_of(key).hex()}", "scopes": list(scopes), "share": share}
    entry, problems = read_entry(name, fields if expires is None else {**fields, "expires": expires})
    if entry is None:
        raise ConfigError("\n".join(f"key {name[:64]!r}: {problem}" for problem in problems))
    return entry


def as_toml(key: ApiKey) -> str:
    """Return the entry of a key of `named_key` in a file."""
    scopes = ", ".join(f'"{scope}"' for scope in SCOPES if scope in key.scopes)
    lines = [f"[{key.name}]", f'hash = "sha256:{key.digests[0].hex()}"', f"scopes = [{scopes}]"]
    lines += [f"expires = {key.expiry}"] if key.expires is not None else []
    lines += [f"share = {key.share:g}"] if key.share != 1 else []
    return "\n".join(lines) + "\n"


def read_entry(name: str, table: object) -> tuple[ApiKey | None, list[str]]:
    """Return the key of an entry, or all that is wrong with the entry, each with what would be right."""
    problems: list[str] = []
    if not _NAME.fullmatch(name):
        problems.append("is no name for a key: use 1 to 32 letters, digits, `_` and `-`")
    if name == OTHER_OWNER:
        problems.append("stands for all clients without a named key: choose another name")
    if not isinstance(table, dict):
        return None, [*problems, f"is no table: write [{name[:64]}], and its fields below"]
    fields: dict[str, Any] = {}
    for field, (read, default) in _FIELDS.items():
        try:
            fields[field] = read(table.get(field, default))
        except ValueError as error:
            problems.append(f"{field}: {error}")
    for field in table:
        if field not in _FIELDS:
            problems.append(f"{field[:64]}: there is no such field{suggestion(field[:64], _FIELDS)}")
    if problems:
        return None, problems
    return ApiKey(name, fields["hash"], fields["scopes"], fields["expires"], fields["share"]), []


def _digests(value: Any) -> tuple[bytes, ...]:
    """What is wrong is not shown, because it may be a key."""
    hashes = value if isinstance(value, list) else [value]
    matches = [_HASH.fullmatch(text) if isinstance(text, str) else None for text in hashes]
    if not 0 < len(hashes) <= MAX_HASHES or None in matches:
        raise ValueError(
            f"write what `streamer keys new` prints, `sha256:` and 64 hexadecimal digits, or a list of up to "
            f"{MAX_HASHES} of these"
        )
    return tuple(bytes.fromhex(match[1]) for match in matches if match is not None)


def _scopes(value: Any) -> frozenset[Scope]:
    chosen = [scope for scope in SCOPES if isinstance(value, list) and scope in value]
    if not isinstance(value, list) or not chosen or any(scope not in SCOPES for scope in value):
        raise ValueError(f"{str(value)[:64]} is not a list of {', '.join(SCOPES)}, or of some of them")
    return frozenset(chosen)


def _time(value: Any) -> datetime | None:
    if value is None:
        return None
    with contextlib.suppress(ValueError):
        if isinstance(value, str) and _TIME.fullmatch(value):
            value = datetime.fromisoformat(value.upper())
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError(f"{str(value)[:64]} is no time with a zone: write 2027-01-31T12:00:00Z")
    return value


def _share(value: Any) -> float:
    low, high = SHARE_RANGE
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{str(value)[:64]} is not a number from {low:g} to {high:g}")
    return float(value)


_FIELDS: Final[Mapping[str, tuple[Callable[[Any], object], object]]] = {
    "hash": (_digests, None),
    "scopes": (_scopes, ["speak"]),
    "expires": (_time, None),
    "share": (_share, 1.0),
}
"""How each field of an entry is read, and what it is where it is left out."""
