"""The codec stage: codes to audio, with the decoder's state carried from chunk to chunk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from streamer.engine.device.transfer import PendingResult, PendingResults, Readback, upload
from streamer.engine.stage import Pending
from streamer.errors import ModelNumericError
from streamer.models.codec import CodecDecoder, CodecState
from streamer.stages.sentence import SentenceWork


class CodecStage:
    """Runs EnCodec's decoder with one row of state per slot; rows of equal shape decode together."""

    name = "codec"

    def __init__(self, model: CodecDecoder, state: CodecState, *, max_rows: int) -> None:
        self.max_rows = max_rows
        self._model = model
        self._state = state
        self._device = next(model.parameters()).device
        # The first convolution is padded by reflection, so there is no output before its kernel is full.
        self._num_first_frames = model.min_first_frames

    @torch.inference_mode()
    def begin(self, work: SentenceWork) -> None:
        self._state.reset(upload([work.slot], self._device))

    def is_ready(self, work: SentenceWork) -> bool:
        num_waiting = work.fine.num_frames - work.audio.num_frames
        if work.audio.num_frames or work.is_fine_finished:
            return num_waiting > 0
        return num_waiting >= self._num_first_frames

    def is_prefill(self, _: SentenceWork) -> bool:
        return False

    @torch.inference_mode()
    def step(self, batch: Sequence[SentenceWork]) -> Pending:
        """Decode all frames that wait, in every row."""
        by_shape: dict[tuple[int, bool], list[SentenceWork]] = defaultdict(list)
        for work in batch:
            is_first = work.audio.num_frames == 0
            by_shape[work.fine.num_frames - work.audio.num_frames, is_first].append(work)
        return PendingResults(
            [self._decode(works, is_first=is_first) for (_, is_first), works in by_shape.items()]
        )

    def _decode(self, works: list[SentenceWork], *, is_first: bool) -> Pending:
        codes = torch.stack(
            [work.fine.codes[:, work.audio.num_frames : work.fine.num_frames] for work in works]
        )  # [rows, codebooks, frames]
        slots = upload([work.slot for work in works], self._device)
        samples = self._model.decode_chunk(codes.to(self._device), self._state, slots, first=is_first)
        for work in works:
            work.audio.num_frames = work.fine.num_frames
        return PendingResult(
            Readback(samples.float().clamp(-1, 1)), partial(self._commit, works, codes.shape[2])
        )

    def _commit(self, works: list[SentenceWork], num_frames: int, samples: Tensor) -> None:
        for work, row, is_sound in zip(works, samples, samples.isfinite().all(dim=-1).tolist(), strict=True):
            work.audio.num_done += num_frames
            if is_sound:
                work.audio.waiting.append(row.numpy())
            else:
                work.failure = work.failure or ModelNumericError("the codec's output is not finite")
