"""The codebooks of an existing model can be kept when its codec is trained further."""

from __future__ import annotations

import pytest
import torch

from training import quantizer
from training.features import NUM_FEATURES
from training.quantizer import encode, recovered


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
