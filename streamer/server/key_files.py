"""API keys as an operator's file has them: with names in TOML, or plain, one a line. `keys` looks them up.

Only hashes of named keys are in the file. A plain SHA-256 is enough for them: it cannot be reversed by guessing,
because the keys of `new_key` are 256 random bits. The slow hashes that passwords need would only make each request
slow.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, get_args

from streamer.errors import ConfigError
from streamer.options import suggestion
from streamer.telemetry.metrics import OTHER_OWNER
from streamer.whole_files import write_whole

Scope = Literal["speak", "metrics", "admin"]
"""What a key is good for: speech, the metrics, and the operator's other routes."""
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
SHARE_RANGE: Final = (0.01, 100.0)
"""Bounds of a key's weight in the start queue."""
MAX_KEYS: Final = 1000
"""The most keys of a file."""
MAX_HASHES: Final = 4
"""The most keys of one name: one that is replaced overlaps with its successor for a while."""
MAX_KEY_CHARS: Final = 512
MAX_FILE_BYTES: Final = 1_048_576
MAX_ERRORS: Final = 10
"""The most mistakes of a file that are told at once."""
NAMED_SUFFIX: Final = ".toml"
"""What the name of a file with named keys ends in."""
_PREFIX: Final = "streamer_"
"""What new keys begin with, so that scanners for leaked secrets can know them."""
_KEY_BYTES: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
_HASH: Final = re.compile(r"sha256:([0-9a-f]{64})")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
_FIELDS: Final = ("hash", "scopes", "expires", "share")


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
    try:
        return _entry(name, fields if expires is None else {**fields, "expires": expires})
    except ValueError as error:
        raise ConfigError(f"key {name[:64]!r}: {error}") from None


def as_toml(key: ApiKey) -> str:
    """Return the entry of a key of `named_key` in a file."""
    scopes = ", ".join(f'"{scope}"' for scope in SCOPES if scope in key.scopes)
    lines = [f"[{key.name}]", f'hash = "sha256:{key.digests[0].hex()}"', f"scopes = [{scopes}]"]
    lines += [f"expires = {key.expiry}"] if key.expires is not None else []
    lines += [f"share = {key.share:g}"] if key.share != 1 else []
    return "\n".join(lines) + "\n"


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """Read named keys if the file is TOML by its name, otherwise plain ones, where `#` begins a comment.

    Raises `ConfigError` with a line for each mistake, and for a file without any key.
    """
    text = _read_text(path)
    keys = _parse_named(path, text) if path.suffix == NAMED_SUFFIX else _parse_plain(path, text)
    if not keys:
        raise _mistake(path, " holds no key: make one with `streamer keys new NAME`")
    return keys


