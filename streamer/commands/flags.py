"""Flags that several commands share: for the settings, for sampling, and for how a text is spoken."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamer.config import Config, load_config, options
from streamer.errors import InvalidParameterError
from streamer.sampling import COARSE_WINDOWS, RANGES

if TYPE_CHECKING:
    from streamer.api import SpeechOptions

MODEL_OPTIONS = (
    "model", "models_directory", "device", "dtype", "chunk_schedule", "num_threads", "voices_directory",
)  # fmt: skip


def add_speech_options(parser: argparse.ArgumentParser) -> None:
    """Add flags for who speaks, and how the text is read."""
    parser.add_argument("--voice", help="voice (default: the model's own)")
    parser.add_argument(
        "--continuity",
        help="what a sentence continues: preset (the default), chain (the voice's last sentence), or preset+chain",
    )
    parser.add_argument(
        "--speaker",
        action="append",
        default=[],
        metavar="LABEL=VOICE",
        help="the voice for what follows LABEL: in the text; may be repeated",
    )
    parser.add_argument("--language", help="a language of the model, or auto (the default)")
    parser.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        dest="normalizes",
        help="write out numbers, dates and the like (default: if the model needs it)",
    )
    parser.add_argument("--text-format", help="plain (the default), or chat for Markdown")
    parser.add_argument(
        "--markup",
        action=argparse.BooleanOptionalAction,
        help="follow pauses such as [pause:1.5] and tags of SSML in the text (default: yes)",
    )
    parser.add_argument("--speed", type=float, help="0.5 to 2 times as fast as usual (default: 1)")


def add_params(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each sampling parameter."""
    for name, allowed in RANGES.items():
        default = "a random one" if name == "seed" else "the model's own"
        shown = "d" if allowed.is_whole else "g"
        limits = f"{allowed.smallest:{shown}} to {allowed.largest:{shown}}"
        if name in COARSE_WINDOWS:
            limits = "tokens, as many as the model takes"
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=f"param_{name}",
            metavar=name.upper(),
            type=int if allowed.is_whole else float,
            help=f"{limits} (default: {default})",
        )


def add_options(parser: argparse.ArgumentParser, names: tuple[str, ...]) -> None:
    """Add a flag for each named option of the settings, whose values `config` checks."""
    parser.add_argument("--config", type=Path, help="TOML file with settings")
    taken = {string for action in parser._actions for string in action.option_strings}
    for option in options():
        if option.name in names and option.flag not in taken:
            choices = f"; one of {', '.join(option.choices)}" if option.choices else ""
            default = "" if option.default in (None, ()) else f" (default: {option.default})"
            parser.add_argument(
                option.flag,
                dest=f"option_{option.name}",
                action="append" if option.is_list else "store",
                metavar=option.name.upper(),
                help=f"{option.help}{choices}{default}".replace("%", "%%"),
            )


def read_settings(parsed: argparse.Namespace) -> Config:
    """Return the settings, with the flags of `add_options`. Raises `ConfigError`."""
    flags = {
        name.removeprefix("option_"): ",".join(value) if isinstance(value, list) else value
        for name, value in vars(parsed).items()
        if name.startswith("option_")
    }
    return load_config(parsed.config, flags=flags)


def read_speech_options(parsed: argparse.Namespace, lexicon: Path | None = None) -> SpeechOptions:
    """Return what the flags of `add_speech_options` and `add_params` say, with the lexicon of a file.

    Raises `InvalidParameterError` for a speaker without a voice, and `ConfigError` for the lexicon.
    """
    from streamer.api import SpeechOptions
    from streamer.text.lexicon import Lexicon
    from streamer.text.reading import TextOptions

    params = _given(parsed, *RANGES, prefix="param_")
    words = None if lexicon is None else Lexicon.read(lexicon)
    if wrong := [speaker for speaker in parsed.speaker if "=" not in speaker]:
        raise InvalidParameterError(f"--speaker {wrong[0]!r}: write LABEL=VOICE")
    speakers = dict(speaker.split("=", 1) for speaker in parsed.speaker)
    reading = TextOptions(**_given(parsed, "language", "normalizes", "text_format", "markup"), lexicon=words)
    seed = params.pop("seed", None)
    speech_options = _given(parsed, "voice", "continuity", "speed")
    return SpeechOptions(seed=seed, params=params, speakers=speakers, reading=reading, **speech_options)


def _given(parsed: argparse.Namespace, *names: str, prefix: str = "") -> dict[str, Any]:
    """Return the flags that were given: those that were not keep the defaults of what they are for."""
    values = {name: getattr(parsed, prefix + name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def check_output(path: Path) -> None:
    """Raise `InvalidParameterError`, before the work and not after it, if no audio can be written to `path`."""
    if path.suffix not in (".ogg", ".opus", ".wav"):
        raise InvalidParameterError(f"{str(path)!r}: the name must end in .ogg, .opus or .wav")
    if path.is_dir() or not path.parent.is_dir():
        raise InvalidParameterError(f"{str(path)!r}: no file can be written there")
