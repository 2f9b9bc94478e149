"""API keys as an operator's file has them: with names in TOML, or plain, one a line; `keys` looks them up."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from streamer.errors import ConfigError
from streamer.server.key_entries import ApiKey, as_toml, plain_key, read_entry
from streamer.whole_files import write_whole

MAX_KEYS: Final = 1000
"""The most keys of a file."""
MAX_KEY_CHARS: Final = 512
MAX_FILE_BYTES: Final = 1_048_576
MAX_ERRORS: Final = 50
"""The most mistakes of a file that are told at once."""
NAMED_SUFFIX: Final = ".toml"
"""What the name of a file with named keys ends in."""
_TABLE: Final = re.compile(r"^(?=[ \t]*\[)", re.MULTILINE)
"""Where the tables of a file with named keys begin."""


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
    wrong: list[int] = []
    for number, line in enumerate(text.splitlines(), 1):
        key = line.partition("#")[0].strip()
        if not all("!" <= character <= "~" for character in key) or len(key) > MAX_KEY_CHARS:
            wrong.append(number)
        elif key:
            keys[key] = plain_key(key)
    if wrong:
        more = f" and {len(wrong) - MAX_ERRORS} more" if len(wrong) > MAX_ERRORS else ""
        lines = f"line{'s' if wrong[1:] else ''} {', '.join(map(str, wrong[:MAX_ERRORS]))}{more}"
        raise _mistake(
            path,
            f", {lines}: a key has up to {MAX_KEY_CHARS} visible ASCII characters, as headers do; named keys belong in "
            f"a file whose name ends in {NAMED_SUFFIX}",
        )
    if len(keys) > MAX_KEYS:
        raise _mistake(path, f" holds {len(keys)} keys; at most {MAX_KEYS} are possible")
    return tuple(keys.values())


def _parse_named(path: Path, text: str) -> tuple[ApiKey, ...]:
    tables, problems = _read_tables(text)
    if len(tables) > MAX_KEYS:
        raise _mistake(path, f" holds {len(tables)} keys; at most {MAX_KEYS} are possible")
    keys: dict[str, ApiKey] = {}
    owners: dict[bytes, str] = {}
    for name, table in tables.items():
        key, found = read_entry(name, table)
        if key is not None:
            keys[name] = key
            found = [
                f"hash: it is also that of [{owners[digest]}]; make a key of its own"
                for digest in key.digests
                if owners.setdefault(digest, name) != name
            ]
        problems += [f", [{name[:64]}] {problem}" for problem in found]
    if problems:
        more = [f": {len(problems) - MAX_ERRORS} more mistakes"] if len(problems) > MAX_ERRORS else []
        told = [f"api_keys_file {path}{problem}" for problem in problems[:MAX_ERRORS] + more]
        raise ConfigError("\n".join(told), param="api_keys_file")
    return tuple(keys.values())


def _read_tables(text: str) -> tuple[Mapping[str, object], list[str]]:
    """Return the tables of a file in TOML, and what is wrong with its syntax.

    The library tells the first mistake only, so that a file with one is read table by table.
    """
    try:
        return tomllib.loads(text), []
    except (ValueError, RecursionError) as error:
        first = f" is not TOML: {error}"
    pieces = _TABLE.split(text)
    if len(pieces) > MAX_KEYS + 1:
        return {}, [first]
    tables: dict[str, object] = {}
    problems: list[str] = []
    num_lines = 0
    for piece in pieces:
        try:
            found = tomllib.loads(piece)
        except (ValueError, RecursionError) as error:
            problems.append(f" is not TOML: {_moved(str(error), num_lines)}")
        else:
            problems += [
                f" is not TOML: [{name[:64]}] stands there twice" for name in found if name in tables
            ]
            tables |= found
        num_lines += piece.count("\n")
    return tables, problems or [first]


def _moved(error: str, num_lines: int) -> str:
    """Return what the library says of a piece of the file that this many lines stand before."""
    return re.sub(r"(?<=\(at line )\d+", lambda line: str(int(line[0]) + num_lines), error)


def _mistake(path: Path, what: str) -> ConfigError:
    return ConfigError(f"api_keys_file {path}{what}", param="api_keys_file")
