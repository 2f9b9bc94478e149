"""The coarse stage: semantic tokens to the first codebooks, window by window, one token a step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter

import torch
from torch import Tensor

from streamer.engine.device.cuda_graphs import Recorder
from streamer.engine.device.noise import noise_key
from streamer.engine.device.transfer import PendingResult, Readback, upload
from streamer.engine.stage import Pending
from streamer.errors import ConfigError, ModelNumericError
from streamer.models.config import ModelConfig
from streamer.models.gpt import CausalGpt
from streamer.models.kv_cache import KvCache
from streamer.stages.sentence import SentenceWork
from streamer.stages.token_steps import Choice, TokenSteps


class CoarseStage:
    """After `generate_coarse` of suno-ai/bark, but started as soon as a window's inputs are all there."""

    name = "coarse"

    def __init__(
        self,
        model: CausalGpt,
        config: ModelConfig,
        cache: KvCache,
        *,
        max_rows: int,
        record: Recorder | None = None,
    ) -> None:
        self.max_rows = max_rows
        self._model = model
        self._config = coarse = config.coarse
        # Each step may only choose among the codes of its own codebook.
        choice = Choice(coarse.codebook_offset, coarse.codebook_size, num_turns=coarse.num_codebooks)
        self._steps = TokenSteps(model, cache, choice, record=record)
        longest = coarse.semantic_context + 1 + coarse.max_history + coarse.window - 1
        if longest > coarse.transformer.block_size or coarse.window % coarse.num_codebooks:
            raise ConfigError(f"a coarse window of {longest} positions does not fit the model's block")

    @torch.inference_mode()
    def begin(self, work: SentenceWork) -> None:
        params = work.prompt.params
        key = noise_key(params.seed, work.prompt.sentence_index, self.name)
        self._steps.begin(work.slot, key, params.waveform_temp, params)

    def is_ready(self, work: SentenceWork) -> bool:
        """Mid-window: while there are steps to make. At a window's start: once its inputs are final."""
        step = work.coarse.num_issued
        if step >= work.num_coarse_steps:
            return False
        if step % work.windows.window:
            return True
        if len(work.coarse.tokens) < step:
            return False
        return work.semantic.is_finished or len(work.semantic.tokens) >= work.windows.tokens_needed(
            step, len(work.semantic_history)
        )

    def is_prefill(self, work: SentenceWork) -> bool:
        return work.coarse.num_issued % work.windows.window == 0

    @torch.inference_mode()
    def step(self, batch: Sequence[SentenceWork]) -> Pending:
        """One token for every row: a prefill for those at a window's start, a decode for the others."""
        running = [work for work in batch if not self.is_prefill(work)]
        running.sort(key=attrgetter("slot"))  # neighbouring rows of the cache are read in place
        by_length: dict[int, list[SentenceWork]] = defaultdict(list)
        inputs = {}
        for work in batch:
            if self.is_prefill(work):
                inputs[work] = self.window_input(work)
                by_length[len(inputs[work])].append(work)
        order, drawn = list(running), [self._decode(running)] if running else []
        for works in by_length.values():
            order += works
            drawn.append(self._prefill(works, [inputs[work] for work in works]))
        for work in batch:
            work.coarse.num_issued += 1
        return PendingResult(Readback(torch.cat(drawn)), partial(self._commit, order))

    def num_recordings(self) -> int:
        """How many steps `record` would record."""
        return self._steps.num_shapes(self.max_rows, self._min_length)

    def record(self, on_recorded: Callable[[], None]) -> None:
        """Record the decode steps, where a recorder was given."""
        self._steps.record(self.max_rows, self._min_length, on_recorded)

    @property
    def _min_length(self) -> int:
        """Positions that the first decode step of a sentence without history attends over."""
        return self._config.semantic_context + 2

    def window_input(self, work: SentenceWork) -> list[int]:
        """The prefill of the window that begins at the next step: semantic slice, infer token, coarse."""
        config = self._config
        start = work.windows.semantic_start(len(work.coarse.tokens), len(work.semantic_history))
        end = start + config.semantic_context
        num_history = len(work.semantic_history)
        semantic = work.semantic_history[start:end]
        semantic += work.semantic.tokens[max(0, start - num_history) : max(0, end - num_history)]
        semantic += [config.semantic_pad_token] * (config.semantic_context - len(semantic))
        coarse = (work.coarse_history + work.coarse.tokens)[-work.windows.max_history :]
        return [*semantic, config.infer_token, *coarse]

    def _prefill(self, works: list[SentenceWork], inputs: list[list[int]]) -> Tensor:
        tokens = upload(inputs, self._steps.device)  # [rows, length]
        for work in works:
            work.coarse.num_cached = tokens.shape[1]
        places = [(work.slot, work.coarse.num_issued) for work in works]
        return self._steps.prefill(self._model.embed(tokens), places, [work.prompt.params for work in works])

    def _decode(self, works: list[SentenceWork]) -> Tensor:
        places = [(work.slot, work.coarse.num_cached, work.coarse.num_issued) for work in works]
        for work in works:
            work.coarse.num_cached += 1
        return self._steps.decode(places, [work.prompt.params for work in works])

    def _commit(self, works: list[SentenceWork], rows: Tensor) -> None:
        for work, (token, _, is_finite) in zip(works, rows.tolist(), strict=True):
            if not is_finite:
                self._steps.mark_poisoned(work.slot)
            if work.failure is not None:
                continue
            if is_finite:
                work.coarse.tokens.append(token)
            else:
                work.failure = ModelNumericError("the coarse model's output is not finite")
