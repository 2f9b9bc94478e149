"""The fine stage: the remaining codebooks, window by window, each seen with the frames that came before it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from streamer.engine.device.cpu_stream import CpuStream
from streamer.engine.device.cuda_graphs import GraphedStep, Recorder, StepShape, row_counts
from streamer.engine.device.noise import noise_key
from streamer.engine.device.sampler import NO_TOP_K, NO_TOP_P, Sampling, sample
from streamer.engine.device.transfer import PendingResult, Readback, upload
from streamer.engine.stage import Pending
from streamer.errors import ModelNumericError
from streamer.models.config import CoarseConfig, FineConfig
from streamer.models.fine_gpt import FineGpt
from streamer.stages.fine_windows import FineWindow, chunk_end, chunk_window, whole_window
from streamer.stages.sentence import SentenceWork

TEMPERATURE_STEPS = 1 << 20
"""A temperature travels among integers, in millionths or so."""


class FineStage:
    """After `generate_fine` of suno-ai/bark: as if the sentence ended at each chunk's border, or whole.

    The model is not causal, so what follows a chunk would change it; a border fixed by the frame index and the
    sentence's length makes the result independent of how much happens to exist. What has left the stage is never made
    again.
    """

    name = "fine"
    step_beside = None
    is_joined = False
    preparation = None

    def __init__(
        self,
        model: FineGpt,
        config: FineConfig,
        coarse: CoarseConfig,
        *,
        max_rows: int,
        record: Recorder | None = None,
        stream: CpuStream | None = None,
    ) -> None:
        self.max_rows = max_rows
        self.runs_beside = stream is not None
        self._stream = stream
        self._model = model
        self._config = config
        self._coarse = coarse
        self._device = next(model.parameters()).device
        self._made = range(coarse.num_codebooks, config.num_codebooks)
        self.fill_row: Callable[..., bool] | None = None
        """Does what `fill` does, for a single row, where that is a compiled function."""
        if self._device.type == "cpu":
            # Imported here, because a process with a GPU need not load a compiler.
            from streamer.engine.device.numba_fill import fill_codebooks
            from streamer.models.cpu.compiled_fine import compiled_fine

            if (compiled := compiled_fine(model)) is not None:
                self.fill_row = partial(fill_codebooks, compiled)
                self._compile_row()
        # Torch's own operations could round otherwise there, as the engine's thread may share them with others.
        may_step_here = stream is not None and self.fill_row is not None
        self.step_here = partial(self._step, stream=None) if may_step_here else None
        self._graphed: GraphedStep | None = None
        if record is not None and config.is_padded:  # what is recorded has one shape
            num_fields = config.num_codebooks * config.context + 3 + len(self._made)
            self._graphed = GraphedStep(self.fill, upload([0] * num_fields, self._device), record)

    def reschedule(self, config: FineConfig) -> None:
        """Fill in sentences by the chunks of this config from now on; no sentence may be in progress."""
        self._config = config

    def begin(self, work: SentenceWork) -> None:
        work.fine.codes = work.fine.codes.to(self._device)

    def is_ready(self, work: SentenceWork) -> bool:
        num_ready = work.num_coarse_frames - work.fine.num_frames
        if work.is_coarse_finished:
            return num_ready > 0
        if self._config.is_whole:
            return False
        end = chunk_end(work.fine.num_frames, work.num_frames, work.sentence_index, self._config_of(work))
        return work.num_coarse_frames >= end

    def is_prefill(self, _: SentenceWork) -> bool:
        return True

    def step(self, batch: Sequence[SentenceWork]) -> Pending:
        """The next window of every row, codebook after codebook."""
        return self._step(batch, self._stream)

    @torch.inference_mode()
    def _step(self, batch: Sequence[SentenceWork], stream: CpuStream | None) -> Pending:
        works, windows = list(batch), [self._window(work) for work in batch]
        run, commit = partial(self._run, works, windows), partial(self._commit, works)
        pending = stream.launch(run, commit) if stream else PendingResult(Readback(run()), commit)
        for work, window in zip(works, windows, strict=True):
            work.fine.num_frames = window.num_final
        return pending

    def _run(self, batch: list[SentenceWork], windows: list[FineWindow]) -> Tensor:
        """Fill in the windows of all rows; returns which of them went well [rows]."""
        if self.fill_row is not None:
            return torch.tensor([self._run_row(*row) for row in zip(batch, windows, strict=True)])
        if self._config.is_padded:
            return self._run_rows(batch, windows)
        by_length: dict[int, list[int]] = defaultdict(list)
        for row, window in enumerate(windows):
            by_length[window.end - window.start].append(row)
        went_well = torch.empty(len(batch), dtype=torch.long, device=self._device)
        for rows in by_length.values():
            went_well[rows] = self._run_rows([batch[row] for row in rows], [windows[row] for row in rows])
        return went_well

    def _run_rows(self, batch: list[SentenceWork], windows: list[FineWindow]) -> Tensor:
        """Do the same for rows of one length."""
        buffers = torch.stack([self._buffer(*each) for each in zip(batch, windows, strict=True)])
        fields = [self._fields(*each) for each in zip(batch, windows, strict=True)]
        rows = torch.cat([buffers.flatten(1), upload(fields, self._device)], dim=1)
        length = buffers.shape[2] - min(window.first - window.start for window in windows)
        if self._graphed is not None:
            filled = self._graphed(rows, length=length, is_filtered=False)
        else:
            num_read = max(window.end - window.start for window in windows)
            filled = self.fill(rows, length=length, is_filtered=False, num_read=num_read)
        for work, window, codes in zip(batch, windows, filled[:, :-1].view(buffers.shape), strict=True):
            self._keep(work, window, codes)
        return filled[:, -1]

    def _run_row(self, work: SentenceWork, window: FineWindow) -> bool:
        """Do the same for a single row by a compiled function."""
        assert self.fill_row is not None
        codes, end = self._buffer(work, window), window.end - window.start
        column, frame, temperature, *keys = self._fields(work, window)
        columns = column, codes.shape[1], end
        is_well = self.fill_row(
            codes, columns, frame, temperature / TEMPERATURE_STEPS, keys, self._config.codebook_size
        )
        self._keep(work, window, codes)
        return is_well

    def _compile_row(self) -> None:
        """Have the row's function compiled now, not while a client waits."""
        assert self.fill_row is not None
        config = self._config
        codes = torch.zeros(config.num_codebooks, config.context, dtype=torch.long)
        columns = config.context - 1, config.context, config.context
        self.fill_row(codes, columns, 0, 0.0, [0] * len(self._made), config.codebook_size)

    def _keep(self, work: SentenceWork, window: FineWindow, codes: Tensor) -> None:
        columns = slice(window.first - window.start, window.end - window.start)
        work.fine.codes[:, window.first : window.end] = codes[:, columns]

    def num_recordings(self) -> int:
        """How many steps `record` would record."""
        return len(self._shapes()) if self._graphed else 0

    def record(self, on_recorded: Callable[[], None]) -> None:
        """Record the passes of a chunk, if a recorder was given."""
        if self._graphed is not None:
            self._graphed.record(self._shapes(), on_recorded)

    def _shapes(self) -> list[StepShape]:
        # A voice with a full history leaves so much room; one without leaves all.
        lengths = (self._config.context - self._config.history, self._config.context)
        return [StepShape(count, length) for count in row_counts(self.max_rows) for length in lengths]

    def _window(self, work: SentenceWork) -> FineWindow:
        config, first, num_frames = self._config, work.fine.num_frames, work.num_coarse_frames
        num_prompt_frames = min(config.history, work.voice.fine.shape[1])
        if config.is_whole:
            return whole_window(first, num_frames, num_prompt_frames, config)
        return chunk_window(
            first, work.num_frames, num_prompt_frames, work.sentence_index, self._config_of(work)
        )

    def _config_of(self, work: SentenceWork) -> FineConfig:
        """Return the config; nothing joins a chunk if the client's windows tell of a sentence's end too late for it."""
        is_told = work.windows.num_frames_ahead > self._config.joined_frames
        return self._config if is_told else replace(self._config, joined_frames=0)

    def _buffer(self, work: SentenceWork, window: FineWindow) -> Tensor:
        """The window's codes [codebooks, frames]: prompt, what was filled in before, coarse codes, pad."""
        config = self._config
        num_frames = config.context if config.is_padded else window.end - window.start
        buffer = torch.full((config.num_codebooks, num_frames), config.pad_token, device=self._device)
        if (num_prompt_frames := -window.start) > 0:
            prompt = torch.from_numpy(work.voice.fine[:, -num_prompt_frames:].astype(np.int64))
            buffer[:, :num_prompt_frames] = prompt.to(self._device, non_blocking=True)
        present = max(0, window.start)
        buffer[:, present - window.start : window.end - window.start] = work.fine.codes[
            :, present : window.end
        ]
        new = slice(window.first - window.start, window.end - window.start)
        buffer[: self._coarse.num_codebooks, new] = self._coarse_codes(work, window.first, window.end)
        return buffer

    def _coarse_codes(self, work: SentenceWork, first: int, end: int) -> Tensor:
        """The coarse codes of frames [first, end): [coarse codebooks, frames]."""
        coarse = self._coarse
        tokens = work.coarse.tokens[first * coarse.num_codebooks : end * coarse.num_codebooks]
        codes = upload(tokens, self._device).reshape(-1, coarse.num_codebooks).T - coarse.codebook_offset
        return codes - coarse.codebook_size * torch.arange(coarse.num_codebooks, device=self._device)[:, None]

    def _fields(self, work: SentenceWork, window: FineWindow) -> list[int]:
        """What `fill` reads behind a row's codes: column, frame, temperature, and each codebook's noise key."""
        params = work.params
        keys = [noise_key(params.seed, work.sentence_index, self.name, codebook) for codebook in self._made]
        temperature = round((params.fine_temp or 0) * TEMPERATURE_STEPS)
        return [window.first - window.start, window.first, temperature, *keys]

    def fill(self, rows: Tensor, *, length: int, is_filtered: bool, num_read: int | None = None) -> Tensor:
        """Fill in the made codebooks of each row's last `length` columns; one more result says whether all went well.

        The reference predicts the pad's columns too, and the next codebook is made with them in sight. Of the last
        codebook, which no other follows, nothing reads more than the first `num_read` columns.
        """
        config, num_codes = self._config, rows.shape[1] - 3 - len(self._made)
        codes = rows[:, :num_codes].reshape(len(rows), config.num_codebooks, -1).clone()
        first_columns, first_frames, temperatures = rows[:, num_codes : num_codes + 3, None].unbind(1)
        end = codes.shape[2]
        begin = end - length
        is_finite = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
        for number, codebook in enumerate(self._made):
            if codebook == self._made[-1]:
                end = num_read or end
            columns = torch.arange(begin, end, device=rows.device)
            is_new = columns >= first_columns  # [rows, columns]
            steps = (first_frames + columns - first_columns).flatten()
            keys = rows[:, num_codes + 3 + number, None].expand_as(is_new).flatten()
            temperature = (temperatures.float() / TEMPERATURE_STEPS).expand_as(is_new).flatten()
            no_top_k, no_top_p = torch.full_like(steps, NO_TOP_K), torch.full_like(temperature, NO_TOP_P)
            logits = self._model(codebook, codes, first_column=begin, end_column=end)
            logits = logits[:, :, : config.codebook_size].flatten(0, 1)
            each = Sampling(keys, steps, temperature, no_top_k, no_top_p)
            draw = sample(logits, each, is_filtered=is_filtered, end=-1)
            old = codes[:, codebook, begin:end]
            codes[:, codebook, begin:end] = torch.where(is_new, draw.tokens.view(is_new.shape), old)
            is_finite &= (draw.is_finite.view(is_new.shape) | ~is_new).all(dim=1)
        return torch.cat([codes.flatten(1), is_finite.long()[:, None]], dim=1)

    def _commit(self, works: list[SentenceWork], is_finite: Tensor) -> None:
        for work, is_well in zip(works, is_finite.tolist(), strict=True):
            if not is_well:
                work.failure = work.failure or ModelNumericError("the fine model's output is not finite")
