"""A voice: Bark's history prompt, the tokens of some earlier speech that the model continues."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from streamer.errors import CheckpointError

if TYPE_CHECKING:
    from streamer.models.config import ModelConfig

Codes = npt.NDArray[np.integer]

SEMANTIC_FILE = "_semantic_prompt.npy"
LARGEST_BYTES = 1 << 20
"""The largest file that is read as a voice, in bytes; Bark's largest has 60 kB."""
_KEYS = {"semantic": "semantic_prompt", "coarse": "coarse_prompt", "fine": "fine_prompt"}
PROMPT_KEYS = tuple(_KEYS.values())
FILE_SUFFIXES = (".npz", *(f"_{key}.npy" for key in PROMPT_KEYS))
"""Of the files of a voice, after its name: it is kept in one `.npz`, or in three of the others."""


@dataclass(frozen=True, slots=True, eq=False)
class Voice:
    """`semantic` [tokens], `coarse` [coarse codebooks, frames], `fine` [codebooks, frames]; no offsets."""

    semantic: Codes
    coarse: Codes
    fine: Codes

    @classmethod
    def without_history(cls, config: ModelConfig) -> Voice:
        """No history: the model makes up a speaker, another one for every seed."""
        return cls(
            np.zeros(0, np.int64),
            np.zeros((config.coarse.num_codebooks, 0), np.int64),
            np.zeros((config.fine.num_codebooks, 0), np.int64),
        )

    @classmethod
    def load(cls, path: Path, config: ModelConfig) -> Voice:
        """`read`, and raise `CheckpointError` too if it is no voice of this model."""
        voice = cls.read(path)
        if problem := voice.problem(config):
            remedy = "install it for the model that it was made for, or remove it"
            raise CheckpointError(f"voice {path} does not fit the model {config.name!r}: {problem}; {remedy}")
        return voice

    @classmethod
    def read(cls, path: Path) -> Voice:
        """Read Bark's `.npz` of `semantic_prompt`, `coarse_prompt`, `fine_prompt`, or Hugging Face's three files.

        Of these `path` is `NAME_semantic_prompt.npy`, beside which the others lie. What the arrays hold is for
        `problem` to judge. Raises `CheckpointError` if a file is missing or broken.
        """
        try:
            return cls(**(_read_archive(path) if path.suffix == ".npz" else _read_files(path)))
        except Exception as error:  # a damaged file may raise nearly anything
            remedy = "put a whole one in its place, or remove it"
            raise CheckpointError(f"voice {path} cannot be read: {_reason(error)}; {remedy}") from error

    def write(self, file: IO[bytes]) -> None:
        """Write Bark's `.npz`, in the types of Bark's own."""
        np.savez(
            file,
            semantic_prompt=self.semantic.astype(np.int64),
            coarse_prompt=self.coarse.astype(np.int64),
            fine_prompt=self.fine.astype(np.int32),
        )

    def followed_by(self, last: Voice, config: ModelConfig, max_coarse_history: int | None = None) -> Voice:
        """This voice followed by the end of `last`, short enough for every stage to read this one too.

        The stages read the last tokens and frames of a voice: `last` fills at most half of the smallest of their
        windows. `max_coarse_history`: coarse tokens that are read, if fewer than the model's own.
        """
        if not len(self.semantic):
            return last
        frames_per_token = config.coarse_per_semantic / config.coarse.num_codebooks
        num_frames = min(
            config.semantic.text_context * frames_per_token,
            (max_coarse_history or config.coarse.max_history) // config.coarse.num_codebooks,
            config.fine.history,
        )
        num_tokens = min(int(num_frames / frames_per_token) // 2, len(last.semantic))
        num_frames = min(round(num_tokens * frames_per_token), last.fine.shape[1])
        semantic = np.concatenate([self.semantic, last.semantic[len(last.semantic) - num_tokens :]])
        fine = np.concatenate([self.fine, last.fine[:, last.fine.shape[1] - num_frames :]], axis=1)
        return Voice(semantic, fine[: config.coarse.num_codebooks], fine)

    def problem(self, config: ModelConfig) -> str | None:
        """What is wrong with this voice for the model, after the checks of suno-ai/bark, or None."""
        if problem := self.format_problem(config):
            return problem
        num_coarse = config.coarse.num_codebooks
        frames_per_token = config.coarse_per_semantic / num_coarse
        if round(self.coarse.shape[1] / len(self.semantic), 1) != round(frames_per_token, 1):
            return f"{self.coarse.shape[1]} frames are not {frames_per_token:.2f} for each semantic token"
        if not np.array_equal(self.coarse, self.fine[:num_coarse]):
            return "the coarse prompt is not the beginning of the fine prompt"
        return None

    def format_problem(self, config: ModelConfig) -> str | None:
        """What about this voice the model's stages could not read, shapes or tokens that it does not have, or None."""
        num_coarse, num_fine = config.coarse.num_codebooks, config.fine.num_codebooks
        if any(array.dtype.kind not in "iu" for array in (self.semantic, self.coarse, self.fine)):
            return "the arrays must be of whole numbers"
        if self.semantic.ndim != 1 or not len(self.semantic):
            return f"the semantic prompt must be [tokens], not {list(self.semantic.shape)}"
        for name, codes, num_codebooks in (
            ("coarse", self.coarse, num_coarse),
            ("fine", self.fine, num_fine),
        ):
            if codes.ndim != 2 or codes.shape[0] != num_codebooks or not codes.shape[1]:
                return f"the {name} prompt must be [{num_codebooks}, frames], not {list(codes.shape)}"
        if _is_outside(self.semantic, config.semantic.vocab_size):
            return f"semantic tokens must be 0..{config.semantic.vocab_size - 1}"
        if _is_outside(self.coarse, config.coarse.codebook_size) or _is_outside(
            self.fine, config.fine.codebook_size
        ):
            return f"codes must be 0..{config.coarse.codebook_size - 1}"
        return None


class _NoVoiceError(Exception):
    """A file is whole, and holds no voice; its text says why."""


def _reason(error: Exception) -> str:
    """Return what is wrong with a file in our words: numpy's speak of its options and of pickles."""
    if isinstance(error, _NoVoiceError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f" ({Path(error.filename).name})"
        return f"{error.strerror}{where}"
    return "it is damaged, or no file of Bark's kind"


def _read_archive(path: Path) -> dict[str, Codes]:
    # Opened here, because numpy leaves a file open that turns out to be broken.
    with path.open("rb") as file:
        arrays = np.load(file, allow_pickle=False)
        if not isinstance(arrays, np.lib.npyio.NpzFile):
            raise _NoVoiceError("it is a single array, and no archive of three")
        with arrays:
            assert arrays.zip is not None, "it is open"
            _check_size(sum(member.file_size for member in arrays.zip.infolist()))
            if missing := [key for key in PROMPT_KEYS if key not in arrays.files]:
                raise _NoVoiceError(f"it lacks {' and '.join(missing)}")
            return {name: arrays[key] for name, key in _KEYS.items()}


def files_of(path: Path) -> list[Path]:
    """Return the files of the voice that is read from `path`: itself, or in the order of `PROMPT_KEYS` all three."""
    if path.suffix == ".npz":
        return [path]
    stem = path.name.removesuffix(SEMANTIC_FILE)
    return [path.with_name(f"{stem}_{key}.npy") for key in PROMPT_KEYS]


def _read_files(path: Path) -> dict[str, Codes]:
    arrays = {}
    for name, file_path in zip(_KEYS, files_of(path), strict=True):
        with file_path.open("rb") as file:
            _check_size(os.fstat(file.fileno()).st_size)
            arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
    return arrays


def _check_size(size_bytes: int) -> None:
    if size_bytes > LARGEST_BYTES:
        raise _NoVoiceError(f"{size_bytes} bytes are too many for a voice")


def _is_outside(tokens: Codes, size: int) -> bool:
    return bool(tokens.min() < 0 or tokens.max() >= size)
