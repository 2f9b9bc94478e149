"""Reads and writes our model directory's config.json, and checks that a model's numbers fit together."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path, PurePath
from typing import Any, Final

import msgspec

from streamer.errors import CheckpointError
from streamer.models.config import CodecConfig, ModelConfig, TransformerConfig
from streamer.models.files.weight_files import read_json

MAX_SIZE: Final = 1_048_576
"""The largest size of anything in a model; torch's own limits are met with an exception of its own."""
MAX_LAYERS: Final = 512


def read_config(file: Path) -> ModelConfig:
    """Read config.json strictly: unknown keys, wrong types and impossible numbers are `CheckpointError`s."""
    content = read_json(file)
    try:
        config = msgspec.convert(content, ModelConfig)
    except msgspec.ValidationError as error:
        raise CheckpointError(f"{file}: {error}") from error
    if unknown := _unknown_keys(content, dataclasses.asdict(config), ""):
        raise CheckpointError(f"{file}: unknown key {unknown[0]}")
    check_config(config, str(file))
    return config


def write_config(config: ModelConfig, file: Path) -> None:
    file.write_text(
        json.dumps(dataclasses.asdict(config), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def check_config(config: ModelConfig, source: str) -> None:
    """Raise `CheckpointError` if a vocabulary, a window or a size does not fit the others."""
    semantic, coarse, fine = config.semantic, config.coarse, config.fine
    for name, part in (("semantic", semantic), ("coarse", coarse), ("fine", fine)):
        _check_transformer(part.transformer, f"{source}: {name}")
    _check_codec(config.codec, f"{source}: codec")
    if not 0 < semantic.rate_hz < math.inf:
        raise CheckpointError(f"{source}: semantic.rate_hz is {semantic.rate_hz}")
    if not 1 <= fine.num_codebooks_given <= coarse.num_codebooks <= fine.num_codebooks:
        raise CheckpointError(
            f"{source}: the numbers of codebooks (fine given, coarse, fine) do not rise: "
            f"{fine.num_codebooks_given}, {coarse.num_codebooks}, {fine.num_codebooks}"
        )
    if coarse.window < 1 or coarse.window % coarse.num_codebooks:
        raise CheckpointError(
            f"{source}: coarse.window is {coarse.window}, no multiple of the {coarse.num_codebooks} codebooks"
        )
    if coarse.dropped_history < 0 or coarse.dropped_history % coarse.num_codebooks:
        raise CheckpointError(
            f"{source}: coarse.dropped_history is {coarse.dropped_history}, no multiple of the "
            f"{coarse.num_codebooks} codebooks"
        )
    last_coarse = coarse.codebook_offset + coarse.num_codebooks * coarse.codebook_size
    needs = [
        ("semantic.input_vocab_size", semantic.transformer.input_vocab_size,
         1 + max(semantic.vocab_size, semantic.pad_token, semantic.text_pad_token, semantic.infer_token)),
        ("semantic.output_vocab_size", semantic.transformer.output_vocab_size, semantic.vocab_size + 1),
        ("semantic.block_size", semantic.transformer.block_size, semantic.text_context + semantic.max_tokens),
        ("coarse.input_vocab_size", coarse.transformer.input_vocab_size,
         max(last_coarse, coarse.semantic_pad_token + 1, coarse.infer_token + 1)),
        ("coarse.output_vocab_size", coarse.transformer.output_vocab_size, last_coarse),
        ("coarse.block_size", coarse.transformer.block_size,
         coarse.semantic_context + coarse.max_history + coarse.window),
        ("fine.input_vocab_size", fine.transformer.input_vocab_size, fine.pad_token + 1),
        ("fine.output_vocab_size", fine.transformer.output_vocab_size, fine.codebook_size),
        ("fine.block_size", fine.transformer.block_size, fine.context),
        ("fine.context", fine.context, fine.history + 1),
        ("fine.history", fine.history, 0),
        ("the smallest of fine.chunk_frames", min(fine.chunk_frames, default=0), 1),
        ("the smallest of fine.later_chunk_frames", min(fine.later_chunk_frames, default=0), 1),
        ("fine.last_chunk_frames", fine.last_chunk_frames, 0),
        ("fine.joined_frames", fine.joined_frames, 0),
        ("semantic.max_tokens", semantic.max_tokens, 1),
        ("semantic.text_context", semantic.text_context, 1),
        ("max_piece_tokens", config.max_piece_tokens, 0),
        ("codec.num_codebooks", config.codec.num_codebooks, fine.num_codebooks),
        ("codec.codebook_size", config.codec.codebook_size, fine.codebook_size),
    ]  # fmt: skip
    for name, found, needed in needs:
        if found < needed:
            raise CheckpointError(f"{source}: {name} is {found}, but the token ids and windows need {needed}")
    if fine.transformer.input_vocab_size != fine.transformer.output_vocab_size:
        raise CheckpointError(f"{source}: fine.input_vocab_size and output_vocab_size differ, but are shared")
    if PurePath(config.tokenizer.file).name != config.tokenizer.file:
        raise CheckpointError(f"{source}: tokenizer.file must be a file's name in the model directory")


def _check_transformer(config: TransformerConfig, source: str) -> None:
    for name, value in dataclasses.asdict(config).items():
        largest = MAX_LAYERS if name == "num_layers" else MAX_SIZE
        if not 1 <= value <= largest:
            raise CheckpointError(f"{source}.{name} is {value}, not from 1 to {largest}")
    if config.width % config.num_heads:
        raise CheckpointError(f"{source}.width {config.width} is no multiple of num_heads {config.num_heads}")


def _check_codec(config: CodecConfig, source: str) -> None:
    for name, value in dataclasses.asdict(config).items():
        values = value if isinstance(value, tuple) else (value,)
        smallest, largest = (0, MAX_LAYERS) if name.endswith("_layers") else (1, MAX_SIZE)
        if not values or not all(smallest <= number <= largest for number in values):
            raise CheckpointError(f"{source}.{name} is {value}, not from {smallest} to {largest}")


def _unknown_keys(given: dict[str, Any], known: dict[str, Any], prefix: str) -> list[str]:
    unknown = []
    for key, value in given.items():
        if key not in known:
            unknown.append(prefix + key)
        elif isinstance(value, dict):
            unknown += _unknown_keys(value, known[key], f"{prefix}{key}.")
    return unknown
