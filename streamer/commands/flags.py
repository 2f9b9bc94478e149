"""Flags that several commands share: the settings', the sampling knobs', and the manner of speaking; used by `cli`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.config import Config, load_config, options
from streamer.errors import InvalidParameterError
from streamer.sampling import RANGES

if TYPE_CHECKING:
    from streamer.api import SpeechOptions

MODEL_OPTIONS = (
    "model", "models_directory", "device", "dtype", "chunk_frames", "num_threads", "voices_directory",
)  # fmt: skip


def add_manner(parser: argparse.ArgumentParser) -> None:
    """Flags for who speaks, and how the text is read."""
    parser.add_argument("--voice", help="voice; none: the model's own")
    parser.add_argument(
        "--continuity",
        default="preset",
        help="what a sentence goes on from: preset (default), chain (the voice's last sentence), preset+chain",
    )
    parser.add_argument(
        "--speaker",
        action="append",
        default=[],
        metavar="LABEL=VOICE",
        help="the voice of what follows LABEL: in the text; may be given again",
    )
    parser.add_argument("--language", default="auto", help="one of the model's, or auto (default)")
    parser.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        help="write numbers and the like out first (default: as the model needs it)",
    )
    parser.add_argument("--text-format", default="plain", help="plain (default), or chat: Markdown")


def add_params(parser: argparse.ArgumentParser) -> None:
    """A flag for each sampling knob."""
    for name, allowed in RANGES.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=f"param_{name}",
            type=int if allowed.is_whole else float,
            help=f"{allowed.smallest:g} to {allowed.largest:g}; without it the model's own",
        )


def add_options(parser: argparse.ArgumentParser, names: tuple[str, ...]) -> None:
    """A flag for each named option of the settings; `config` checks the values."""
    parser.add_argument("--config", type=Path, help="TOML file with settings")
    taken = {string for action in parser._actions for string in action.option_strings}
    for option in options():
        if option.name in names and option.flag not in taken:
            choices = f"; one of {', '.join(option.choices)}" if option.choices else ""
            text = f"{option.help}{choices} (default: {option.default})"
            parser.add_argument(option.flag, dest=f"option_{option.name}", help=text.replace("%", "%%"))


def read_settings(parsed: argparse.Namespace) -> Config:
    """The settings with what `add_options` was given. Raises `ConfigError`."""
    flags = {
        name.removeprefix("option_"): value
        for name, value in vars(parsed).items()
        if name.startswith("option_")
    }
    return load_config(parsed.config, flags=flags)


def read_manner(parsed: argparse.Namespace) -> SpeechOptions:
    """What `add_manner` and `add_params` were given. Raises `InvalidParameterError` for a speaker without a voice."""
    from streamer.api import SpeechOptions
    from streamer.text.reading import TextOptions

    given = {name: getattr(parsed, f"param_{name}") for name in RANGES}
    params = {name: value for name, value in given.items() if value is not None}
    if wrong := [speaker for speaker in parsed.speaker if "=" not in speaker]:
        raise InvalidParameterError(f"--speaker {wrong[0]!r}: it is written LABEL=VOICE")
    speakers = dict(speaker.split("=", 1) for speaker in parsed.speaker)
    reading = TextOptions(parsed.language, parsed.normalize, parsed.text_format)
    return SpeechOptions(parsed.voice, parsed.param_seed, params, parsed.continuity, speakers, reading)


def check_output(path: Path) -> None:
    """Raise `InvalidParameterError`, before the work and not after it, where no sound can be written to `path`."""
    if path.suffix not in (".ogg", ".opus", ".wav"):
        raise InvalidParameterError(f"{str(path)!r}: the name must end in .ogg, .opus or .wav")
    if path.is_dir() or not path.parent.is_dir():
        raise InvalidParameterError(f"{str(path)!r}: no file can be written there")
