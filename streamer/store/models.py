"""Installs models, downloaded from a hub or converted from other layouts: each one completely, or not at all."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from streamer.errors import CheckpointError, StoreError
from streamer.models.files.checkpoint import convert_model, read_model_config
from streamer.store.catalogue import CODEC_ADDRESS, CODEC_FILE, CODEC_SHA256_PREFIX, ORIGINAL_FILES, VOICES
from streamer.store.hub import Progress, Repository, fetch, fetch_address, sha256
from streamer.store.installed import NAME
from streamer.text.tokens.tokenizer import load_model_tokenizer
from streamer.voices.library import MODEL_DIRECTORIES
from streamer.voices.voice import PROMPT_KEYS

MANIFEST: Final = "manifest.json"
_PARTIAL: Final = ".partial"
_TOKENIZERS: Final = ("tokenizer.json", "vocab.txt")
_WHOLE_WEIGHTS: Final = ("model.safetensors", "pytorch_model.bin")
_SHARD: Final = re.compile(r"(model|pytorch_model)-\d{5}-of-\d{5}\.(safetensors|bin)")


@dataclass(frozen=True, slots=True)
class Manifest:
    """Records the origin of a model, and the SHA-256 of each of its files by path."""

    repository: str | None
    revision: str | None
    licence: str | None
    files: dict[str, str]

    def write(self, directory: Path) -> None:
        (directory / MANIFEST).write_text(json.dumps(asdict(self), indent=1) + "\n")


def read_manifest(directory: Path) -> Manifest | None:
    """Return the manifest of a model, or None if it has none. Raises `StoreError` for a broken one."""
    path = directory / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = Manifest(**json.loads(path.read_bytes()))
        texts = [*manifest.files, *manifest.files.values()]
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"{path} is not a manifest: {error}") from error
    if not all(isinstance(text, str) for text in texts):
        raise StoreError(f"{path} is not a manifest: `files` must be checksums by path")
    return manifest


def installed_name(repository: Repository, original: str | None) -> str:
    """Return the name that a model is installed under; Suno's own files are another model than Hugging Face's."""
    return repository.name if original is None else f"{repository.name}-{original}-original"


def files_of(repository: Repository, original: str | None) -> tuple[str, ...]:
    """Return the paths of the files that are needed: weights, config, vocabulary and two voices.

    `original` selects Suno's own files, "large" or "small", instead of Hugging Face's weights. Raises `StoreError` if
    the repository lacks a file that a model cannot do without.
    """
    there = repository.files
    tokenizer = next((name for name in _TOKENIZERS if name in there), None)
    weights = _weights(repository) if original is None else ORIGINAL_FILES[original]
    config = ("config.json",) if original is None else ()
    needed = (*config, *weights, tokenizer or _TOKENIZERS[0])
    if missing := [name for name in needed if name not in there]:
        raise StoreError(f"{repository.name} has no {missing[0]}: it is not a repository of Bark")
    voices = [f"speaker_embeddings/{voice}_{key}.npy" for voice in VOICES for key in PROMPT_KEYS]
    return (*needed, *(name for name in voices if name in there))


def pull(
    repository: Repository,
    directory: Path,
    *,
    original: str | None = None,
    on_progress: Progress = lambda _: None,
) -> Path:
    """Install a model below `directory`, and return its directory. A run that broke off is continued.

    Raises `StoreError` if the network fails, and `CheckpointError` if the files are not Bark's; neither leaves
    anything that looks like a model.
    """
    name = installed_name(repository, original)
    partial = directory / _PARTIAL / name.replace("/", "--")
    partial.mkdir(parents=True, exist_ok=True)
    digests = fetch(repository, files_of(repository, original), partial, on_progress=on_progress)
    if original is not None:
        digests[CODEC_FILE] = fetch_address(
            CODEC_ADDRESS, partial / CODEC_FILE, sha256_prefix=CODEC_SHA256_PREFIX, on_progress=on_progress
        )
    try:
        _check(partial)
    except CheckpointError:
        shutil.rmtree(partial)  # The hub has it so: another run would change nothing.
        raise
    Manifest(repository.name, repository.commit, repository.licence, digests).write(partial)
    return _install(partial, directory / name)


def convert(source: Path, target: Path, *, dtype: str, parts: Mapping[str, Path]) -> Path:
    """Write the model in `source` in our layout, with its vocabulary and voices, and return `target`.

    `parts` are the models that single stages (semantic, coarse, fine) are taken from. Raises `CheckpointError`, and
    leaves nothing at `target`, if a file is broken or the parts do not fit together.
    """
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        convert_model(source, partial, dtype=dtype, parts=parts)
        _check(partial)
        for folder in MODEL_DIRECTORIES:
            if (source / folder).is_dir():
                shutil.copytree(source / folder, partial / folder, ignore=_all_but_voices)
        origin = read_manifest(source) or Manifest(None, None, None, {})
        files = sorted(path for path in partial.rglob("*") if path.is_file())
        digests = {path.relative_to(partial).as_posix(): sha256(path) for path in files}
        Manifest(origin.repository, origin.revision, origin.licence, digests).write(partial)
        return _install(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_name(name: str) -> str:
    """Return `name`. Raises `StoreError` if it cannot be the name of a model."""
    if NAME.fullmatch(name):
        return name
    raise StoreError(f"{name[:200]!r} is not the name of a model: give owner/name, such as suno/bark")


def _check(directory: Path) -> None:
    """Raise `CheckpointError` if the files are not Bark's, or do not fit together."""
    load_model_tokenizer(read_model_config(directory), directory)


def _weights(repository: Repository) -> tuple[str, ...]:
    there = repository.files
    for name in _WHOLE_WEIGHTS:
        if name in there:
            return (name,)
        if f"{name}.index.json" in there:
            stem, _, suffix = name.rpartition(".")
            shards = [file for file in there if _SHARD.fullmatch(file)]
            return (
                f"{name}.index.json",
                *(file for file in shards if file.startswith(stem) and file.endswith(suffix)),
            )
    raise StoreError(f"{repository.name} has no {' or '.join(_WHOLE_WEIGHTS)}: it has no weights of Bark's")


def _install(partial: Path, target: Path) -> Path:
    """Move the finished directory to its place in one step, and delete the one that was there before."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        old = target.with_name(f".{target.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
        partial.rename(target)
        shutil.rmtree(old)
    else:
        partial.rename(target)
    return target


def _all_but_voices(folder: str, names: list[str]) -> list[str]:
    """Ignore all files of a folder of voices but the voices themselves, and all links."""
    paths = [Path(folder, name) for name in names]
    return [
        path.name
        for path in paths
        if path.is_symlink() or not (path.is_dir() or path.suffix in (".npz", ".npy"))
    ]
