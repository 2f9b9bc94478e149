"""The fine stage: the remaining codebooks, chunk by chunk, each seen with the frames that came before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from streamer.engine.sampler import RowSampling, sample
from streamer.errors import ModelNumericError
from streamer.models.fine_gpt import FineGpt
from streamer.models.vocabulary import CoarseConfig, FineConfig
from streamer.stages.fine_chunks import chunk_end
from streamer.stages.sentence import SentenceWork


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Frames [first, end) of the sentence, which sit in the buffer's columns from `column` on."""

    work: SentenceWork
    first: int
    end: int
    column: int

    @property
    def columns(self) -> slice:
        return slice(self.column, self.column + self.end - self.first)


class FineStage:
    """After `generate_fine` of suno-ai/bark, as if the sentence ended at each chunk's border.

    The model is not causal, so what follows a chunk would change it; a border fixed by the frame index
    makes the result independent of how much happens to exist. Frames once made are never made again.
    """

    name = "fine"

    def __init__(self, model: FineGpt, config: FineConfig, coarse: CoarseConfig, *, max_rows: int) -> None:
        self.max_rows = max_rows
        self._model = model
        self._config = config
        self._coarse = coarse
        self._device = next(model.parameters()).device

    def begin(self, work: SentenceWork) -> None:
        """Nothing to clear: the stage keeps nothing between chunks but the codes."""

    def is_ready(self, work: SentenceWork) -> bool:
        num_ready = work.num_coarse_frames - work.fine.num_frames
        if work.is_coarse_finished:
            return num_ready > 0
        return work.num_coarse_frames >= chunk_end(work.fine.num_frames, self._config)

    @torch.inference_mode()
    def step(self, batch: Sequence[SentenceWork]) -> None:
        """The next chunk of every row, codebook after codebook."""
        placed = [self._place(work) for work in batch]
        chunks = [chunk for chunk, _ in placed]
        buffer = torch.stack([codes for _, codes in placed]).to(self._device)  # [rows, codebooks, context]
        for codebook in range(self._coarse.num_codebooks, self._config.num_codebooks):
            logits = self._model(codebook, buffer)[:, :, : self._config.codebook_size]
            for row, chunk in enumerate(chunks):
                buffer[row, codebook, chunk.column :] = self._sample(chunk, codebook, logits[row])
        for codes, chunk in zip(buffer.cpu(), chunks, strict=True):
            chunk.work.fine.codes[:, chunk.first : chunk.end] = codes[:, chunk.columns]
            chunk.work.fine.num_frames = chunk.end

    def _place(self, work: SentenceWork) -> tuple[_Chunk, Tensor]:
        """The next chunk and its buffer [codebooks, context]: left context, coarse codes, pad."""
        config = self._config
        first = work.fine.num_frames
        end = min(chunk_end(first, config), work.num_coarse_frames)
        left = work.fine.codes[:, max(0, first - config.history) : first]
        num_prompt = config.history - left.shape[1]
        if num_prompt > 0:
            prompt = torch.from_numpy(work.prompt.voice.fine[:, -num_prompt:].astype(np.int64))
            left = torch.cat([prompt, left], dim=1)
        chunk = _Chunk(work, first, end, left.shape[1])
        buffer = torch.full((config.num_codebooks, config.context), config.pad_token)
        buffer[:, : chunk.column] = left
        buffer[: self._coarse.num_codebooks, chunk.columns] = self._coarse_codes(work, first, end)
        return chunk, buffer

    def _coarse_codes(self, work: SentenceWork, first: int, end: int) -> Tensor:
        """The coarse codes of frames [first, end): [coarse codebooks, frames]."""
        coarse = self._coarse
        flat = torch.tensor(work.coarse.tokens[first * coarse.num_codebooks : end * coarse.num_codebooks])
        codes = flat.reshape(-1, coarse.num_codebooks).T - coarse.codebook_offset
        return codes - coarse.codebook_size * torch.arange(coarse.num_codebooks)[:, None]

    def _sample(self, chunk: _Chunk, codebook: int, logits: Tensor) -> Tensor:
        """One codebook of the chunk and the pad behind it, [columns], from logits [context, size].

        The reference predicts the pad's columns too, and the next codebook is made with them in sight.
        """
        work, num_columns = chunk.work, self._config.context - chunk.column
        noise = work.fine.noises[codebook].rows(chunk.first, num_columns).to(self._device)
        sampling = RowSampling(work.prompt.params.fine_temp)
        draw = sample(logits[chunk.column :], noise, [sampling] * num_columns)
        if not bool(draw.is_finite.all()):
            work.failure = ModelNumericError("the fine model's output is not finite")
        return draw.tokens
