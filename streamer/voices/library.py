"""The voices a model can speak with: found once, at start-up, and from then on only looked up by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from streamer.errors import VoiceNotFoundError
from streamer.models.vocabulary import ModelConfig
from streamer.voices.voice import SEMANTIC_FILE, Voice

NO_HISTORY = "random"
"""The one voice of a model that brings none."""


class VoiceLibrary:
    """Every `.npz` under the given directories, named by its path without the suffix: `v2/en_speaker_6`.

    So are the voices that Hugging Face keeps in three files each, `v2/en_speaker_6_semantic_prompt.npy` and so on.
    A name never becomes a path: what a client sends is only ever the key of a dict.
    Raises `CheckpointError` for a file that is no voice of this model.
    """

    def __init__(self, directories: Sequence[Path], config: ModelConfig) -> None:
        self._voices = {
            name: Voice.load(path, config) for directory in directories for name, path in _scan(directory)
        }
        if not self._voices:
            self._voices[NO_HISTORY] = Voice.without_history(config)
        preferred = config.default_voice
        self.default = preferred if preferred in self._voices else next(iter(self._voices))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._voices)

    def get(self, name: str) -> Voice:
        """The voice called `name`. Raises `VoiceNotFoundError`."""
        try:
            return self._voices[name]
        except KeyError:
            raise VoiceNotFoundError(f"there is no voice {name[:64]!r}", param="voice") from None


def _scan(directory: Path) -> Iterator[tuple[str, Path]]:
    """(name, path) of the voices under `directory`, sorted; links that lead out of it are passed over."""
    root = directory.resolve()
    for suffix in (SEMANTIC_FILE, ".npz"):
        for path in sorted(root.rglob(f"*{suffix}")):
            target = path.resolve()
            if target.is_relative_to(root) and target.is_file():
                yield path.relative_to(root).as_posix().removesuffix(suffix), target
