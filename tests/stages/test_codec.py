"""The codec stage decodes what waits; what a sentence's end is padded with is never heard."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from streamer.stages.codec import LAST_FRAMES_MULTIPLE, CodecStage
from tests.fakes.tiny_bark import TINY, tiny_model

LONGEST = 40
FIRST_FRAMES = 12


def _work(num_frames: int, slot: int = 0) -> Any:
    """A sentence of which no code has been made yet, as far as the stage looks at it."""
    shape = TINY.codec.num_codebooks, num_frames
    generator = torch.Generator().manual_seed(num_frames)
    codes = torch.randint(0, TINY.codec.codebook_size, shape, generator=generator)
    return SimpleNamespace(
        slot=slot,
        fine=SimpleNamespace(codes=codes, num_frames=0),
        audio=SimpleNamespace(num_frames=0, num_done=0, waiting=[]),
        is_fine_finished=False,
        failure=None,
    )


def _decode(stage: CodecStage, works: list[Any], ends: list[int]) -> None:
    for work, end in zip(works, ends, strict=True):
        work.fine.num_frames = end
        work.is_fine_finished = end == work.fine.codes.shape[1]
    pending = stage.step(works)
    pending.finish()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> tuple[CodecStage, list[tuple[int, int]]]:
    """A stage, and the rows and frames that its model decodes at a time."""
    model = tiny_model().codec
    shapes: list[tuple[int, int]] = []
    decode_chunk = model.decode_chunk

    def note(codes: Tensor, *arguments: Any, **options: Any) -> Tensor:
        shapes.append((codes.shape[0], codes.shape[2]))
        return decode_chunk(codes, *arguments, **options)

    monkeypatch.setattr(model, "decode_chunk", note)
    return CodecStage(model, model.initial_state(2), max_rows=2), shapes


def test_sentences_of_all_lengths_are_decoded_in_few_shapes(
    decoded: tuple[CodecStage, list[tuple[int, int]]],
) -> None:
    """In one chunk or in two a sentence is what the whole decoder makes of it, and ends come in multiples of eight."""
    stage, shapes = decoded
    least = stage._model.min_first_frames
    for num_frames in range(1, LONGEST + 1):
        for ends in ([num_frames], [FIRST_FRAMES, num_frames]):
            if sorted(set(ends)) != ends:
                continue
            work = _work(num_frames)
            for end in ends:
                _decode(stage, [work], [end])
            whole = stage._model.decode(work.fine.codes[None])[0]
            torch.testing.assert_close(
                torch.cat([torch.from_numpy(part) for part in work.audio.waiting]), whole, atol=1e-5, rtol=0
            )
            assert work.audio.num_done == work.audio.num_frames == num_frames
    ends = set(range(LAST_FRAMES_MULTIPLE, LONGEST + 1, LAST_FRAMES_MULTIPLE))
    assert {num_frames for _, num_frames in shapes} == set(range(1, least)) | ends | {FIRST_FRAMES}


def test_ends_of_unequal_lengths_are_decoded_together(
    decoded: tuple[CodecStage, list[tuple[int, int]]],
) -> None:
    """Rows that are padded to the same length share a step, and each gets its own sound alone."""
    stage, shapes = decoded
    works = [_work(18, slot=0), _work(23, slot=1)]
    _decode(stage, works, [18, 23])
    assert shapes == [(2, 24)]
    for work in works:
        whole = stage._model.decode(work.fine.codes[None])[0]
        torch.testing.assert_close(torch.from_numpy(work.audio.waiting[0]), whole, atol=1e-5, rtol=0)
