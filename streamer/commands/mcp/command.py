"""The command `streamer mcp`: tools for assistants that speak the Model Context Protocol."""

from __future__ import annotations

import argparse
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.commands.flags import MODEL_OPTIONS, add_options, read_settings
from streamer.errors import InvalidParameterError

if TYPE_CHECKING:
    from streamer.commands.mcp.speech import Speech


def add_mcp_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of `streamer`."""
    parser = commands.add_parser(
        "mcp", help="offer speech to an assistant as MCP tools over standard input and output"
    )
    parser.add_argument("--url", help="address of a running server (default: a model in this process)")
    parser.add_argument("--key-file", type=Path, help="file with the server's API key in its first line")
    parser.add_argument(
        "--folder", type=Path, help="folder that the tool may write files into (default: none)"
    )
    parser.add_argument(
        "--player",
        metavar="COMMAND",
        help="command that plays raw 16-bit samples at 24 kHz, such as 'aplay -q -t raw -f S16_LE -r 24000'",
    )
    add_options(parser, (*MODEL_OPTIONS, "lexicon"))
    parser.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    if find_spec("mcp") is None:
        raise InvalidParameterError("the package `mcp` is not installed: pip install 'bark-streamer[mcp]'")
    from streamer.commands.mcp.destinations import Folder, Player
    from streamer.commands.mcp.tools import Destinations, create_server

    destinations = Destinations(
        None if parsed.folder is None else Folder(parsed.folder),
        None if parsed.player is None else Player(parsed.player),
    )
    create_server(_speech(parsed), destinations, version("bark-streamer")).run("stdio")
    return 0


def _speech(parsed: argparse.Namespace) -> Speech:
    from streamer.commands.mcp.speech import LocalSpeech, RemoteSpeech
    from streamer.text.lexicon import Lexicon
    from streamer.text.reading import TextOptions

    if parsed.url is not None:
        return RemoteSpeech(parsed.url, None if parsed.key_file is None else _key(parsed.key_file))
    config = read_settings(parsed)
    lexicon = config.speech.lexicon
    return LocalSpeech(config.engine, TextOptions(lexicon=None if lexicon is None else Lexicon.read(lexicon)))


def _key(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidParameterError(f"--key-file {path}: {error}") from None
    key = lines[0].partition("#")[0].strip() if lines else ""
    if not key:
        raise InvalidParameterError(f"--key-file {path}: its first line holds no key")
    return key
