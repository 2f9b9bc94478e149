"""The commands `streamer models …`: what the operator installs, and what is there; added to `cli`'s."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.commands.flags import add_options, read_settings
from streamer.config import Config, default_models_directory
from streamer.errors import StoreError
from streamer.store.catalogue import KNOWN
from streamer.store.installed import find_model, installed_models

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    Commands = _SubParsersAction[argparse.ArgumentParser]

PLACE_OPTIONS = ("models_directory",)
STAGES = ("semantic", "coarse", "fine")


def add_models_commands(commands: Commands) -> None:
    """Add `models` with its own commands."""
    models = commands.add_parser("models", help="list, pull, convert and verify models")
    actions = models.add_subparsers(required=True, metavar="action")

    listing = actions.add_parser("list", help="the models that are installed, and those that are known")
    add_options(listing, PLACE_OPTIONS)
    listing.set_defaults(run=_list)

    pull = actions.add_parser("pull", help="install a model from Hugging Face")
    pull.add_argument("name", help="suno/bark, suno/bark-small, or any repository of Bark's")
    pull.add_argument("--revision", help="branch, tag or commit of it")
    pull.add_argument(
        "--original", choices=("large", "small"), help="Suno's own files instead, from suno/bark"
    )
    pull.add_argument("--force", action="store_true", help="fetch also what is installed")
    add_options(pull, PLACE_OPTIONS)
    pull.set_defaults(run=_pull)

    convert = actions.add_parser("convert", help="write a model as plain safetensors, in one number format")
    convert.add_argument("source", type=Path, help="an installed model's name, or a directory")
    convert.add_argument("-o", "--output", type=Path, help="directory to make; none: in its own place")
    convert.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    for stage in STAGES:
        convert.add_argument(
            f"--{stage}", type=Path, metavar="MODEL", help=f"take the {stage} stage from this one"
        )
    add_options(convert, PLACE_OPTIONS)
    convert.set_defaults(run=_convert)

    info = actions.add_parser("info", help="what a model is, has and needs")
    info.add_argument("name", type=Path, nargs="?", help="name or directory; none: the built-in voice")
    add_options(info, PLACE_OPTIONS)
    info.set_defaults(run=_info)

    verify = actions.add_parser("verify", help="whether a model is whole, and says what was published of it")
    verify.add_argument("name", type=Path, help="name or directory")
    add_options(verify, ("models_directory", "device"))
    verify.set_defaults(run=_verify)


def _directory(config: Config) -> Path:
    directory = config.engine.models_directory or default_models_directory()
    if directory is None:
        raise StoreError("there is no home directory: say where models are to be, with --models-directory")
    return directory


def _list(parsed: argparse.Namespace) -> int:
    from streamer.store.hub import megabytes

    directory = _directory(read_settings(parsed))
    installed = installed_models(directory)
    for name, path in installed.items():
        size_bytes = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        print(f"{name:24}  installed, {megabytes(size_bytes)}, in {path}")
    for name, known in KNOWN.items():
        if name not in installed:
            print(
                f"{name:24}  to be pulled, {megabytes(known.download_bytes)}, {known.licence}: {known.description}"
            )
    return 0


def _pull(parsed: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    from streamer.store.hub import check_space, look_up, megabytes
    from streamer.store.models import check_name, files_of, installed_name, pull

    directory = _directory(read_settings(parsed))
    repository = look_up(check_name(parsed.name), revision=parsed.revision)
    name = installed_name(repository, parsed.original)
    if name in installed_models(directory) and not parsed.force:
        raise StoreError(f"{name} is installed already: give --force to fetch it again")
    size_bytes = repository.size_bytes(files_of(repository, parsed.original))
    known = KNOWN.get(repository.name)
    print(f"{repository.name} {repository.commit[:12]}, licence: {repository.licence or 'not stated'}")
    print(
        f"{megabytes(size_bytes)} on disk"
        + (f", about {megabytes(known.memory_bytes)} of memory" if known else "")
    )
    check_space(directory, size_bytes)
    columns = (*Progress.get_default_columns()[:1], BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("fetching", total=size_bytes)
        path = pull(
            repository,
            directory,
            original=parsed.original,
            on_progress=lambda more: progress.advance(task, more),
        )
    print(f"{name}: {path}; `streamer serve --model {name}` speaks with it")
    return 0


def _convert(parsed: argparse.Namespace) -> int:
    from rich.console import Console

    from streamer.store.models import convert

    directory = _directory(read_settings(parsed))
    source = find_model(parsed.source, directory)
    parts = {
        stage: find_model(given, directory)
        for stage in STAGES
        if (given := getattr(parsed, stage)) is not None
    }
    if parsed.output is not None and parsed.output.exists():
        raise StoreError(f"{str(parsed.output)!r} exists: name a directory that is to be made")
    if parsed.output is None and source not in installed_models(directory).values():
        raise StoreError(
            f"{str(source)!r} is not installed: say with --output where the converted model is to be"
        )
    with Console(stderr=True).status("converting"):
        path = convert(source, parsed.output or source, dtype=parsed.dtype, parts=parts)
    print(f"{path}: {parsed.dtype}")
    return 0


def _info(parsed: argparse.Namespace) -> int:
    from streamer.assembly import BUILTIN_MODEL
    from streamer.models.files.checkpoint import read_model_config
    from streamer.store.hub import megabytes
    from streamer.store.models import read_manifest
    from streamer.voices.library import VoiceLibrary, voice_directories

    path = (
        BUILTIN_MODEL if parsed.name is None else find_model(parsed.name, _directory(read_settings(parsed)))
    )
    config = read_model_config(path)
    voices = VoiceLibrary(voice_directories(path, None), config)
    size_bytes = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    about = f"{config.codec.sample_rate_hz} Hz, {voices.num_prompts} voice(s), {megabytes(size_bytes)}"
    print(f"{config.name}: {about}, in {path}")
    for stage in STAGES:
        sizes = getattr(config, stage).transformer
        print(f"{stage}: {sizes.num_layers} layers, {sizes.num_heads} heads, width {sizes.width}")
    print(f"languages: {', '.join(config.languages) or 'none'}")
    print(f"tags: {', '.join(config.tags) or 'none'}")
    manifest = read_manifest(path)
    if manifest is not None and manifest.repository is not None:
        print(f"from {manifest.repository} {manifest.revision}, licence: {manifest.licence or 'not stated'}")
    return 0


def _verify(parsed: argparse.Namespace) -> int:
    from streamer.assembly import choose_device
    from streamer.store.verify import check_all, verify

    config = read_settings(parsed)
    path = find_model(parsed.name, _directory(config))
    check_all(verify(path, device=choose_device(config.engine.device)))
    return 0
