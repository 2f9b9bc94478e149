"""Renames an EnCodec decoder's weights to ours: from the encodec package's names or from Hugging Face's."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from streamer.errors import CheckpointError

_DECODER = re.compile(r"decoder\.(?:model|layers)\.(?P<name>.+)")
_CODEBOOK = re.compile(r"quantizer\.(?:vq\.)?layers\.(?P<number>\d+)\._?codebook\.embed")
_MAGNITUDE = (".weight_g", ".parametrizations.weight.original0")
_DIRECTION = (".weight_v", ".parametrizations.weight.original1")


def codec_weights(source: dict[str, Tensor], num_codebooks: int, file: str) -> dict[str, Tensor]:
    """`CodecDecoder`'s state dict out of a whole EnCodec state dict; its encoder is left out.

    Weight normalization, in either of torch's namings, is folded. Raises `CheckpointError` naming `file`
    and the key if a codebook or half of a normalized weight is missing.
    """
    weights: dict[str, Tensor] = {}
    codebooks: dict[int, Tensor] = {}
    for key, tensor in source.items():
        if match := _CODEBOOK.fullmatch(key):
            codebooks[int(match["number"])] = tensor
        elif match := _DECODER.fullmatch(key):
            name = match["name"].replace(".conv.conv.", ".conv.").replace(".convtr.convtr.", ".conv.")
            weights[name] = tensor
    missing = [number for number in range(num_codebooks) if number not in codebooks]
    if missing:
        raise CheckpointError(f"{file}: codebook {missing[0]} of the codec's quantizer is missing")
    if len({codebooks[number].shape for number in range(num_codebooks)}) != 1:
        raise CheckpointError(f"{file}: the codebooks of the codec's quantizer differ in shape")
    folded = _fold_weight_norm(weights, file)
    folded["codebooks"] = torch.stack([codebooks[number] for number in range(num_codebooks)])
    return {f"layers.{key}" if key != "codebooks" else key: tensor for key, tensor in folded.items()}


def _fold_weight_norm(weights: dict[str, Tensor], file: str) -> dict[str, Tensor]:
    """weight = g * v / |v|, the norm taken over all dimensions but the first."""
    folded = dict(weights)
    for magnitude_suffix, direction_suffix in zip(_MAGNITUDE, _DIRECTION, strict=True):
        for key in weights:
            if not key.endswith((magnitude_suffix, direction_suffix)):
                continue
            stem = key.removesuffix(magnitude_suffix).removesuffix(direction_suffix)
            halves = (stem + magnitude_suffix, stem + direction_suffix)
            for half in halves:
                if half not in weights:
                    raise CheckpointError(f"{file}: {key} has no {half} beside it")
            magnitude, direction = (weights[half].float() for half in halves)
            if magnitude.shape != (direction.shape[0], *[1] * (direction.dim() - 1)):
                raise CheckpointError(f"{file}: {halves[0]} has the wrong shape {tuple(magnitude.shape)}")
            folded[stem + ".weight"] = (
                magnitude * direction / direction.flatten(1).norm(dim=1).view_as(magnitude)
            )
            folded.pop(key)
    return folded
