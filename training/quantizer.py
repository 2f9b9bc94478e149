"""Makes the codes: a residual vector quantizer, fitted by k-means on the frames' features.

Its codebooks become the EnCodec quantizer of the built-in model; codebooks 0 and 1 (the coarse ones) hold phone
and pitch, the others refine the spectrum.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from streamer.models.files.checkpoint import load_model

NUM_CODEBOOKS, CODEBOOK_SIZE = 8, 1024
NUM_SAMPLES = 200_000
NUM_ROUNDS = 12
NUM_SCALE_SAMPLES = 20_000
MAX_SCALE_ROUNDS = 500
SCALE_TOLERANCE = 1e-5
"""The scale of a codec's codebooks is found once a round changes it by no more than this share of it; some 50 rounds
with so many vectors."""


def nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Return the index of the nearest codebook entry, [vectors]."""
    lengths = codebook.square().sum(dim=1)
    parts = [(lengths - 2 * part @ codebook.T).argmin(dim=1) for part in vectors.split(16_384)]
    return torch.cat(parts)


def k_means(vectors: Tensor) -> Tensor:
    """Return a codebook [codebook_size, features]; an entry without vectors is moved to a random vector."""
    codebook = vectors[torch.randperm(len(vectors))[:CODEBOOK_SIZE]].clone()
    for _ in range(NUM_ROUNDS):
        choice = nearest(vectors, codebook)
        counts = torch.bincount(choice, minlength=CODEBOOK_SIZE)
        codebook = torch.zeros_like(codebook).index_add_(0, choice, vectors) / counts.clamp(min=1)[:, None]
        empty = counts == 0
        codebook[empty] = vectors[torch.randint(len(vectors), (int(empty.sum()),))]
    return codebook


def fit(vectors: Tensor) -> Tensor:
    """Return codebooks [codebooks, codebook_size, features]; each fits what the ones before it leave."""
    books = []
    rest = vectors.clone()
    total = rest.var(dim=0).sum()
    for number in range(NUM_CODEBOOKS):
        book = k_means(rest)
        rest -= book[nearest(rest, book)]
        books.append(book)
        print(
            f"codebook {number}: {rest.square().sum(dim=1).mean() / total:.4f} of the variance is left",
            flush=True,
        )
    return torch.stack(books)


def encode(vectors: Tensor, books: Tensor) -> Tensor:
    """Return the codes [codebooks, frames] of features [frames, features]."""
    rest = vectors.clone()
    codes = []
    for book in books:
        choice = nearest(rest, book)
        rest -= book[choice]
        codes.append(choice)
    return torch.stack(codes)


def recovered(vectors: Tensor, codebooks: Tensor) -> Tensor:
    """Return a codec's codebooks [codebooks, codebook_size, features] in the features' own units.

    A codec's codebooks are shifted and scaled (`train_decoder.new_decoder`). The scale and the means are found again
    as those with which the codes fit the vectors best; they and the codes are improved in turns, until they stay.
    Raises `RuntimeError` if they do not.
    """
    vectors = vectors[torch.randperm(len(vectors))[:NUM_SCALE_SAMPLES]]
    mean, scale = vectors.mean(dim=0), vectors.std(dim=0).mean()
    for _ in range(MAX_SCALE_ROUNDS):
        last_scale, near = scale, codebooks * scale
        near[0] += mean
        codes = encode(vectors, near)
        made = torch.stack([book[choice] for book, choice in zip(codebooks, codes, strict=True)]).sum(dim=0)
        centred, made_mean = vectors - vectors.mean(dim=0), made.mean(dim=0)
        scale = (centred * (made - made_mean)).sum() / (made - made_mean).square().sum()
        mean = vectors.mean(dim=0) - scale * made_mean
        if abs(scale - last_scale) <= SCALE_TOLERANCE * scale:
            break
    else:
        raise RuntimeError(
            f"the codebooks' scale still changes after {MAX_SCALE_ROUNDS} rounds: {float(scale)}"
        )
    found = codebooks * scale
    found[0] += mean
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="model directory whose codebooks to keep")
    arguments = parser.parse_args()
    torch.manual_seed(1)
    path = arguments.work / "codebooks.npy"
    shards = sorted((arguments.work / "features").glob("*.npz"))
    if not path.exists():
        each = NUM_SAMPLES // len(shards)
        parts = []
        for shard in shards:
            features = np.load(shard)["features"].astype(np.float32)
            parts.append(torch.from_numpy(features)[torch.randperm(len(features))[:each]])
        vectors = torch.cat(parts)
        kept = arguments.start and load_model(arguments.start).codec.codebooks.detach()
        np.save(path, (fit(vectors) if kept is None else recovered(vectors, kept)).numpy())
    books = torch.from_numpy(np.load(path))
    folder = arguments.work / "codes"
    folder.mkdir(exist_ok=True)
    for shard in shards:
        target = folder / f"{shard.stem}.npy"
        if not target.exists():
            features = torch.from_numpy(np.load(shard)["features"].astype(np.float32))
            np.save(target, encode(features, books).numpy().astype(np.int16))


if __name__ == "__main__":
    main()
