"""Reads a Hugging Face Bark directory: config.json with pytorch_model.bin or safetensors, in shards too."""

from __future__ import annotations

import re
from pathlib import Path, PurePath
from typing import Any

from torch import Tensor

from streamer.errors import CheckpointError
from streamer.models.config import SMALL, CodecConfig, ModelConfig, TransformerConfig
from streamer.models.files.codec_weights import codec_weights
from streamer.models.files.config_file import check_config
from streamer.models.files.suno import bark_config, tokenizer_config
from streamer.models.files.weight_files import (
    Checkpoint,
    Weights,
    read_json,
    read_tensors,
    reader_again,
    with_tied_heads,
)

_WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
_PREFIXES = {"text": "semantic.", "coarse": "coarse_acoustics.", "fine": "fine_acoustics."}
_SECTIONS = {
    "text": "semantic_config",
    "coarse": "coarse_acoustics_config",
    "fine": "fine_acoustics_config",
}
# Hugging Face's names to Suno's; Linear weights are transposed in neither.
_RENAMES = (
    (re.compile(r"^input_embeds_layer\."), "transformer.wte."),
    (re.compile(r"^input_embeds_layers\."), "transformer.wtes."),
    (re.compile(r"^position_embeds_layer\."), "transformer.wpe."),
    (re.compile(r"^layernorm_final\."), "transformer.ln_f."),
    (re.compile(r"^layers\."), "transformer.h."),
    (re.compile(r"\.layernorm_([12])\."), r".ln_\1."),
    (re.compile(r"\.attn\.att_proj\."), ".attn.c_attn."),
    (re.compile(r"\.attn\.out_proj\."), ".attn.c_proj."),
    (re.compile(r"\.mlp\.in_proj\."), ".mlp.c_fc."),
    (re.compile(r"\.mlp\.out_proj\."), ".mlp.c_proj."),
)
# Hugging Face leaves out of config.json what equals its own defaults.
_TRANSFORMER_DEFAULTS = {
    "num_layers": 12,
    "num_heads": 12,
    "hidden_size": 768,
    "block_size": 1024,
    "input_vocab_size": 10_048,
    "output_vocab_size": 10_048,
    "n_codes_total": 8,
    "n_codes_given": 1,
}
_CODEC_SIZES = {
    "sampling_rate": "sample_rate_hz",
    "codebook_size": "codebook_size",
    "hidden_size": "dimension",
    "num_filters": "num_filters",
    "num_residual_layers": "num_residual_layers",
    "num_lstm_layers": "num_lstm_layers",
    "kernel_size": "kernel_size",
    "residual_kernel_size": "residual_kernel_size",
    "last_kernel_size": "last_kernel_size",
    "dilation_growth_rate": "dilation_base",
    "compress": "compress",
}
_CODEC_FIXED = {
    "audio_channels": 1,
    "norm_type": "weight_norm",
    "pad_mode": "reflect",
    "trim_right_ratio": 1.0,
    "use_causal_conv": True,
    "use_conv_shortcut": True,
}


def is_hugging_face(directory: Path) -> bool:
    return (directory / "config.json").is_file() and any(
        (directory / name).is_file() or (directory / f"{name}.index.json").is_file() for name in _WEIGHT_FILES
    )


def read_hugging_face(directory: Path) -> Checkpoint:
    """Read a directory as `BarkModel.save_pretrained` or the hub lays it out; raises `CheckpointError`."""
    config = _read_config(directory)
    files, source = _weight_files(directory)
    tensors = _read_weights(files)

    def stage(prefix: str) -> Weights:
        read_again = reader_again(files, lambda: stage_weights(_read_weights(files), prefix))
        return Weights(stage_weights(tensors, prefix), source, read_again)

    stages = {name: stage(prefix) for name, prefix in _PREFIXES.items()}
    codec = {key.removeprefix("codec_model."): tensor for key, tensor in tensors.items() if _is_codec(key)}
    for key in tensors:
        if not key.startswith(("codec_model.", *_PREFIXES.values())):
            raise CheckpointError(f"{source}: {key} is not part of the model")
    return Checkpoint(
        config,
        semantic=stages["text"],
        coarse=stages["coarse"],
        fine=with_tied_heads(stages["fine"]),
        codec=Weights(codec_weights(codec, config.codec.num_codebooks, source), source),
    )


