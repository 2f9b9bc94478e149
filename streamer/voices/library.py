"""The voices a model can speak with: found at the start, or when the operator asks, and else only looked up by name."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from streamer.errors import CheckpointError, ConfigError, VoiceNotFoundError
from streamer.models.config import ModelConfig
from streamer.voices.voice import SEMANTIC_FILE, Voice

logger = logging.getLogger(__name__)
MODEL_DIRECTORIES = ("speaker_embeddings", "voices")
"""Of a model: Hugging Face's, as downloaded, and ours."""
NO_HISTORY = "random"
"""The voice that every model has: no history (Bark's `history_prompt=None`), so that it makes up a speaker."""


class VoiceLibrary:
    """Every `.npz` under the given directories, named by its path without the suffix: `v2/en_speaker_6`.

    So are the voices that Hugging Face keeps in three files each, `v2/en_speaker_6_semantic_prompt.npy` and so on.
    A name never becomes a path: what a client sends is only ever the key of a dict.
    Raises `CheckpointError` for a file that is no voice of this model, or called `random`: the last of the voices has
    that name, and is none. `shared` is a further directory, for the voices
    of several models: those of other models are skipped, and only a broken file is an error.
    """

    def __init__(
        self, directories: Sequence[Path], config: ModelConfig, *, shared: Path | None = None
    ) -> None:
        self._directories = directories
        self._shared = shared
        self._config = config
        self.passed_over: tuple[str, ...] = ()
        self._voices = self._read()

    def reload(self) -> None:
        """Read the directories again. Raises `CheckpointError`, and then the old voices stay."""
        self._voices = self._read()

    def _read(self) -> dict[str, Voice]:
        config = self._config
        voices = {
            name: Voice.load(path, config)
            for directory in self._directories
            for name, path in _scan(directory)
        }
        if self._shared is not None:
            voices |= self._fitting(self._shared)
        voices[NO_HISTORY] = Voice.without_history(config)
        return voices

    @property
    def default(self) -> str:
        """The voice of a client that names none."""
        preferred = self._config.default_voice
        return preferred if preferred in self._voices else next(iter(self._voices))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._voices)

    @property
    def num_prompts(self) -> int:
        """How many voices were found; `random` is not counted."""
        return len(self._voices) - 1

    def get(self, name: str) -> Voice:
        """The voice called `name`. Raises `VoiceNotFoundError`."""
        try:
            return self._voices[name]
        except KeyError:
            raise VoiceNotFoundError(f"there is no voice {name[:64]!r}", param="voice") from None

    def _fitting(self, directory: Path) -> dict[str, Voice]:
        """Return the voices of the directory that are this model's."""
        problems: dict[str, str] = {}
        fitting: dict[str, Voice] = {}
        for name, path in _scan(directory):
            voice = Voice.read(path)
            if problem := voice.problem(self._config):
                problems[name] = problem
            else:
                fitting[name] = voice
        self.passed_over = tuple(problems)
        if problems:
            logger.info(
                "voices of another model are passed over",
                extra={"directory": str(directory), "voices": len(problems), **_first(problems)},
            )
        return fitting


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


def _first(problems: dict[str, str]) -> dict[str, str]:
    name, problem = next(iter(problems.items()))
    return {"first": name, "problem": problem}


def _scan(directory: Path) -> Iterator[tuple[str, Path]]:
    """(name, path) of the voices under `directory`, sorted; links that lead out of it are skipped."""
    root = directory.resolve()
    for suffix in (SEMANTIC_FILE, ".npz"):
        for path in sorted(root.rglob(f"*{suffix}")):
            target = path.resolve()
            if target.is_relative_to(root) and target.is_file():
                name = path.relative_to(root).as_posix().removesuffix(suffix)
                if name == NO_HISTORY:
                    raise CheckpointError(
                        f"voice {path}: {name!r} means a speaker made up: give it another name"
                    )
                yield name, target
