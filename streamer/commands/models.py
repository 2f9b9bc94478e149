"""The commands `streamer models …`: list, pull, convert, describe and verify models; `cli` adds them to its own."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.commands.flags import add_options, read_settings
from streamer.errors import StoreError
from streamer.store.catalogue import KNOWN
from streamer.store.installed import find_model, installed_models, models_directory

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    Commands = _SubParsersAction[argparse.ArgumentParser]

PLACE_OPTIONS = ("models_directory",)
STAGES = ("semantic", "coarse", "fine")


def add_models_commands(commands: Commands) -> None:
    """Add `models` and its actions."""
    models = commands.add_parser("models", help="list, pull, convert and verify models")
    actions = models.add_subparsers(required=True, metavar="action")

    listing = actions.add_parser("list", help="list the installed models, and those that can be pulled")
    add_options(listing, PLACE_OPTIONS)
    listing.set_defaults(run=_list)

    pull = actions.add_parser("pull", help="install a model from Hugging Face")
    pull.add_argument("name", help="suno/bark, suno/bark-small, or another repository with Bark's files")
    pull.add_argument("--revision", help="branch, tag or commit of the repository")
    pull.add_argument(
        "--original", choices=("large", "small"), help="Suno's own files instead, from suno/bark"
    )
    pull.add_argument("--force", action="store_true", help="download it even if it is installed")
    add_options(pull, PLACE_OPTIONS)
    pull.set_defaults(run=_pull)

    convert = actions.add_parser("convert", help="write a model as plain safetensors, in one dtype")
    convert.add_argument("source", type=Path, help="an installed model's name, or a directory")
    convert.add_argument("-o", "--output", type=Path, help="directory to create (default: replace the model)")
    convert.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    for stage in STAGES:
        convert.add_argument(
            f"--{stage}", type=Path, metavar="MODEL", help=f"take the {stage} stage from this model"
        )
    add_options(convert, PLACE_OPTIONS)
    convert.set_defaults(run=_convert)

    info = actions.add_parser("info", help="describe a model: sizes, languages, tags, origin")
    info.add_argument("name", type=Path, nargs="?", help="name or directory (default: the built-in voice)")
    add_options(info, PLACE_OPTIONS)
    info.set_defaults(run=_info)

    verify = actions.add_parser(
        "verify", help="check that a model is complete, and generates what was published"
    )
    verify.add_argument("name", type=Path, help="name or directory")
    add_options(verify, ("models_directory", "device"))
    verify.set_defaults(run=_verify)


def _list(parsed: argparse.Namespace) -> int:
    from streamer.store.hub import megabytes

    directory = models_directory(read_settings(parsed).engine)
    installed = installed_models(directory)
    for name, path in installed.items():
        print(f"{name:24}  installed, {megabytes(_size_bytes(path))}, in {path}")
    for name, known in KNOWN.items():
        if name not in installed:
            print(
                f"{name:24}  available, {megabytes(known.download_bytes)}, {known.licence}: {known.description}"
            )
    return 0


def _pull(parsed: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    from streamer.store.hub import check_space, look_up, megabytes
    from streamer.store.models import check_name, files_of, installed_name, pull

    directory = models_directory(read_settings(parsed).engine)
    repository = look_up(check_name(parsed.name), revision=parsed.revision)
    name = installed_name(repository, parsed.original)
    if name in installed_models(directory) and not parsed.force:
        raise StoreError(f"{name} is installed already: give --force to download it again")
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
        task = progress.add_task("downloading", total=size_bytes)
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

    directory = models_directory(read_settings(parsed).engine)
    source = find_model(parsed.source, directory)
    parts = {
        stage: find_model(given, directory)
        for stage in STAGES
        if (given := getattr(parsed, stage)) is not None
    }
    if parsed.output is not None and parsed.output.exists():
        raise StoreError(f"{str(parsed.output)!r} exists: name a directory that does not exist yet")
    if parsed.output is None and source not in installed_models(directory).values():
        raise StoreError(
            f"{str(source)!r} is not an installed model: name the directory of the converted one with --output"
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

    engine = read_settings(parsed).engine
    path = BUILTIN_MODEL if parsed.name is None else find_model(parsed.name, models_directory(engine))
    config = read_model_config(path)
    voices = VoiceLibrary(voice_directories(path, None), config)
    about = f"{config.codec.sample_rate_hz} Hz, {voices.num_prompts} voice(s), {megabytes(_size_bytes(path))}"
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
    from streamer.store.verify import verify

    config = read_settings(parsed)
    path = find_model(parsed.name, models_directory(config.engine))
    bad = []
    for check in verify(path, device=choose_device(config.engine.device)):
        mark = {True: "good", False: "BAD", None: "-"}[check.is_good]
        print(f"{mark:4}  {check.name}: {check.found}", flush=True)
        if check.is_good is False:
            bad.append(check)
    if bad:
        raise StoreError(f"{bad[0].name}: {bad[0].found}")
    return 0


def _size_bytes(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
