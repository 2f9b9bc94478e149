"""The fine stage: the remaining codebooks, chunk by chunk, each seen with the frames that came before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from streamer.engine.device.cuda_graphs import GraphedStep, Recorder, StepShape, row_counts
from streamer.engine.device.noise import noise_key
from streamer.engine.device.sampler import NO_TOP_K, NO_TOP_P, Sampling, sample
from streamer.engine.device.transfer import PendingResult, Readback, upload
from streamer.engine.stage import Pending
from streamer.errors import ModelNumericError
from streamer.models.config import CoarseConfig, FineConfig
from streamer.models.fine_gpt import FineGpt
from streamer.stages.fine_chunks import chunk_end
from streamer.stages.sentence import SentenceWork

TEMPERATURE_STEPS = 1 << 20
"""A temperature travels among integers, in millionths or so."""


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

    def __init__(
        self,
        model: FineGpt,
        config: FineConfig,
        coarse: CoarseConfig,
        *,
        max_rows: int,
        record: Recorder | None = None,
    ) -> None:
        self.max_rows = max_rows
        self._model = model
        self._config = config
        self._coarse = coarse
        self._device = next(model.parameters()).device
        self._made = range(coarse.num_codebooks, config.num_codebooks)
        self._graphed: GraphedStep | None = None
        if record is not None:
            num_fields = config.num_codebooks * config.context + 3 + len(self._made)
            self._graphed = GraphedStep(self.fill, upload([0] * num_fields, self._device), record)

    def begin(self, work: SentenceWork) -> None:
        work.fine.codes = work.fine.codes.to(self._device)

    def is_ready(self, work: SentenceWork) -> bool:
        num_ready = work.num_coarse_frames - work.fine.num_frames
        if work.is_coarse_finished:
            return num_ready > 0
        return work.num_coarse_frames >= self._border(work)

    def is_prefill(self, _: SentenceWork) -> bool:
        return True

    @torch.inference_mode()
    def step(self, batch: Sequence[SentenceWork]) -> Pending:
        """The next chunk of every row, codebook after codebook."""
        placed = [self._place(work) for work in batch]
        chunks = [chunk for chunk, _ in placed]
        windows = torch.stack([codes for _, codes in placed])  # [rows, codebooks, context]
        fields = upload([self._fields(chunk) for chunk in chunks], self._device)
        rows = torch.cat([windows.flatten(1), fields], dim=1)
        length = self._config.context - min(chunk.column for chunk in chunks)
        filled = (self._graphed or self.fill)(rows, length=length, is_filtered=False)
        for codes, chunk in zip(filled[:, :-1].view(windows.shape), chunks, strict=True):
            chunk.work.fine.codes[:, chunk.first : chunk.end] = codes[:, chunk.columns]
            chunk.work.fine.num_frames = chunk.end
        return PendingResult(Readback(filled[:, -1]), partial(self._commit, list(batch)))

    def num_recordings(self) -> int:
        """How many steps `record` would record."""
        return len(self._shapes()) if self._graphed else 0

    def record(self, on_recorded: Callable[[], None]) -> None:
        """Record the passes of a chunk, where a recorder was given."""
        if self._graphed is not None:
            self._graphed.record(self._shapes(), on_recorded)

    def _shapes(self) -> list[StepShape]:
        # A voice with a full history leaves so much room; one without leaves all.
        lengths = (self._config.context - self._config.history, self._config.context)
        return [StepShape(count, length) for count in row_counts(self.max_rows) for length in lengths]

    def _place(self, work: SentenceWork) -> tuple[_Chunk, Tensor]:
        """The next chunk and its buffer [codebooks, context]: left context, coarse codes, pad."""
        config = self._config
        first = work.fine.num_frames
        end = min(self._border(work), work.num_coarse_frames)
        left = work.fine.codes[:, max(0, first - config.history) : first]
        num_prompt = config.history - left.shape[1]
        if num_prompt > 0:
            prompt = torch.from_numpy(work.prompt.voice.fine[:, -num_prompt:].astype(np.int64))
            left = torch.cat([prompt.to(self._device, non_blocking=True), left], dim=1)
        chunk = _Chunk(work, first, end, left.shape[1])
        buffer = torch.full((config.num_codebooks, config.context), config.pad_token, device=self._device)
        buffer[:, : chunk.column] = left
        buffer[: self._coarse.num_codebooks, chunk.columns] = self._coarse_codes(work, first, end)
        return chunk, buffer

    def _border(self, work: SentenceWork) -> int:
        """Where the chunk ends that is next."""
        return chunk_end(work.fine.num_frames, work.prompt.sentence_index, self._config)

    def _coarse_codes(self, work: SentenceWork, first: int, end: int) -> Tensor:
        """The coarse codes of frames [first, end): [coarse codebooks, frames]."""
        coarse = self._coarse
        tokens = work.coarse.tokens[first * coarse.num_codebooks : end * coarse.num_codebooks]
        codes = upload(tokens, self._device).reshape(-1, coarse.num_codebooks).T - coarse.codebook_offset
        return codes - coarse.codebook_size * torch.arange(coarse.num_codebooks, device=self._device)[:, None]

    def _fields(self, chunk: _Chunk) -> list[int]:
        """What `fill` reads behind a row's codes: column, frame, temperature, and each codebook's noise key."""
        prompt = chunk.work.prompt
        keys = [
            noise_key(prompt.params.seed, prompt.sentence_index, self.name, codebook)
            for codebook in self._made
        ]
        temperature = round((prompt.params.fine_temp or 0) * TEMPERATURE_STEPS)
        return [chunk.column, chunk.first, temperature, *keys]

    def fill(self, rows: Tensor, *, length: int, is_filtered: bool) -> Tensor:
        """Fill in the made codebooks of each row's last `length` columns; one more result says whether all went well.

        The reference predicts the pad's columns too, and the next codebook is made with them in sight.
        """
        config, num_codes = self._config, self._config.num_codebooks * self._config.context
        codes = rows[:, :num_codes].reshape(-1, config.num_codebooks, config.context).clone()
        first_columns, first_frames, temperatures = rows[:, num_codes : num_codes + 3].unbind(1)
        columns = torch.arange(config.context - length, config.context, device=rows.device)
        is_new = columns >= first_columns[:, None]  # [rows, length]
        frames = first_frames[:, None] + columns - first_columns[:, None]
        steps = frames.flatten()
        temperature = (temperatures.float() / TEMPERATURE_STEPS)[:, None].expand(-1, length).flatten()
        no_top_k, no_top_p = torch.full_like(steps, NO_TOP_K), torch.full_like(temperature, NO_TOP_P)
        is_finite = torch.ones_like(first_columns, dtype=torch.bool)
        for number, codebook in enumerate(self._made):
            logits = self._model(codebook, codes, first_column=config.context - length)
            logits = logits[:, :, : config.codebook_size]
            keys = rows[:, num_codes + 3 + number : num_codes + 4 + number].expand(-1, length)
            each = Sampling(keys.flatten(), steps, temperature, no_top_k, no_top_p)
            draw = sample(logits.flatten(0, 1), each, is_filtered=is_filtered, end=-1)
            codes[:, codebook, -length:] = torch.where(
                is_new, draw.tokens.view(is_new.shape), codes[:, codebook, -length:]
            )
            is_finite &= (draw.is_finite.view(is_new.shape) | ~is_new).all(dim=1)
        return torch.cat([codes.flatten(1), is_finite.long()[:, None]], dim=1)

    def _commit(self, works: list[SentenceWork], is_finite: Tensor) -> None:
        for work, is_well in zip(works, is_finite.tolist(), strict=True):
            if not is_well:
                work.failure = work.failure or ModelNumericError("the fine model's output is not finite")
