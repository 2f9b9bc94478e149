"""The codec stage: codes to audio, with the decoder's state carried from chunk to chunk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from streamer.engine.device.cpu_stream import CpuStream
from streamer.engine.device.transfer import PendingResult, PendingResults, Readback, upload
from streamer.engine.stage import Pending
from streamer.errors import ModelNumericError
from streamer.models.codec import CodecDecoder, CodecState
from streamer.stages.sentence import SentenceWork

LAST_FRAMES_MULTIPLE: Final = 8
"""A sentence's last chunk is padded to a multiple of this many frames.

Sentences end anywhere, and oneDNN compiles each layer for each length, at the cost of some milliseconds, and keeps a
thousand of these, in some hundred megabytes.
"""


class CodecStage:
    """Runs EnCodec's decoder with one row of state per slot; rows of equal shape decode together."""

    name = "codec"
    step_beside = None
    is_joined = False
    step_here = None
    preparation = None

    def __init__(
        self, model: CodecDecoder, state: CodecState, *, max_rows: int, stream: CpuStream | None = None
    ) -> None:
        self.max_rows = max_rows
        self.runs_beside = stream is not None
        self._stream = stream
        self._model = model
        self._state = state
        self._device = next(model.parameters()).device
        # The first convolution is padded by reflection, so there is no output before its kernel is full.
        self._num_first_frames = model.min_first_frames

    def begin(self, _: SentenceWork) -> None:
        """Do nothing: the slot's state is cleared for the first chunk, behind what a sentence before left to do."""

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
            by_shape[self._num_decoded(work), work.audio.num_frames == 0].append(work)
        return PendingResults(
            [
                self._decode(works, num_frames, is_first=is_first)
                for (num_frames, is_first), works in by_shape.items()
            ]
        )

    def _num_decoded(self, work: SentenceWork) -> int:
        """Return how many frames are decoded: those that wait, and behind a sentence's end some that are dropped."""
        num_waiting = work.fine.num_frames - work.audio.num_frames
        is_short = work.audio.num_frames == 0 and num_waiting < self._num_first_frames  # its end is reflected
        if is_short or not work.is_fine_finished:
            return num_waiting
        return num_waiting + -num_waiting % LAST_FRAMES_MULTIPLE

    def _decode(self, works: list[SentenceWork], num_frames: int, *, is_first: bool) -> Pending:
        slots = [work.slot for work in works]
        spans = [slice(work.audio.num_frames, work.fine.num_frames) for work in works]

        def run() -> Tensor:
            rows = [work.fine.codes[:, span] for work, span in zip(works, spans, strict=True)]
            codes = torch.stack([functional.pad(row, (0, num_frames - row.shape[1])) for row in rows])
            if (
                self._stream is not None
            ):  # If the fine step before this one failed, it left pads, which have no sound.
                codes = codes.clamp(max=self._model.config.codebook_size - 1)
            return self._run(codes.to(self._device), slots, is_first=is_first)

        commit = partial(self._commit, works, [span.stop - span.start for span in spans])
        pending = self._stream.launch(run, commit) if self._stream else PendingResult(Readback(run()), commit)
        for work, span in zip(works, spans, strict=True):
            work.audio.num_frames = span.stop
        return pending

    def _run(self, codes: Tensor, slots: list[int], *, is_first: bool) -> Tensor:
        """Decode codes [rows, codebooks, frames] to [rows, samples], on from the slots' states or from their begin."""
        places = upload(slots, self._device)
        if is_first:
            self._state.reset(places)
        return self._model.decode_chunk(codes, self._state, places, first=is_first).float().clamp(-1, 1)

    def _commit(self, works: list[SentenceWork], num_waited: list[int], samples: Tensor) -> None:
        for work, num_frames, row in zip(works, num_waited, samples, strict=True):
            work.audio.num_done += num_frames
            sound = row[: num_frames * self._model.config.hop_samples]
            if sound.isfinite().all():
                work.audio.waiting.append(sound.numpy())
            else:
                work.failure = work.failure or ModelNumericError("the codec's output is not finite")
