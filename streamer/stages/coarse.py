"""The coarse stage: semantic tokens to the first codebooks, window by window, one token a step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from operator import attrgetter

import torch
from torch import Tensor

from streamer.engine.sampler import RowSampling, sample
from streamer.errors import ConfigError, ModelNumericError
from streamer.models.gpt import CausalGpt
from streamer.models.kv_cache import KvCache
from streamer.models.vocabulary import ModelConfig
from streamer.stages.coarse_windows import CoarseWindows
from streamer.stages.sentence import SentenceWork


class CoarseStage:
    """After `generate_coarse` of suno-ai/bark, but started as soon as a window's inputs are all there."""

    name = "coarse"

    def __init__(self, model: CausalGpt, config: ModelConfig, cache: KvCache, *, max_rows: int) -> None:
        self.max_rows = max_rows
        self._model = model
        self._config = config.coarse
        self._cache = cache
        self._windows = CoarseWindows.from_config(config)
        self._device = next(model.parameters()).device
        longest = self._config.semantic_context + 1 + self._config.max_history + self._config.window - 1
        if longest > self._config.transformer.block_size or self._config.window % self._config.num_codebooks:
            raise ConfigError(f"a coarse window of {longest} positions does not fit the model's block")

    def begin(self, work: SentenceWork) -> None:
        """Nothing to clear: every window's prefill writes the slot's cache row from position 0."""

    def is_ready(self, work: SentenceWork) -> bool:
        """Mid-window: while there are steps to make. At a window's start: once its inputs are final."""
        step = len(work.coarse.tokens)
        if step >= work.num_coarse_steps:
            return False
        if step % self._config.window or work.semantic.is_finished:
            return True
        return len(work.semantic.tokens) >= self._windows.tokens_needed(step, len(work.semantic_history))

    @torch.inference_mode()
    def step(self, batch: Sequence[SentenceWork]) -> None:
        """One token for every row: a prefill for those at a window's start, a decode for the others."""
        running = [work for work in batch if len(work.coarse.tokens) % self._config.window]
        running.sort(key=attrgetter("slot"))  # neighbouring rows of the cache are read in place
        by_length: dict[int, list[SentenceWork]] = defaultdict(list)
        inputs = {}
        for work in batch:
            if len(work.coarse.tokens) % self._config.window == 0:
                inputs[work] = self.window_input(work)
                by_length[len(inputs[work])].append(work)
        order, logits = list(running), [self._decode(running)] if running else []
        for works in by_length.values():
            order += works
            logits.append(self._prefill(works, [inputs[work] for work in works]))
        self._commit(order, torch.cat(logits))

    def window_input(self, work: SentenceWork) -> list[int]:
        """The prefill of the window that begins at the next step: semantic slice, infer token, coarse."""
        config = self._config
        start = self._windows.semantic_start(len(work.coarse.tokens), len(work.semantic_history))
        end = start + config.semantic_context
        num_history = len(work.semantic_history)
        semantic = work.semantic_history[start:end]
        semantic += work.semantic.tokens[max(0, start - num_history) : max(0, end - num_history)]
        semantic += [config.semantic_pad_token] * (config.semantic_context - len(semantic))
        coarse = (work.coarse_history + work.coarse.tokens)[-config.max_history :]
        return [*semantic, config.infer_token, *coarse]

    def _prefill(self, works: list[SentenceWork], inputs: list[list[int]]) -> Tensor:
        tokens = torch.tensor(inputs, device=self._device)  # [rows, length]
        for work in works:
            work.coarse.num_cached = tokens.shape[1]
        return self._model.prefill(self._model.embed(tokens), self._cache, self._slots(works))

    def _decode(self, works: list[SentenceWork]) -> Tensor:
        tokens = torch.tensor([work.coarse.tokens[-1] for work in works], device=self._device)
        positions = torch.tensor([work.coarse.num_cached for work in works], device=self._device)
        for work in works:
            work.coarse.num_cached += 1
        return self._model.decode(tokens, positions, self._cache, self._slots(works))

    def _commit(self, works: list[SentenceWork], logits: Tensor) -> None:
        config = self._config
        # Each step may only choose among the codes of its own codebook.
        firsts = [
            config.codebook_offset + len(work.coarse.tokens) % config.num_codebooks * config.codebook_size
            for work in works
        ]
        own = torch.tensor(firsts, device=self._device)[:, None]
        allowed = logits.gather(1, own + torch.arange(config.codebook_size, device=self._device))
        noise = torch.stack([work.coarse.noise.row(len(work.coarse.tokens)) for work in works])
        params = [work.prompt.params for work in works]
        draw = sample(
            allowed,
            noise.to(self._device),
            [RowSampling(row.waveform_temp, row.top_k, row.top_p) for row in params],
        )
        rows = zip(works, firsts, draw.tokens.tolist(), draw.is_finite.tolist(), strict=True)
        for work, first, code, is_finite in rows:
            if is_finite:
                work.coarse.tokens.append(first + code)
            else:
                work.failure = ModelNumericError("the coarse model's output is not finite")
                self._cache.clear(self._slots([work]))

    def _slots(self, works: list[SentenceWork]) -> Tensor:
        return torch.tensor([work.slot for work in works], device=self._device)
