"""Keys files with named keys for tests, each key called after its owner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from streamer.server.key_entries import as_toml, named_key


def key_of(owner: str) -> str:
    """The key that an owner sends."""
    return f"key-of-{owner}"


def write_keys(
    path: Path, owners: dict[str, Sequence[str]], expires: dict[str, str] | None = None, **shares: float
) -> Path:
    """Write a file with a key for each owner, with these scopes."""
    entries = [
        as_toml(named_key(name, key_of(name), scopes, (expires or {}).get(name), shares.get(name, 1.0)))
        for name, scopes in owners.items()
    ]
    path.write_text("\n".join(entries))
    return path
