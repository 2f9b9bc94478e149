"""Loads a model directory, be it ours, Suno's `.pt` files, or Hugging Face's; and saves ours.

Our directory holds config.json (`models.config.ModelConfig`), semantic.safetensors, coarse.safetensors,
fine.safetensors and codec.safetensors (weight normalization folded), and the tokenizer's file.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors.torch import save_file
from torch import nn

from streamer.errors import CheckpointError
from streamer.models.codec import CodecDecoder
from streamer.models.config import ModelConfig
from streamer.models.files.config_file import check_config, read_config, write_config
from streamer.models.files.hugging_face import is_hugging_face, read_hugging_face
from streamer.models.files.suno import is_suno, read_suno
from streamer.models.files.weight_files import (
    Checkpoint,
    Weights,
    check_fit,
    read_tensors,
    reader_again,
    with_tied_heads,
)
from streamer.models.fine_gpt import FineGpt
from streamer.models.gpt import CausalGpt, set_dtype
from streamer.models.gpu.fused_gpt import fuse_if_it_agrees

_PARTS = ("semantic", "coarse", "fine", "codec")
INT8 = "int8"
MIXED = "-mixed"
"""The end of a model's name whose stages come from several."""
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """The four networks, ready to run (`eval`, no gradients), and the directory they were read from."""

    config: ModelConfig
    semantic: CausalGpt
    coarse: CausalGpt
    fine: FineGpt
    codec: CodecDecoder
    directory: Path


def load_model(
    path: Path, *, device: torch.device | str = "cpu", dtype: torch.dtype | str = torch.float32
) -> LoadedModel:
    """Load the model directory `path` onto `device`.

    `dtype` is that of the transformers' weights; their norms, and the whole codec, stay in float32 as in
    Bark. "int8" (on a CPU only) decodes with int8 weights and makes whole passes in int8, bfloat16 or float32,
    whichever is fastest on this CPU; it is compiled here. On a GPU decode steps are fused where that
    works and agrees with the plain ones. Raises `CheckpointError` naming the
    file and key at fault, or what is missing.
    """
    checkpoint = _read(path)
    is_int8 = dtype == INT8
    if is_int8 and torch.device(device).type != "cpu":
        raise CheckpointError(f"dtype {INT8!r} is for the CPU: use bfloat16 on {device}")
    networks = _build(checkpoint.config)
    for name, network in networks.items():
        given: Weights = getattr(checkpoint, name)
        check_fit(network, given)
        if not is_int8:
            if isinstance(network, CausalGpt | FineGpt):
                set_dtype(network, _dtype(dtype))
            _fill(network, given)
        elif isinstance(network, CausalGpt | FineGpt):
            # Imported here, because a process that uses a GPU need not load a compiler.
            from streamer.models.cpu.int8_gpt import use_int8

            use_int8(network, outputs=getattr(checkpoint.config, name).outputs, fill=given.fill)
        else:
            from streamer.models.cpu.compiled_codec import compile_codec

            given.fill(network)
            assert isinstance(network, CodecDecoder)
            compile_codec(network)
        given.release()
    for name, network in networks.items():
        # As in Bark's own code, whose codec does not run on Apple's GPUs.
        network.to("cpu" if name == "codec" and torch.device(device).type == "mps" else device).eval()
        if isinstance(network, CausalGpt) and torch.device(device).type == "cuda":
            fuse_if_it_agrees(network)
    return LoadedModel(checkpoint.config, directory=path, **networks)  # type: ignore[arg-type]


def read_model_config(path: Path) -> ModelConfig:
    """The config of the model directory `path`, of any kind; its weights are checked by shape and not loaded.

    Raises `CheckpointError` as `load_model` does.
    """
    checkpoint = _read(path)
    for name, network in _build(checkpoint.config).items():
        check_fit(network, getattr(checkpoint, name))
    return checkpoint.config


def convert_model(
    path: Path,
    target: Path,
    *,
    dtype: torch.dtype | str = torch.float32,
    parts: Mapping[str, Path] = MappingProxyType({}),
) -> None:
    """Write the model directory `path`, of any kind, as one of ours, without what training left beside the weights.

    `parts`: other model directories, by the stage ("semantic", "coarse", "fine") whose weights are taken from each.
    Raises `CheckpointError` if a file is at fault, or the parts do not go together.
    """
    checkpoint = _read(path)
    for name, other in parts.items():
        checkpoint = _with_part(checkpoint, name, _read(other), other)
    networks = _build(checkpoint.config)
    for name, network in networks.items():
        given: Weights = getattr(checkpoint, name)
        check_fit(network, given)
        _fill(network, given)
    save_model(LoadedModel(checkpoint.config, directory=path, **networks), target, dtype=dtype)  # type: ignore[arg-type]


