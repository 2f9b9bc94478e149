"""What the fine stage computes of a window: no more than something reads."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from streamer.models.config import CoarseConfig, FineConfig, TransformerConfig
from streamer.models.cpu import int8_forward
from streamer.models.cpu.int8_gpt import use_int8
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


@pytest.mark.parametrize(("column", "num_read"), [(8, 24), (8, 13), (20, 21), (0, 24)])
@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_a_compiled_row_is_filled_as_pass_after_pass(
    column: int, num_read: int, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The codes are the same, but for draws on the edge, and so is whether all went well."""
    monkeypatch.setattr(int8_forward, "MIN_WIDTH", 1)
    monkeypatch.setattr(int8_forward, "has_fast_int8", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    torch.manual_seed(0)
    model = FineGpt(FINE.transformer, FINE.num_codebooks).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter += torch.randn_like(parameter) * 0.3
    use_int8(model)
    stage = FineStage(model, FINE, COARSE, max_rows=1)
    assert stage.fill_row is not None
    buffer = torch.full((FINE.num_codebooks, FINE.context), FINE.pad_token)
    buffer[:, :column] = torch.randint(32, (FINE.num_codebooks, column))
    buffer[:2, column:num_read] = torch.randint(32, (2, num_read - column))
    keys = [5, -7]

    def filled(stage: FineStage) -> tuple[Tensor, bool]:
        codes = buffer.clone()
        assert stage.fill_row is not None
        is_well = stage.fill_row(codes, (column, 24, num_read), 100, temperature, keys, FINE.codebook_size)
        return codes, is_well

    rows = torch.cat([buffer.flatten(), torch.tensor([column, 100, round(temperature * (1 << 20)), *keys])])
    plain = stage.fill(rows[None], length=24 - column, is_filtered=False, num_read=num_read)[0]
    codes, is_well = filled(stage)
    is_same = codes == plain[:-1].view_as(buffer)
    assert is_well and plain[-1] == 1
    assert is_same[:2].all() and is_same[:, :column].all() and is_same[3, num_read:].all()
    assert is_same[2:, column:num_read].float().mean() > 0.75
    model.transformer.ln_f.weight[:] = torch.nan
    assert not filled(FineStage(model, FINE, COARSE, max_rows=1))[1]
