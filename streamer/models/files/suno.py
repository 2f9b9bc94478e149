"""Reads Suno's checkpoints: text(_2).pt, coarse(_2).pt and fine(_2).pt, and EnCodec's file beside."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from torch import Tensor

from streamer.errors import CheckpointError
from streamer.models.config import (
    LARGE,
    SMALL,
    CodecConfig,
    ModelConfig,
    TokenizerConfig,
    TransformerConfig,
)
from streamer.models.files.codec_weights import codec_weights
from streamer.models.files.config_file import check_config
from streamer.models.files.weight_files import (
    Checkpoint,
    Weights,
    check_state,
    read_pickle,
    read_tensors,
    reader_again,
    with_tied_heads,
)

_CODEC_GLOB = "encodec_24khz-*.th"
_CODEC_ORIGIN = "https://dl.fbaipublicfiles.com/encodec/v0/encodec_24khz-d7cc33bc.th"
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt")


def is_suno(directory: Path) -> bool:
    return any(_present(directory, stage) for stage in ("text", "coarse", "fine"))


def read_suno(directory: Path) -> Checkpoint:
    """Read a directory of Suno's files, large or small, mixed ones too (the large `_2` files win).

    Raises `CheckpointError` naming what is missing and where it is found, or the file and key at fault.
    """
    files = {stage: _stage_file(directory, stage) for stage in ("text", "coarse", "fine")}
    codec_file = _codec_file(directory)
    tokenizer = tokenizer_config(directory)
    args, weights = {}, {}
    for stage, file in files.items():
        args[stage], weights[stage] = _read_stage(file)
    config = bark_config(
        {stage: _transformer(args[stage], files[stage]) for stage in files},
        num_codebooks=_size(args["fine"], "n_codes_total", files["fine"]),
        num_codebooks_given=_size(args["fine"], "n_codes_given", files["fine"]),
        tokenizer=tokenizer,
    )
    check_config(config, str(directory))
    codec = codec_weights(read_tensors(codec_file), config.codec.num_codebooks, str(codec_file))
    return Checkpoint(
        config,
        semantic=weights["text"],
        coarse=weights["coarse"],
        fine=with_tied_heads(weights["fine"]),
        codec=Weights(codec, str(codec_file)),
    )


def bark_config(
    transformers: dict[str, TransformerConfig],
    *,
    num_codebooks: int,
    num_codebooks_given: int,
    tokenizer: TokenizerConfig,
    codec: CodecConfig = LARGE.codec,
) -> ModelConfig:
    """Bark's config with these sizes of its `text`, `coarse` and `fine` transformers."""
    sizes = transformers["text"]
    known = {model.semantic.transformer: model.name for model in (SMALL, LARGE)}
    return dataclasses.replace(
        LARGE,
        name=known.get(sizes, "bark-custom"),
        semantic=dataclasses.replace(LARGE.semantic, transformer=sizes),
        coarse=dataclasses.replace(LARGE.coarse, transformer=transformers["coarse"]),
        fine=dataclasses.replace(
            LARGE.fine,
            transformer=transformers["fine"],
            num_codebooks=num_codebooks,
            num_codebooks_given=num_codebooks_given,
        ),
        codec=codec,
        tokenizer=tokenizer,
    )


def tokenizer_config(directory: Path) -> TokenizerConfig:
    """The word-piece vocabulary in `directory`; raises `CheckpointError` if there is none."""
    for name in _TOKENIZER_FILES:
        if (directory / name).is_file():
            return TokenizerConfig(kind="wordpiece", file=name)
    raise CheckpointError(
        f"{directory}: no tokenizer.json or vocab.txt. Bark reads text with the word pieces of "
        "bert-base-multilingual-cased; take tokenizer.json from https://huggingface.co/suno/bark"
    )


def _present(directory: Path, stage: str) -> Path | None:
    for name in (f"{stage}_2.pt", f"{stage}.pt"):
        if (directory / name).is_file():
            return directory / name
    return None


def _stage_file(directory: Path, stage: str) -> Path:
    if file := _present(directory, stage):
        return file
    raise CheckpointError(
        f"{directory}: neither {stage}_2.pt (large) nor {stage}.pt (small) is there; "
        "both are found at https://huggingface.co/suno/bark"
    )


def _codec_file(directory: Path) -> Path:
    if files := sorted(directory.glob(_CODEC_GLOB)):
        return files[0]
    raise CheckpointError(f"{directory}: no {_CODEC_GLOB}. Suno's files carry no codec; take {_CODEC_ORIGIN}")


def _read_stage(file: Path) -> tuple[dict[str, Any], Weights]:
    content = read_pickle(file)
    if not isinstance(content, dict) or not isinstance(content.get("model_args"), dict):
        raise CheckpointError(f"{file}: model_args is missing; this is none of Suno's checkpoints")
    if content["model_args"].get("bias"):
        raise CheckpointError(f"{file}: model_args.bias is true; only Bark's released form, without, is read")
    read_again = reader_again([file], lambda: _stage_tensors(read_pickle(file), file))
    return content["model_args"], Weights(_stage_tensors(content, file), str(file), read_again)


def _stage_tensors(content: dict[str, Any], file: Path) -> dict[str, Tensor]:
    return {
        key.removeprefix("_orig_mod."): tensor
        for key, tensor in check_state(content.get("model"), f"{file}: model").items()
        if not key.endswith(".attn.bias")  # the causal mask, kept by older files
    }


def _transformer(args: dict[str, Any], file: Path) -> TransformerConfig:
    args = {"input_vocab_size": args.get("vocab_size"), "output_vocab_size": args.get("vocab_size"), **args}
    return TransformerConfig(
        num_layers=_size(args, "n_layer", file),
        num_heads=_size(args, "n_head", file),
        width=_size(args, "n_embd", file),
        block_size=_size(args, "block_size", file),
        input_vocab_size=_size(args, "input_vocab_size", file),
        output_vocab_size=_size(args, "output_vocab_size", file),
    )


def _size(args: dict[str, Any], key: str, file: Path) -> int:
    value = args.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise CheckpointError(f"{file}: model_args.{key} is missing or no positive number: {value!r}")
    return value