def save_model(loaded: LoadedModel, path: Path, *, dtype: torch.dtype | str = torch.float32) -> None:
    """Write `loaded` as a directory of ours, its weights stored as `dtype`; makes `path` if it is missing.

    The tokenizer's file is copied from `loaded.directory` if it is there. Raises `CheckpointError` if
    the config does not fit itself.
    """
    check_config(loaded.config, str(path))
    dtype = _dtype(dtype)
    path.mkdir(parents=True, exist_ok=True)
    for name in _PARTS:
        network: nn.Module = getattr(loaded, name)
        tensors = {
            key: tensor.detach().to("cpu", dtype).contiguous()
            for key, tensor in network.state_dict().items()
            if not key.startswith("lm_heads.")  # shared with the embeddings; safetensors stores nothing twice
        }
        save_file(tensors, path / f"{name}.safetensors")
        # The library writes files for their owner only; a server may run as another user.
        (path / f"{name}.safetensors").chmod(0o644)
    write_config(loaded.config, path / "config.json")
    tokenizer = loaded.directory / loaded.config.tokenizer.file
    if tokenizer.is_file() and loaded.directory.resolve() != path.resolve():
        shutil.copyfile(tokenizer, path / tokenizer.name)


def _with_part(checkpoint: Checkpoint, name: str, given: Checkpoint, source: Path) -> Checkpoint:
    """The checkpoint with one stage of another, of whatever size, but with the same tokens and windows."""
    mine, other = getattr(checkpoint.config, name), getattr(given.config, name)
    if replace(mine, transformer=other.transformer) != other:
        raise CheckpointError(
            f"{source}: its {name} stage has other tokens or windows than the model it is to join"
        )
    base = checkpoint.config.name.removesuffix(MIXED)
    config = replace(checkpoint.config, name=base + MIXED, **{name: other})
    check_config(config, str(source))
    return replace(checkpoint, config=config, **{name: getattr(given, name)})


def _read(path: Path) -> Checkpoint:
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such model directory")
    if (path / "config.json").is_file() and any((path / f"{name}.safetensors").is_file() for name in _PARTS):
        return _read_own(path)
    if is_hugging_face(path):
        return read_hugging_face(path)
    if is_suno(path):
        return read_suno(path)
    raise CheckpointError(
        f"{path}: holds no model: neither ours (config.json with semantic.safetensors and so on), "
        "nor Hugging Face's Bark (config.json with pytorch_model.bin or model.safetensors), "
        "nor Suno's (text_2.pt, coarse_2.pt, fine_2.pt, or those without _2)"
    )


def _read_own(path: Path) -> Checkpoint:
    files = {name: path / f"{name}.safetensors" for name in _PARTS}
    config = read_config(path / "config.json")
    weights = {
        name: Weights(read_tensors(file), str(file), reader_again([file], partial(read_tensors, file)))
        for name, file in files.items()
    }
    weights["fine"] = with_tied_heads(weights["fine"])
    return Checkpoint(config, **weights)


def _build(config: ModelConfig) -> dict[str, nn.Module]:
    """The four networks without memory for their weights, which the checkpoint's replace."""
    fine = config.fine
    with torch.device("meta"):
        return {
            "semantic": CausalGpt(config.semantic.transformer),
            "coarse": CausalGpt(config.coarse.transformer),
            "fine": FineGpt(fine.transformer, fine.num_codebooks, fine.num_codebooks_given),
            "codec": CodecDecoder(config.codec),
        }


def _fill(network: nn.Module, given: Weights) -> None:
    given.fill(network)
    if isinstance(network, FineGpt):
        network.tie_weights()


def _dtype(dtype: torch.dtype | str) -> torch.dtype:
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in _DTYPES:
        raise CheckpointError(f"dtype {dtype!r} is none of {', '.join((*_DTYPES, INT8))}")
    return _DTYPES[dtype]