def _is_codec(key: str) -> bool:
    return key.startswith("codec_model.")


def stage_weights(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors below `prefix` under Suno's names, without the causal masks kept beside them."""
    stage = {}
    for key, tensor in tensors.items():
        if not key.startswith(prefix) or key.endswith(".attn.bias"):
            continue
        name = key.removeprefix(prefix)
        for pattern, replacement in _RENAMES:
            name = pattern.sub(replacement, name)
        stage[name] = tensor
    return stage


def _weight_files(directory: Path) -> tuple[list[Path], str]:
    """The files with the weights, and the file (or the shards' index) that stands for them in messages."""
    for name in _WEIGHT_FILES:
        file, index = directory / name, directory / f"{name}.index.json"
        if file.is_file():
            return [file], str(file)
        if index.is_file():
            return _shards(index), str(index)
    raise CheckpointError(f"{directory}: neither {' nor '.join(_WEIGHT_FILES)} is there")


def _shards(index: Path) -> list[Path]:
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise CheckpointError(f"{index}: weight_map is missing or names no files")
    for name in places.values():
        if PurePath(name).name != name:
            raise CheckpointError(f"{index}: weight_map leads out of the directory: {name}")
    return [index.with_name(name) for name in sorted(set(places.values()))]


def _read_weights(files: list[Path]) -> dict[str, Tensor]:
    """All tensors of the files under Hugging Face's names."""
    return {key: tensor for file in files for key, tensor in read_tensors(file).items()}


def _read_config(directory: Path) -> ModelConfig:
    file = directory / "config.json"
    content = read_json(file)
    sections = {stage: _section(content, name, file) for stage, name in _SECTIONS.items()}
    fine = sections["fine"]
    config = bark_config(
        {stage: _transformer(section, f"{file}: {_SECTIONS[stage]}") for stage, section in sections.items()},
        num_codebooks=_size(fine, "n_codes_total", f"{file}: {_SECTIONS['fine']}"),
        num_codebooks_given=_size(fine, "n_codes_given", f"{file}: {_SECTIONS['fine']}"),
        tokenizer=tokenizer_config(directory),
        codec=_codec(_section(content, "codec_config", file), f"{file}: codec_config"),
    )
    check_config(config, str(file))
    return config


def _section(content: dict[str, Any], name: str, file: Path) -> dict[str, Any]:
    section = content.get(name)
    if not isinstance(section, dict):
        raise CheckpointError(f"{file}: {name} is missing; this is no Bark model's config")
    return section


def _transformer(section: dict[str, Any], source: str) -> TransformerConfig:
    if section.get("bias", True):
        raise CheckpointError(f"{source}.bias is true; only Bark's released form, without, is read")
    return TransformerConfig(
        num_layers=_size(section, "num_layers", source),
        num_heads=_size(section, "num_heads", source),
        width=_size(section, "hidden_size", source),
        block_size=_size(section, "block_size", source),
        input_vocab_size=_size(section, "input_vocab_size", source),
        output_vocab_size=_size(section, "output_vocab_size", source),
    )


def _size(section: dict[str, Any], key: str, source: str, default: int | None = None) -> int:
    value = section.get(key, _TRANSFORMER_DEFAULTS.get(key) if default is None else default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise CheckpointError(f"{source}.{key} is no positive number: {value!r}")
    return value


def _codec(section: dict[str, Any], source: str) -> CodecConfig:
    for key, wanted in _CODEC_FIXED.items():
        if section.get(key, wanted) != wanted:
            raise CheckpointError(f"{source}.{key} is {section[key]!r}; only {wanted!r} is read")
    standard = SMALL.codec
    ratios = section.get("upsampling_ratios", standard.ratios)
    if not isinstance(ratios, list | tuple) or not all(
        isinstance(ratio, int) and ratio > 0 for ratio in ratios
    ):
        raise CheckpointError(f"{source}.upsampling_ratios is no list of positive numbers: {ratios!r}")
    sizes = {
        ours: _size(section, theirs, source, default=getattr(standard, ours))
        for theirs, ours in _CODEC_SIZES.items()
    }
    return CodecConfig(ratios=tuple(ratios), **sizes)
