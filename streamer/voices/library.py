"""The voices a model can speak with: found at the start and whenever files change, and else only looked up by name."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from streamer.errors import CheckpointError, ConfigError, VoiceNotFoundError
from streamer.models.config import ModelConfig
from streamer.voices.voice import FILE_SUFFIXES, SEMANTIC_FILE, Voice, files_of

logger = logging.getLogger(__name__)
MODEL_DIRECTORIES = ("speaker_embeddings", "voices")
"""Of a model: Hugging Face's, as downloaded, and ours."""
NO_HISTORY = "random"
"""The voice that every model has: no history (Bark's `history_prompt=None`), so that it makes up a speaker."""
MAX_REMEMBERED = 4096
"""How many utterances keep the voices of their beginning. One that waits for its writer while so many others speak, and
whose voice is removed meanwhile, ends with an error."""
Stamp = tuple[int, int, int]
"""What tells a file from the one before it: its inode, its size in bytes, and when it was written, in ns."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """What was in a voice's files when they had these stamps: a voice, one of another model, or an error."""

    stamps: Sequence[Stamp | None]
    voice: Voice | None = None
    misfit: str | None = None
    error: CheckpointError | None = None


class VoiceLibrary:
    """Every `.npz` under the given directories, named by its path without the suffix: `v2/en_speaker_6`.

    So are the voices that Hugging Face keeps in three files each, `v2/en_speaker_6_semantic_prompt.npy` and so on.
    A name never becomes a path: what a client sends is only ever the key of a dict.
    Raises `CheckpointError`, with a line for each file that is no voice of this model, or called `random`: the last of
    the voices has that name, and is none. `shared` is a further directory, for the voices of several models: those of
    other models are skipped, and only a broken file is an error. With `keeps_errors` such files are in `errors`, and
    the other voices can be asked for.
    """

    def __init__(
        self,
        directories: Sequence[Path],
        config: ModelConfig,
        *,
        shared: Path | None = None,
        keeps_errors: bool = False,
    ) -> None:
        self._directories = directories
        self._shared = shared
        self._config = config
        self._stamps: Mapping[str, Stamp] = {}
        self._readings: dict[tuple[str, Path], _Reading] = {}
        self._voices: Mapping[str, Voice] = {}
        self._of_utterances: dict[str, Mapping[str, Voice]] = {}  # the one that spoke last is the last
        self.passed_over: tuple[str, ...] = ()
        self.errors = self._read()
        if self.errors and not keeps_errors:
            raise CheckpointError("\n".join(error.message for error in self.errors))

    def reload(self) -> None:
        """Read again what has changed or could not be read.

        What is wrong with a file is logged. Its voice stays as it was, or is left out if it was never read.
        """
        self._readings = {key: reading for key, reading in self._readings.items() if reading.error is None}
        self._read_again()

    def refresh(self) -> bool:
        """Do as `reload` if files have changed, and return whether they have; a broken file is logged once.

        To find that out is cheap. Raises `OSError` for a directory that cannot be read.
        """
        if self._take_stamps() == self._stamps:
            return False
        self._read_again()
        return True

    def _read_again(self) -> None:
        for error in self._read():
            logger.error("a voice cannot be read; nothing changes for it", extra={"reason": error.message})

    def _read(self) -> Sequence[CheckpointError]:
        """Take the voices of all directories; returns what is wrong with files that are new or have changed."""
        stamps_before = self._take_stamps()  # so that a change during the reading is found the next time
        voices: dict[str, Voice] = {}
        readings: dict[tuple[str, Path], _Reading] = {}
        errors: list[CheckpointError] = []
        misfits: dict[str, str] = {}
        for name, path, is_shared in self._scan():
            reading = self._readings.get((name, path))
            stamps = [_stamp_of(file) for file in files_of(path)]
            if reading is None or reading.stamps != stamps:
                reading = self._read_voice(name, path, stamps, is_shared=is_shared)
                if reading.error is not None and path.exists():
                    errors.append(reading.error)
            readings[name, path] = reading
            if reading.misfit is not None:
                misfits[name] = reading.misfit
            elif (voice := reading.voice or self._voices.get(name)) is not None:
                voices[name] = voice
        voices[NO_HISTORY] = Voice.without_history(self._config)
        if misfits and tuple(misfits) != self.passed_over:
            first, problem = next(iter(misfits.items()))
            extra = {
                "directory": str(self._shared),
                "voices": len(misfits),
                "first": first,
                "problem": problem,
            }
            logger.info("voices of another model are passed over", extra=extra)
        self.passed_over = tuple(misfits)
        self._readings = readings
        self._voices = voices
        self._stamps = stamps_before
        return errors

    def _scan(self) -> Iterator[tuple[str, Path, bool]]:
        """Name, path, and whether another model's voice may be there, of every voice; of one name the last counts."""
        for directory in self._directories:
            yield from ((name, path, False) for name, path in _scan(directory))
        if self._shared is not None:
            yield from ((name, path, True) for name, path in _scan(self._shared))

    def _read_voice(
        self, name: str, path: Path, stamps: Sequence[Stamp | None], *, is_shared: bool
    ) -> _Reading:
        try:
            if name == NO_HISTORY:
                raise CheckpointError(f"voice {path}: {name!r} means a speaker made up: give it another name")
            if not is_shared:
                return _Reading(stamps, Voice.load(path, self._config))
            voice = Voice.read(path)
            return _Reading(stamps, voice, misfit=voice.problem(self._config))
        except CheckpointError as error:
            return _Reading(stamps, error=error)

    def _take_stamps(self) -> Mapping[str, Stamp]:
        """Return the stamps of all files that may belong to voices, by their paths. Raises `OSError`."""
        directories = [*self._directories, *([] if self._shared is None else [self._shared])]
        return {path: stamp for directory in directories for path, stamp in _walk(str(directory))}

    @property
    def default(self) -> str:
        """The voice of a client that names none."""
        preferred = self._config.default_voice
        return preferred if preferred is not None and preferred in self._voices else next(iter(self._voices))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._voices)

    @property
    def num_prompts(self) -> int:
        """How many voices were found; `random` is not counted."""
        return len(self._voices) - 1

    def get(self, name: str, utterance_id: str = "") -> Voice:
        """Return the voice called `name`, for an utterance among those that were there when it asked first.

        Only the utterances that asked last are remembered. Raises `VoiceNotFoundError`.
        """
        voices = self._voices
        if utterance_id:
            voices = self._of_utterances.pop(utterance_id, voices)
            self._of_utterances[utterance_id] = voices
            if len(self._of_utterances) > MAX_REMEMBERED:
                del self._of_utterances[next(iter(self._of_utterances))]
        try:
            return voices[name]
        except KeyError:
            raise VoiceNotFoundError(f"there is no voice {name[:64]!r}", param="voice") from None


