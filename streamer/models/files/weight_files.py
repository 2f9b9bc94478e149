"""Reads files of weights as plain tensors and puts them into modules, strictly; runs no code of theirs."""

from __future__ import annotations

import json
import re
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from streamer.errors import CheckpointError
from streamer.models.config import ModelConfig
from streamer.process_memory import return_freed_memory

# Suno's files keep `best_val_loss` as a numpy scalar: its pickled parts, under numpy 1's and 2's names.
_NUMPY_SCALAR = np.float64(0).__reduce__()[0]
_SAFE_GLOBALS: list[Any] = [
    (_NUMPY_SCALAR, "numpy.core.multiarray.scalar"),
    (_NUMPY_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    type(np.dtype(np.float32)),
    type(np.dtype(np.float64)),
]

# What torch says around it is advice to run the file.
_UNPICKLER_REASON = re.compile(r"WeightsUnpickler error:\s*(.+)")
_HEAD = re.compile(r"lm_heads\.(\d{1,3})\.weight")
_EMBEDDING = re.compile(r"transformer\.wtes\.(\d{1,3})\.weight")
_NUMBERS_AT_ONCE = 1 << 22
"""The most numbers of a tensor that are read, checked and converted at a time."""
_RESIDENT_BYTES = 1 << 26
"""How many bytes of a mapped file are read before it is mapped anew."""


@dataclass(slots=True)
class Weights:
    """A state dict under our names, and the file it came from, for messages.

    `map_again`, for a file that is mapped into memory, returns the same state dict once more: what was read of a
    mapping counts as the process's memory until all of its tensors are gone. None for a file that was read whole.
    """

    tensors: dict[str, Tensor]
    source: str
    map_again: Callable[[], dict[str, Tensor]] | None = None
    _mapped: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)
    _num_bytes_left: int = field(default=0, init=False, repr=False)

    def fill(self, module: nn.Module, prefix: str = "") -> None:
        """Give the weights whose names begin with `prefix` to those parameters of `module` that are on the meta device.

        Each is converted to the type that its parameter has. A weight that several parts share is read once, and they
        are to be tied again. The weights must have passed `check_fit`; raises `CheckpointError` for one that is not a
        number, or infinite, because it would spoil every sentence.
        """
        for key, parameter in list(module.named_parameters()):
            if parameter.is_meta:
                path, _, name = key.rpartition(".")
                weight = self._read(prefix + key, parameter.dtype)
                setattr(module.get_submodule(path), name, nn.Parameter(weight, requires_grad=False))

    def release(self) -> None:
        """Leave nothing in memory of what was read, nor of what was computed of it and is no longer needed."""
        self._mapped, self._num_bytes_left = {}, 0
        return_freed_memory()

    def _read(self, key: str, dtype: torch.dtype) -> Tensor:
        """A copy of the tensor, made some rows at a time, so that little of the file is in memory at once."""
        copy = torch.empty(self.tensors[key].shape, dtype=dtype)
        num_rows = max(1, _NUMBERS_AT_ONCE * len(copy) // copy.numel())
        for first in range(0, len(copy), num_rows):
            piece = self._resident()[key][first : first + num_rows]
            if not all(torch.isfinite(bound) for bound in torch.aminmax(piece)):
                raise CheckpointError(
                    f"{self.source}: {key} holds values that are no finite numbers: it is damaged"
                )
            copy[first : first + num_rows] = piece
            self._num_bytes_left -= piece.nbytes
        return copy

    def _resident(self) -> dict[str, Tensor]:
        if self.map_again is None:
            return self.tensors
        if self._num_bytes_left <= 0:
            self.release()
            self._mapped, self._num_bytes_left = self.map_again(), _RESIDENT_BYTES
        return self._mapped


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What each checkpoint format is read into."""

    config: ModelConfig
    semantic: Weights
    coarse: Weights
    fine: Weights
    codec: Weights


def read_pickle(file: Path) -> Any:
    """What a `torch.save` file holds, if it is nothing but tensors, numbers, strings and containers.

    Raises `CheckpointError` if it is missing, damaged, or holds anything else (which is not executed).
    """
    _check_exists(file)
    try:
        with torch.serialization.safe_globals(_SAFE_GLOBALS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the protocols of files that are refused a moment later
            # Mapped, not read: two thirds of Suno's files are optimizer state that inference does not need.
            return torch.load(file, map_location="cpu", weights_only=True, mmap=is_mapped(file))
    except Exception as error:  # a damaged file may raise nearly anything
        text = str(error).strip() or type(error).__name__
        found = _UNPICKLER_REASON.search(text)
        reason = (found[1] if found else text.splitlines()[0])[:200]
        raise CheckpointError(
            f"{file}: cannot be read as plain weights: it is damaged, or holds objects other than tensors, "
            f"which are never executed ({reason})"
        ) from error


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The state dict in a safetensors file or a pickled one; raises `CheckpointError`."""
    if file.suffix != ".safetensors":
        return check_state(read_pickle(file), str(file))
    _check_exists(file)
    try:
        # safetensors tells of every file it may not open that it is not there.
        with file.open("rb"):
            return load_file(file)
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read ({error.strerror or error})") from error
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{file}: is not a whole safetensors file ({error})") from error


def reader_again(
    files: Sequence[Path], read: Callable[[], dict[str, Tensor]]
) -> Callable[[], dict[str, Tensor]] | None:
    """`read`, to be called again while its files are those of now; None unless all of them are mapped.

    It raises `CheckpointError` once one of them was replaced: weights of two models are none.
    """
    if not all(map(is_mapped, files)):
        return None
    known = [_identity(file) for file in files]

    def read_again() -> dict[str, Tensor]:
        tensors = read()
        for file, identity in zip(files, known, strict=True):
            if _identity(file) != identity:
                raise CheckpointError(f"{file}: was replaced while it was read; load the model again")
        return tensors

    return read_again


def _identity(file: Path) -> tuple[int, int, int, int]:
    try:
        found = file.stat()
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read ({error.strerror or error})") from error
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def is_mapped(file: Path) -> bool:
    """Whether `read_tensors` and `read_pickle` map the file into memory instead of reading it."""
    return file.suffix == ".safetensors" or zipfile.is_zipfile(file)


def check_state(state: object, source: str) -> dict[str, Tensor]:
    """`state` as a dict of tensors by name; raises `CheckpointError` if it is anything else."""
    if not isinstance(state, dict) or not state:
        raise CheckpointError(f"{source}: holds no state dict, but {type(state).__name__}")
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"{source}: {key!r} is not a tensor, but {type(value).__name__}")
    return dict(state)


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object; raises `CheckpointError`."""
    _check_exists(file)
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        raise CheckpointError(f"{file}: is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{file}: must hold a JSON object")
    return content


def with_tied_heads(weights: Weights) -> Weights:
    """The fine model's weights with each head beside the embedding it shares, whichever the file holds.

    Raises `CheckpointError` if both are there and differ.
    """
    for head, embedding in _ties(weights.tensors):
        both = [weights.tensors[key] for key in (head, embedding) if key in weights.tensors]
        if len(both) == 2 and not torch.equal(*both):
            raise CheckpointError(f"{weights.source}: {head} differs from {embedding}, which it must share")
    map_again = weights.map_again
    return Weights(
        _with_both(weights.tensors),
        weights.source,
        None if map_again is None else lambda: _with_both(map_again()),
    )


def _with_both(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    tied = dict(tensors)
    for head, embedding in _ties(tensors):
        tied[head] = tied[embedding] = tensors[embedding if embedding in tensors else head]
    return tied


def _ties(tensors: dict[str, Tensor]) -> list[tuple[str, str]]:
    """Each head and the embedding that it shares, of which at least one is there."""
    heads = {int(match[1]) for key in tensors if (match := _HEAD.fullmatch(key))}
    embeddings = {int(match[1]) for key in tensors if (match := _EMBEDDING.fullmatch(key))}
    numbers = sorted(heads | {number - 1 for number in embeddings} - {-1})
    return [(f"lm_heads.{number}.weight", f"transformer.wtes.{number + 1}.weight") for number in numbers]


def check_fit(module: nn.Module, given: Weights) -> None:
    """Raise `CheckpointError`: the file and the first key that is missing, unknown, or of another shape or type."""
    weights, source = given.tensors, given.source
    expected = module.state_dict()
    for key, parameter in expected.items():
        if key not in weights:
            raise CheckpointError(f"{source}: {key} is missing")
        found = weights[key]
        if found.shape != parameter.shape:
            raise CheckpointError(
                f"{source}: {key} has the shape {tuple(found.shape)}, "
                f"but the model's sizes ask for {tuple(parameter.shape)}"
            )
        if not found.is_floating_point():
            raise CheckpointError(f"{source}: {key} holds {found.dtype}, not floating point numbers")
    if extra := [key for key in weights if key not in expected]:
        raise CheckpointError(f"{source}: {extra[0]} is not part of the model ({len(extra)} such keys)")


def _check_exists(file: Path) -> None:
    if not file.is_file():
        raise CheckpointError(f"{file}: no such file")
