"""What the fine stage computes of a window: no more than something reads."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from streamer.models.config import CoarseConfig, FineConfig, TransformerConfig
from streamer.models.cpu import int8_forward
from streamer.models.cpu.int8_gpt import use_int8
from streamer.models.fine_gpt import FineGpt
from streamer.stages.fine import FineStage
from streamer.stages.sentence import SentenceWork
from tests.fakes.tiny_bark import TINY, tiny_model, tiny_voice, tiny_work

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


def waiting(num_frames: int, seed: int, *, num_voice_tokens: int = 20) -> SentenceWork:
    """Return a sentence of TINY's whose coarse tokens are all there."""
    work = tiny_work(tiny_voice(num_voice_tokens, seed=seed))
    torch.manual_seed(seed)
    codes = torch.randint(TINY.coarse.codebook_size, (num_frames, 2)) + torch.tensor([0, 20])
    work.semantic.tokens, work.semantic.is_finished = [0] * (num_frames * 2 // 3), True
    work.coarse.tokens = (codes + TINY.coarse.codebook_offset).flatten().tolist()[: work.num_coarse_steps]
    return work


def test_windows_without_pads_are_as_long_as_their_frames() -> None:
    """A model that wants none reads a chunk and what is left of it; rows of a step do not change each other's codes."""
    config = replace(TINY.fine, is_padded=False, last_chunk_frames=3)
    model = tiny_model()
    widths: list[int] = []
    model.fine.register_forward_pre_hook(lambda _module, args: widths.append(args[1].shape[2]))
    stage = FineStage(model.fine, config, TINY.coarse, max_rows=2)

    def filled(works: list[SentenceWork]) -> list[Tensor]:
        while ready := [work for work in works if stage.is_ready(work)]:
            stage.step(ready).finish()
        assert all(work.is_fine_finished for work in works)
        return [work.fine.codes[:, : work.fine.num_frames] for work in works]

    both = filled([waiting(24, 0), waiting(9, 1, num_voice_tokens=0)])
    widths.clear()
    alone = filled([waiting(24, 0)]) + filled([waiting(9, 1, num_voice_tokens=0)])
    # Behind a voice of 16 frames: chunks of 8 and 12, of the other 4 the end. Without: 8 and 1.
    assert widths[::2] == [24, 28, 20, 8, 9]
    assert all(torch.equal(one, other) for one, other in zip(both, alone, strict=True))
    assert all((codes < TINY.fine.codebook_size).all() for codes in both)


def test_a_short_end_lets_the_chunk_before_it_begin_early() -> None:
    """It begins while the last coarse tokens are being made, once the semantic stage has told the sentence's length."""
    config = replace(TINY.fine, chunk_frames=(30,), history=0, last_chunk_frames=4)
    stage = FineStage(tiny_model().fine, config, TINY.coarse, max_rows=1)
    work = waiting(20, 0)
    tokens, num_frames = work.coarse.tokens, work.num_coarse_frames
    assert num_frames == 19
    work.coarse.tokens = tokens[: 2 * 8]
    assert stage.is_ready(work)
    work.coarse.tokens = tokens[: 2 * 8 - 1]
    assert not stage.is_ready(work)
    work.coarse.tokens, work.semantic.is_finished = tokens[: 2 * 8], False
    assert not stage.is_ready(work)


def test_only_padded_windows_are_recorded() -> None:
    """A recording has one shape, and windows without pads have many."""

    def record(*_: object) -> None:
        raise AssertionError("nothing is recorded here")

    for is_padded in (True, False):
        config = replace(TINY.fine, is_padded=is_padded)
        stage = FineStage(tiny_model().fine, config, TINY.coarse, max_rows=2, record=record)  # type: ignore[arg-type]
        assert bool(stage.num_recordings()) is is_padded


@pytest.mark.parametrize(
    ("num_frames", "column", "num_read"), [(24, 8, 24), (24, 8, 13), (24, 20, 21), (24, 0, 24), (13, 8, 13)]
)
@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_a_compiled_row_is_filled_as_pass_after_pass(
    num_frames: int, column: int, num_read: int, temperature: float, monkeypatch: pytest.MonkeyPatch
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
    buffer = torch.full((FINE.num_codebooks, num_frames), FINE.pad_token)
    buffer[:, :column] = torch.randint(32, (FINE.num_codebooks, column))
    buffer[:2, column:num_read] = torch.randint(32, (2, num_read - column))
    keys = [5, -7]

    def filled(stage: FineStage) -> tuple[Tensor, bool]:
        codes = buffer.clone()
        assert stage.fill_row is not None
        is_well = stage.fill_row(
            codes, (column, num_frames, num_read), 100, temperature, keys, FINE.codebook_size
        )
        return codes, is_well

    rows = torch.cat([buffer.flatten(), torch.tensor([column, 100, round(temperature * (1 << 20)), *keys])])
    plain = stage.fill(rows[None], length=num_frames - column, is_filtered=False, num_read=num_read)[0]
    codes, is_well = filled(stage)
    is_same = codes == plain[:-1].view_as(buffer)
    assert is_well and plain[-1] == 1
    assert is_same[:2].all() and is_same[:, :column].all() and is_same[3, num_read:].all()
    assert is_same[2:, column:num_read].float().mean() > 0.75
    model.transformer.ln_f.weight[:] = torch.nan
    assert not filled(FineStage(model, FINE, COARSE, max_rows=1))[1]
