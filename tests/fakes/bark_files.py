"""Writes the weights of Hugging Face's Bark as Suno's and EnCodec's released files lay them out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def save_suno_stage(file: Path, state: dict[str, Tensor], **changed_args: object) -> None:
    """Write one of Suno's files; the sizes in `model_args` may be changed, None taking a key away."""
    is_fine = "transformer.wtes.0.weight" in state
    embedding = state["transformer.wtes.0.weight" if is_fine else "transformer.wte.weight"]
    head = state["lm_heads.0.weight" if is_fine else "lm_head.weight"]
    args: dict[str, object] = {"n_layer": 1, "n_head": 2, "n_embd": 8, "block_size": 1024, "bias": False}
    args |= {"dropout": 0.0, "input_vocab_size": len(embedding), "output_vocab_size": len(head)}
    args |= {"n_codes_total": 8, "n_codes_given": 1} if is_fine else {}
    args |= changed_args
    content = {
        "model_args": {key: value for key, value in args.items() if value is not None},
        "model": {f"_orig_mod.{key}": tensor for key, tensor in state.items()},
        "best_val_loss": np.float64(2.5),
        "iter_num": 7,
        "optimizer": {
            "state": {0: {"step": torch.tensor(7.0), "exp_avg": torch.ones(3)}},
            "param_groups": [],
        },
    }
    torch.save(content, file)


def suno_names(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return one stage of Hugging Face's state dict under Suno's names."""
    renames = [
        ("input_embeds_layers.", "transformer.wtes."),
        ("input_embeds_layer.", "transformer.wte."),
        ("position_embeds_layer.", "transformer.wpe."),
        ("layernorm_final.", "transformer.ln_f."),
        ("layernorm_", "ln_"),
        ("att_proj", "c_attn"),
        ("attn.out_proj", "attn.c_proj"),
        ("mlp.in_proj", "mlp.c_fc"),
        ("mlp.out_proj", "mlp.c_proj"),
    ]
    named = {}
    for key, tensor in state.items():
        if not key.startswith(prefix):
            continue
        name = key.removeprefix(prefix)
        name = f"transformer.h.{name.removeprefix('layers.')}" if name.startswith("layers.") else name
        for theirs, suno in renames:
            name = name.replace(theirs, suno)
        named[name] = tensor
    return named


def encodec_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return Hugging Face's codec under the encodec package's names."""
    named = {}
    for key, tensor in state.items():
        if not key.startswith("codec_model."):
            continue
        name = key.removeprefix("codec_model.").replace("decoder.layers.", "decoder.model.")
        is_transposed = name.startswith(tuple(f"decoder.model.{n}.conv." for n in (3, 6, 9, 12)))
        name = name.replace(".conv.", ".convtr.convtr." if is_transposed else ".conv.conv.")
        name = name.replace("parametrizations.weight.original0", "weight_g")
        name = name.replace("parametrizations.weight.original1", "weight_v")
        name = name.replace("quantizer.layers.", "quantizer.vq.layers.").replace(".codebook.", "._codebook.")
        named[name] = tensor
    return named
