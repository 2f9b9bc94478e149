"""Downloads Bark's voices from a Hugging Face repository, in either of their two layouts; used by `voices pull`."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from streamer.errors import CheckpointError, StoreError
from streamer.models.config import SMALL
from streamer.options import suggestion
from streamer.store.hub import Progress, Repository, fetch, is_inside
from streamer.store.voices import install
from streamer.voices.presets import PRESETS, language_of
from streamer.voices.voice import LARGEST_BYTES, PROMPT_KEYS, Voice

INDEX: Final = "speaker_embeddings_path.json"
"""The index of repositories with one `.npy` for each array: the three files of each voice."""
FOLDERS: Final = ("", "speaker_embeddings/", "voices/", "bark/assets/prompts/")
"""The folders that `.npz` files are looked for in, in repositories that have those."""
MAX_INDEX_BYTES: Final = 4 << 20

Files = tuple[str, ...]
"""The paths of a voice in a repository: one `.npz`, or one `.npy` for each of `PROMPT_KEYS`."""


def presets(names: Sequence[str], language: str | None = None) -> tuple[str, ...]:
    """Return the named ones of Bark's voices, or those of a language, or all. Raises `StoreError` for unknown names."""
    for name in names:
        if name not in PRESETS:
            raise StoreError(
                f"{name[:100]!r} is not one of Bark's voices, such as v2/en_speaker_6{suggestion(name, PRESETS)}"
            )
    if language is not None and language not in SMALL.languages:
        raise StoreError(
            f"Bark has no voices of {language[:100]!r}: choose among {', '.join(SMALL.languages)}"
        )
    if language is not None:
        return tuple(name for name in PRESETS if language_of(name, SMALL.languages) == language)
    return tuple(dict.fromkeys(names)) or PRESETS


def find(repository: Repository) -> dict[str, Files]:
    """Return Bark's voices in the repository, each with its files. Raises `StoreError` for a wrong index."""
    found: dict[str, Files] = {
        name: (path,)
        for name in PRESETS
        for folder in FOLDERS
        if (path := f"{folder}{name}.npz") in repository.files
    }
    if INDEX not in repository.files:
        return found
    index = _read_index(repository)
    return {name: _indexed(index[name], name, repository) for name in PRESETS if name in index} | found


def pull(repository: Repository, name: str, files: Files, directory: Path, on_progress: Progress) -> None:
    """Download a voice, check that Bark can use it, and install it in `directory`.

    Raises `StoreError`, and installs nothing, if the network fails or the files are not a voice.
    """
    if repository.size_bytes(files) > LARGEST_BYTES:
        raise StoreError(f"{name} of {repository.name} is too large for a voice")
    with tempfile.TemporaryDirectory() as folder:
        fetched = Path(folder, "fetched")
        fetch(repository, files, fetched, on_progress=on_progress)
        path = fetched / files[0]
        if len(files) > 1:
            for key, file in zip(PROMPT_KEYS, files, strict=True):
                shutil.copyfile(fetched / file, Path(folder, f"voice_{key}.npy"))
            path = Path(folder, f"voice_{PROMPT_KEYS[0]}.npy")
        try:
            voice = Voice.read(path)
        except CheckpointError as error:
            raise StoreError(f"{repository.name}: {error.message.replace(str(path), name)}") from error
        install(voice, name, directory, SMALL)


def _read_index(repository: Repository) -> Mapping[str, Any]:
    if repository.size_bytes([INDEX]) > MAX_INDEX_BYTES:
        raise StoreError(f"{INDEX} of {repository.name} is too large")
    with tempfile.TemporaryDirectory() as folder:
        fetch(repository, [INDEX], Path(folder))
        try:
            index = json.loads(Path(folder, INDEX).read_bytes())
        except (ValueError, RecursionError) as error:
            raise StoreError(f"{INDEX} of {repository.name} is not JSON: {error}") from error
    if not isinstance(index, dict):
        raise StoreError(f"{INDEX} of {repository.name} names no voices")
    return index


def _indexed(entry: object, name: str, repository: Repository) -> Files:
    """Return the files that the index names for a voice, in the order of `PROMPT_KEYS`."""
    paths = [entry.get(key) if isinstance(entry, dict) else None for key in PROMPT_KEYS]
    files = tuple(path for path in paths if isinstance(path, str))
    if len(files) < len(PROMPT_KEYS):
        raise StoreError(f"{INDEX} of {repository.name} does not name the files of {name}")
    for path in files:
        if not is_inside(path):
            raise StoreError(f"{INDEX} of {repository.name}: {path[:200]!r} leads out of the repository")
        if path not in repository.files:
            raise StoreError(
                f"{INDEX} of {repository.name}: there is no {path[:200]!r}, which it names for {name}"
            )
    return files
