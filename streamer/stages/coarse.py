"""The coarse stage: semantic tokens to the first codebooks, window by window, one token per step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from operator import attrgetter

import torch
from torch import Tensor

from streamer.engine.device.cuda_graphs import Recorder
from streamer.engine.device.transfer import upload
from streamer.engine.stage import Pending
from streamer.errors import ConfigError
from streamer.models.config import ModelConfig
from streamer.models.gpt import CausalGpt
from streamer.models.kv_cache import KvCache
from streamer.sampling import SamplingParams
from streamer.stages.sentence import SentenceWork, TokenTrack
from streamer.stages.token_steps import Choice, TokenStage


class CoarseStage(TokenStage):
    """Follows `generate_coarse` of suno-ai/bark, but starts a window as soon as all of its inputs exist."""

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
        coarse = config.coarse
        # Each step may only choose among the codes of its own codebook.
        choice = Choice(coarse.codebook_offset, coarse.codebook_size, num_turns=coarse.num_codebooks)
        # A sentence without history attends over this number of positions in its first decode step.
        min_length = coarse.semantic_context + 2
        super().__init__(model, cache, choice, min_length=min_length, max_rows=max_rows, record=record)
        self._config = coarse
        longest = coarse.semantic_context + 1 + coarse.max_history + coarse.window - 1
        if longest > coarse.transformer.block_size or coarse.window % coarse.num_codebooks:
            raise ConfigError(f"a coarse window of {longest} positions does not fit the model's block")

    def is_ready(self, work: SentenceWork) -> bool:
        """In mid-window: while there are steps to make. At a window's start: once its inputs are final."""
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
        """Make a token for every row, by a prefill at a window's start, else by decoding, which may make more."""
        running = [work for work in batch if not self.is_prefill(work)]
        running.sort(key=attrgetter("slot"))  # neighbouring rows of the cache are read in place
        by_length: dict[int, list[SentenceWork]] = defaultdict(list)
        inputs = {}
        for work in batch:
            if self.is_prefill(work):
                inputs[work] = self.window_input(work)
                by_length[len(inputs[work])].append(work)
        num_steps = 1 if by_length else self._num_steps(running)
        order = running * num_steps
        drawn = self._decode(running, num_steps) if running else []
        for works in by_length.values():
            order += works
            drawn.append(self._prefill(works, [inputs[work] for work in works]))
        return self._pending(order, drawn, num_steps)

    def window_input(self, work: SentenceWork) -> list[int]:
        """Return what the window reads that begins at the next step: semantic slice, infer token, coarse tokens."""
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
        return self._prefill_rows(works, self._model.embed(tokens))

    def _decode(self, works: list[SentenceWork], num_steps: int) -> list[Tensor]:
        positions = [work.coarse.num_cached for work in works]
        for work in works:
            work.coarse.num_cached += num_steps
        return self._decode_rows(works, positions, num_steps)

    def _temperature(self, params: SamplingParams) -> float:
        return params.waveform_temp

    def _track(self, work: SentenceWork) -> TokenTrack:
        return work.coarse

    def _num_left(self, work: SentenceWork) -> int:
        step, window = work.coarse.num_issued, work.windows.window
        return min(window - step % window, work.num_coarse_steps - step)

    def _accept(self, work: SentenceWork, token: int, _: bool) -> None:
        work.coarse.tokens.append(token)
