"""The fine transformer has the logits of Hugging Face's Bark, and shares heads and embeddings."""

from __future__ import annotations

from typing import Any

import torch

from streamer.models.config import TransformerConfig
from streamer.models.files.hugging_face import stage_weights
from streamer.models.fine_gpt import FineGpt


def make_fine(**options: float) -> FineGpt:
    return FineGpt(TransformerConfig(1, 2, 8, 1024, 1056, 1056), 8, 1, **options)


def test_logits_equal_hugging_face(bark: Any) -> None:
    """Logits of every codebook that is predicted equal those of transformers' Bark."""
    torch.manual_seed(6)
    fine = make_fine().eval()
    fine.load_state_dict(stage_weights(bark.state_dict(), "fine_acoustics."))
    codes = torch.randint(1025, (2, 8, 50))
    with torch.no_grad():
        for codebook in range(1, 8):
            expected = bark.fine_acoustics(codebook, codes.transpose(1, 2)).logits
            error = (fine(codebook, codes) - expected).abs().max() / expected.abs().max()
            assert error < 1e-4


def test_later_codebooks_are_not_read() -> None:
    """Codebook n depends on codebooks up to n, on every frame, and on nothing later."""
    torch.manual_seed(7)
    fine = make_fine().eval()
    codes = torch.randint(1024, (1, 8, 10))
    changed = codes.clone()
    changed[:, 4:] = 3
    assert torch.equal(fine(3, codes), fine(3, changed))
    changed[:, 3, 9] = (codes[:, 3, 9] + 1) % 1024
    assert not torch.equal(fine(3, codes)[:, 0], fine(3, changed)[:, 0])


def test_heads_share_the_embeddings() -> None:
    """Training a head trains the embedding of the next codebook: they are one parameter."""
    fine = make_fine(dropout=0.1)
    assert len(list(fine.lm_heads)) == 7
    for number in range(7):
        assert fine.lm_heads[number].weight is fine.transformer.wtes[number + 1].weight
