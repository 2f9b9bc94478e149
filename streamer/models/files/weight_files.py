"""Reads files of weights as plain tensors and puts them into modules, strictly; runs no code of theirs."""

from __future__ import annotations

import json
import re
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from streamer.errors import CheckpointError
from streamer.models.config import ModelConfig

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


@dataclass(frozen=True, slots=True)
class Weights:
    """A state dict under our names, and the file it came from, for messages."""

    tensors: dict[str, Tensor]
    source: str


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
            return torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
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
    tensors = dict(weights.tensors)
    heads = {int(match[1]) for key in tensors if (match := _HEAD.fullmatch(key))}
    embeddings = {int(match[1]) for key in tensors if (match := _EMBEDDING.fullmatch(key))}
    for number in sorted(heads | {number - 1 for number in embeddings} - {-1}):
        head, embedding = f"lm_heads.{number}.weight", f"transformer.wtes.{number + 1}.weight"
        if head not in tensors and embedding in tensors:
            tensors[head] = tensors[embedding]
        elif embedding not in tensors and head in tensors:
            tensors[embedding] = tensors[head]
        elif not torch.equal(tensors[head], tensors[embedding]):
            raise CheckpointError(f"{weights.source}: {head} differs from {embedding}, which it must share")
    return Weights(tensors, weights.source)


def fill(module: nn.Module, given: Weights) -> None:
    """Replace the parameters of `module` (made on the meta device) by copies, in float32, of these weights.

    Raises what `check_fit` and `check_finite` do.
    """
    check_fit(module, given)
    check_finite(given)
    copies = {
        key: given.tensors[key].to(torch.float32, copy=True).contiguous() for key in module.state_dict()
    }
    module.load_state_dict(copies, assign=True)
    module.requires_grad_(False)


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


def check_finite(given: Weights) -> None:
    """Raise `CheckpointError` for a weight that is not a number, or infinite: it would spoil every sentence."""
    for key, tensor in given.tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(
                f"{given.source}: {key} holds values that are no finite numbers: it is damaged"
            )


def _check_exists(file: Path) -> None:
    if not file.is_file():
        raise CheckpointError(f"{file}: no such file")