def add_entry(path: Path, key: ApiKey) -> None:
    """Add a named key to a file, or make the file; what else is in it stays as it is.

    Raises `ConfigError` if the file has a key of that name, or is wrong itself, and `OSError`.
    """
    if path.suffix != NAMED_SUFFIX:
        raise _mistake(path, f": the name of a file with named keys ends in {NAMED_SUFFIX}")
    path = path.resolve()
    with _locked(path.parent):
        before = _read_text(path) if path.exists() else ""
        if any(other.name == key.name for other in _parse_named(path, before)):
            raise _mistake(path, f" has a key {key.name!r} already: choose another name")
        space = "" if not before else "\n" if before.endswith("\n") else "\n\n"
        after = f"{before}{space}{as_toml(key)}"
        _parse_named(path, after)
        write_whole(path, after.encode())


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep others who add a key to a file of this folder waiting, or one of two new keys would be lost."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        text = data.decode()
    except OSError as error:
        raise _mistake(path, f": {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise _mistake(path, f" is not UTF-8: {error.reason}") from None
    if len(data) > MAX_FILE_BYTES:
        raise _mistake(path, f" has more than {MAX_FILE_BYTES} bytes")
    return text


def _parse_plain(path: Path, text: str) -> tuple[ApiKey, ...]:
    keys: dict[str, ApiKey] = {}
    for number, line in enumerate(text.splitlines(), 1):
        key = line.partition("#")[0].strip()
        if not all("!" <= character <= "~" for character in key) or len(key) > MAX_KEY_CHARS:
            raise _mistake(
                path,
                f", line {number}: a key has up to {MAX_KEY_CHARS} visible ASCII characters, as headers do; named keys "
                f"belong in a file whose name ends in {NAMED_SUFFIX}",
            )
        if key:
            keys[key] = plain_key(key)
    if len(keys) > MAX_KEYS:
        raise _mistake(path, f" holds {len(keys)} keys; at most {MAX_KEYS} are possible")
    return tuple(keys.values())


def _parse_named(path: Path, text: str) -> tuple[ApiKey, ...]:
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise _mistake(path, f" is not TOML: {error}") from None
    if len(tables) > MAX_KEYS:
        raise _mistake(path, f" holds {len(tables)} keys; at most {MAX_KEYS} are possible")
    keys: dict[str, ApiKey] = {}
    owners: dict[bytes, str] = {}
    errors: list[str] = []
    for name, table in tables.items():
        try:
            keys[name] = _entry(name, table)
            for digest in keys[name].digests:
                if owners.setdefault(digest, name) != name:
                    raise ValueError(f"hash: it is also that of [{owners[digest]}]; make a key of its own")
        except ValueError as error:
            errors.append(f", [{name[:64]}] {error}")
    if errors:
        more = [f": {len(errors) - MAX_ERRORS} more mistakes"] if len(errors) > MAX_ERRORS else []
        raise ConfigError(
            "\n".join(f"api_keys_file {path}{error}" for error in errors[:MAX_ERRORS] + more),
            param="api_keys_file",
        )
    return tuple(keys.values())


def _entry(name: str, table: object) -> ApiKey:
    """Raises `ValueError` that says what is wrong with an entry, and what would be right."""
    if not _NAME.fullmatch(name):
        raise ValueError("is no name for a key: use 1 to 32 letters, digits, `_` and `-`")
    if name == OTHER_OWNER:
        raise ValueError("stands for all clients without a named key: choose another name")
    if not isinstance(table, dict):
        raise ValueError(f"is no table: write [{name}], and its fields below")
    if unknown := [field for field in table if field not in _FIELDS]:
        raise ValueError(f"{unknown[0][:64]}: there is no such field{suggestion(unknown[0][:64], _FIELDS)}")
    return ApiKey(
        name,
        _digests(table.get("hash")),
        _scopes(table.get("scopes", ["speak"])),
        _time(table["expires"]) if "expires" in table else None,
        _share(table.get("share", 1.0)),
    )


def _digests(value: Any) -> tuple[bytes, ...]:
    """What is wrong is not shown, because it may be a key."""
    hashes = value if isinstance(value, list) else [value]
    matches = [_HASH.fullmatch(text) if isinstance(text, str) else None for text in hashes]
    if not 0 < len(hashes) <= MAX_HASHES or None in matches:
        raise ValueError(
            f"hash: write what `streamer keys new` prints, `sha256:` and 64 hexadecimal digits, or a list of up to "
            f"{MAX_HASHES} of these"
        )
    return tuple(bytes.fromhex(match[1]) for match in matches if match is not None)


def _scopes(value: Any) -> frozenset[Scope]:
    chosen = [scope for scope in SCOPES if isinstance(value, list) and scope in value]
    if not isinstance(value, list) or not chosen or any(scope not in SCOPES for scope in value):
        raise ValueError(
            f"scopes: {str(value)[:64]} is not a list of {', '.join(SCOPES)}, or of some of them"
        )
    return frozenset(chosen)


def _time(value: Any) -> datetime:
    with contextlib.suppress(ValueError):
        if isinstance(value, str) and _TIME.fullmatch(value):
            value = datetime.fromisoformat(value.upper())
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError(f"expires: {str(value)[:64]} is no time with a zone: write 2027-01-31T12:00:00Z")
    return value


def _share(value: Any) -> float:
    low, high = SHARE_RANGE
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"share: {str(value)[:64]} is not a number from {low:g} to {high:g}")
    return float(value)


def _mistake(path: Path, what: str) -> ConfigError:
    return ConfigError(f"api_keys_file {path}{what}", param="api_keys_file")