def voice_directories(model_directory: Path, own: Path | None) -> list[Path]:
    """The directories of a model's voices: those in its own directory, and the operator's `own`.

    Raises `ConfigError` if `own` is not there.
    """
    directories = [model_directory / name for name in MODEL_DIRECTORIES]
    if own is None:
        return directories
    if not own.is_dir():
        raise ConfigError(f"voices_directory {str(own)!r}: there is no such directory")
    return [*directories, own]


def _walk(directory: str) -> Iterator[tuple[str, Stamp]]:
    """(path, stamp) of the files under `directory` that may belong to voices; there are none if it does not exist."""
    try:
        entries = os.scandir(directory)
    except FileNotFoundError:
        return
    with entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path)
            elif entry.name.endswith(FILE_SUFFIXES) and (stamp := _stamp_of(entry.path)) is not None:
                yield entry.path, stamp


def _stamp_of(path: str | Path) -> Stamp | None:
    """Return the stamp of a file, or of what a link leads to; None if there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116  (called once a second for every file)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _scan(directory: Path) -> Iterator[tuple[str, Path]]:
    """(name, path) of the voices under `directory`, sorted.

    Links that lead out of it are skipped, and what is hidden: Kubernetes mounts its files below `..data`.
    """
    root = directory.resolve()
    for suffix in (SEMANTIC_FILE, ".npz"):
        for path in sorted(root.rglob(f"*{suffix}")):
            name, target = path.relative_to(root).as_posix().removesuffix(suffix), path.resolve()
            is_hidden = name.startswith(".") or "/." in name
            if target.is_relative_to(root) and target.is_file() and not is_hidden:
                yield name, target
