"""The coarse stage: semantic tokens to the first codebooks, window by window, one token per step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from operator import attrgetter

from torch import Tensor

from streamer.engine.device.cpu_stream import CpuStream
from streamer.engine.device.cuda_graphs import Recorder
from streamer.engine.device.transfer import upload
from streamer.errors import ConfigError
from streamer.models.config import ModelConfig
from streamer.models.gpt import CausalGpt
from streamer.models.kv_cache import SlotCache
from streamer.sampling import SamplingParams
from streamer.stages.sentence import SentenceWork, TokenTrack
from streamer.stages.token_stage import Plan, TokenStage
from streamer.stages.token_steps import Choice


class CoarseStage(TokenStage):
    """Follows `generate_coarse` of suno-ai/bark, but starts a window as soon as all of its inputs exist."""

    name = "coarse"

    def __init__(
        self,
        model: CausalGpt,
        config: ModelConfig,
        cache: SlotCache,
        *,
        max_rows: int,
        record: Recorder | None = None,
        stream: CpuStream | None = None,
    ) -> None:
        coarse = config.coarse
        # Each step may only choose among the codes of its own codebook.
        choice = Choice(coarse.codebook_offset, coarse.codebook_size, num_turns=coarse.num_codebooks)
        # A sentence without history attends over this number of positions in its first decode step.
        min_length = coarse.semantic_context + 2
        super().__init__(
            model, cache, choice, min_length=min_length, max_rows=max_rows, record=record, stream=stream
        )
        self._config = coarse
        longest = coarse.semantic_context + 1 + coarse.max_history + coarse.window - 1
        if longest > coarse.transformer.block_size or coarse.window % coarse.num_codebooks:
            raise ConfigError(f"a coarse window of {longest} positions does not fit the model's block")

    def is_ready(self, work: SentenceWork) -> bool:
        """In mid-window: while there are steps to make. At a window's start: once its inputs are final."""
        step = work.coarse.num_issued
        if step >= work.num_coarse_steps or work.coarse.is_made_beside:
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

    def _plan(self, batch: Sequence[SentenceWork]) -> Plan:
        running = [work for work in batch if not self.is_prefill(work)]
        running.sort(key=attrgetter("slot"))  # neighbouring rows of the cache are read in place
        by_length: dict[int, list[SentenceWork]] = defaultdict(list)
        inputs = {}
        for work in batch:
            if self.is_prefill(work):
                inputs[work] = self.window_input(work)
                by_length[len(inputs[work])].append(work)
        num_steps = 1 if by_length else self._num_steps(running)
        places = self._places(running, [work.coarse.num_cached for work in running])
        params = [work.params for work in running]
        prefills = [
            (works, [inputs[work] for work in works], [work.coarse.num_issued for work in works])
            for works in by_length.values()
        ]
        for work in batch:
            work.coarse.num_cached = (
                len(inputs[work]) if work in inputs else work.coarse.num_cached + num_steps
            )

        def run() -> list[Tensor]:
            drawn = self._steps.decode(places, params, num_steps) if running else []
            return drawn + [self._prefill(*each) for each in prefills]

        fresh = [work for works, _, _ in prefills for work in works]
        return Plan(running * num_steps + fresh, run, num_steps)

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

    def _prefill(self, works: list[SentenceWork], inputs: list[list[int]], steps: list[int]) -> Tensor:
        embeddings = self._model.embed(upload(inputs, self._steps.device))  # [rows, length, width]
        return self._prefill_rows(works, embeddings, steps)

    def _temperature(self, params: SamplingParams) -> float:
        return params.waveform_temp

    def _track(self, work: SentenceWork) -> TokenTrack:
        return work.coarse

    def _num_left(self, work: SentenceWork) -> int:
        step, window = work.coarse.num_issued, work.windows.window
        return min(window - step % window, work.num_coarse_steps - step)

    def _accept(self, work: SentenceWork, token: int, _: bool) -> None:
        work.coarse.tokens.append(token)
