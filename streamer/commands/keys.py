"""The command `streamer keys new`: makes an API key, and the entry of the keys file that lets it in."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.errors import ConfigError

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    Commands = _SubParsersAction[argparse.ArgumentParser]


def add_keys_commands(commands: Commands) -> None:
    """Add `keys` with its own command."""
    keys = commands.add_parser("keys", help="make API keys")
    actions = keys.add_subparsers(required=True, metavar="action")
    new = actions.add_parser(
        "new", help="make a key and its entry for a keys file, which holds only its hash"
    )
    new.add_argument("name", help="its owner's name in the log and in the metrics: letters, digits, _ and -")
    new.add_argument(
        "--scopes", default="speak", help="speak (the default), metrics, admin, separated by commas"
    )
    new.add_argument(
        "--expires", metavar="TIME", help="when it ends: 2027-01-31T12:00:00Z; none, the default: never"
    )
    new.add_argument(
        "--share",
        type=float,
        default=1.0,
        help="how much of the machine its owner may have beside others (default: 1)",
    )
    new.add_argument("--file", type=Path, help="keys file (*.toml) to which the entry is added")
    new.set_defaults(run=_new)


def _new(parsed: argparse.Namespace) -> int:
    from streamer.server.key_entries import as_toml, named_key, new_key
    from streamer.server.key_files import add_entry

    text = new_key()
    scopes = [scope.strip() for scope in parsed.scopes.split(",")]
    expires = None if parsed.expires == "none" else parsed.expires
    key = named_key(parsed.name, text, scopes, expires, parsed.share)
    if key.has_expired(time.time()):
        raise ConfigError(f"key {key.name!r}: expires: {key.expiry} is past")
    if parsed.file is None:
        print(text, as_toml(key), sep="\n\n", end="")
        print("the key is shown only now; the entry belongs in the api_keys_file", file=sys.stderr)
    else:
        add_entry(parsed.file, key)
        print(text)
        print(f"{key.name} is in {parsed.file}; a running server reads it on SIGHUP", file=sys.stderr)
    return 0
