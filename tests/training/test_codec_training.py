"""The codebooks of an existing model can be kept when its codec is trained further."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from streamer.assembly import BUILTIN_MODEL
from streamer.models.files.checkpoint import load_model
from training import quantizer
from training.features import NUM_FEATURES
from training.quantizer import encode, recovered
from training.train_decoder import Training, new_decoder


def test_codebooks_are_found_again_in_a_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    """The features' codebooks are recovered from the scaled and shifted codebooks of a codec."""
    monkeypatch.setattr(quantizer, "NUM_CODEBOOKS", 2)
    chance = torch.Generator().manual_seed(1)
    books = torch.randn(2, 1024, NUM_FEATURES, generator=chance) * torch.tensor([3.0, 0.3])[:, None, None]
    books[0] += 2.0
    codes = torch.randint(1024, (2, 4000), generator=chance)
    vectors = books[0][codes[0]] + books[1][codes[1]]
    scaled = books.clone()
    scaled[0] -= books[0].mean(dim=0)
    found = recovered(vectors, scaled / books[0].std())
    torch.testing.assert_close(found, books, rtol=0.02, atol=0.05)
    assert (encode(vectors, found) == codes).float().mean() > 0.99


def test_the_scale_of_dense_codebooks_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where any point has a code near by, codes of a wrong scale fit nearly as well: its search goes on to the end."""
    monkeypatch.setattr(quantizer, "NUM_CODEBOOKS", 1)
    chance = torch.Generator().manual_seed(1)
    plane = torch.randn(2, NUM_FEATURES, generator=chance)
    books = (torch.randn(1, 1024, 2, generator=chance) @ plane) * 3.0
    vectors = books[0][torch.randint(1024, (4000,), generator=chance)]
    centred = books - books[0].mean(dim=0)
    found = recovered(vectors, centred / (1.5 * books[0].std()))
    assert (found - found.mean(dim=1)).std() / centred.std() == pytest.approx(1.0, abs=0.01)


def test_a_decoder_begins_with_another_ones_weights_and_its_own_codebooks(tmp_path: Path) -> None:
    """The other voice's codes have another meaning, but what its layers have learnt about sound is kept."""
    books = np.random.default_rng(0).normal(size=(8, 1024, NUM_FEATURES)).astype(np.float32)
    np.save(tmp_path / "codebooks.npy", books)
    ours = Training(tmp_path, "cpu", BUILTIN_MODEL).decoder.state_dict()
    theirs = load_model(BUILTIN_MODEL).codec.state_dict()
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        expected = new_decoder(books).codebooks if name == "codebooks" else theirs[name]
        torch.testing.assert_close(value, expected, rtol=0, atol=0)
