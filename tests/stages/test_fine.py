"""What the fine stage computes of a window: no more than something reads."""

from __future__ import annotations

import torch

from streamer.models.config import CoarseConfig, FineConfig, TransformerConfig
from streamer.models.fine_gpt import FineGpt
from streamer.stages.fine import FineStage

TRANSFORMER = TransformerConfig(1, 2, 16, 24, 33, 33)
COARSE = CoarseConfig(TRANSFORMER, num_codebooks=2, codebook_size=32)
FINE = FineConfig(TRANSFORMER, context=24, history=8, num_codebooks=4, codebook_size=32, pad_token=32)


def test_the_last_codebook_is_made_where_it_is_read() -> None:
    """Codes of the frames that are read are the same as ever, and behind them only the last codebook stays empty."""
    torch.manual_seed(0)
    model = FineGpt(FINE.transformer, FINE.num_codebooks).eval().requires_grad_(False)
    columns: list[tuple[int, int | None]] = []
    model.register_forward_pre_hook(
        lambda _module, _args, kwargs: columns.append((kwargs["first_column"], kwargs["end_column"])),
        with_kwargs=True,
    )
    stage = FineStage(model, FINE, COARSE, max_rows=1)
    buffer = torch.full((FINE.num_codebooks, FINE.context), FINE.pad_token)
    buffer[:, :8] = torch.randint(32, (FINE.num_codebooks, 8))
    buffer[:2, 8:13] = torch.randint(32, (2, 5))
    temperature = round(0.5 * (1 << 20))
    rows = torch.cat([buffer.flatten(), torch.tensor([8, 100, temperature, 1, 2])])[None]
    whole, part = (
        stage.fill(rows, length=16, is_filtered=False, num_read=num_read)[0, :-1].view_as(buffer)
        for num_read in (None, 13)
    )
    assert columns == [(8, 24), (8, 24), (8, 24), (8, 13)]
    assert torch.equal(part[:, :13], whole[:, :13]) and torch.equal(part[:3], whole[:3])
    assert (part[3, 13:] == FINE.pad_token).all() and (whole[2:, 8:] != FINE.pad_token).all()
