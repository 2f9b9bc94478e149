"""The coarse stage: semantic tokens to the first codebooks, window by window, one token per step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
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
from streamer.stages.coarse_windows import CoarseWindows
from streamer.stages.fine_windows import chunk_end
from streamer.stages.sentence import SentenceWork, TokenTrack
from streamer.stages.token_stage import Plan, TokenStage
from streamer.stages.token_steps import Choice
from streamer.stages.windows_ahead import WindowsAhead


@dataclass(slots=True)
class _Prefill:
    """Windows that begin, each for its work's step. Their first `start` positions were filled in ahead."""

    start: int
    works: list[SentenceWork] = field(default_factory=list)
    inputs: list[list[int]] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)


class CoarseStage(TokenStage):
    """Follows `generate_coarse` of suno-ai/bark, but starts a window as soon as all of its inputs exist.

    With `stream`, a window may begin there even before, so that `cache` has `slots_per_sentence`.
    """

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
        self._config, self._fine = coarse, config.fine
        self._ahead: WindowsAhead | None = None
        if stream is not None and model.prefills_in_parts:
            self._ahead = self.preparation = WindowsAhead(model, cache, stream, self._window_input)
        longest = coarse.semantic_context + 1 + coarse.max_history + coarse.window - 1
        if longest > coarse.transformer.block_size or coarse.window % coarse.num_codebooks:
            raise ConfigError(f"a coarse window of {longest} positions does not fit the model's block")
        num_joined, num_ahead = config.fine.joined_frames, CoarseWindows.from_config(config).num_frames_ahead
        if num_joined and num_joined >= num_ahead:
            raise ConfigError(
                f"fine.joined_frames is {num_joined}, but of a sentence no more than {num_ahead} frames are known"
                " ahead; set it to less"
            )

    def begin(self, work: SentenceWork) -> None:
        if self._ahead is not None:
            self._ahead.begin(work.slot)
        super().begin(work)

    def is_ready(self, work: SentenceWork) -> bool:
        """In mid-window: while there are steps to make. At a window's start: once its inputs are final."""
        step = work.coarse.num_issued
        if step >= work.num_coarse_steps or work.coarse.is_made_beside:
            return False
        if step % work.windows.window:
            return True
        if self._ahead is not None and self._ahead.is_under_way(work):
            return False
        return len(work.coarse.tokens) >= step and work.has_semantic_for(step)

    def is_prefill(self, work: SentenceWork) -> bool:
        return work.coarse.num_issued % work.windows.window == 0

    def _plan(self, batch: Sequence[SentenceWork]) -> Plan:
        running = [work for work in batch if not self.is_prefill(work)]
        running.sort(key=attrgetter("slot"))  # neighbouring rows of the cache are read in place
        prefills = self._prefills([work for work in batch if self.is_prefill(work)])
        num_steps = 1 if prefills else self._num_steps(running)
        places = self._places(running, [work.coarse.num_cached for work in running])
        params = [work.params for work in running]
        for work in running:
            work.coarse.num_cached += num_steps
        for prefill in prefills:
            for work in prefill.works:
                work.coarse.num_cached = prefill.start + len(prefill.inputs[0])

        def run() -> list[Tensor]:
            drawn = self._steps.decode(places, params, num_steps) if running else []
            return drawn + [self._prefill(prefill) for prefill in prefills]

        fresh = [work for prefill in prefills for work in prefill.works]
        return Plan(running * num_steps + fresh, run, num_steps)

    def _prefills(self, works: Sequence[SentenceWork]) -> list[_Prefill]:
        """Return the prefills of windows that begin now, those of the same shape together."""
        by_shape: dict[tuple[int, int], _Prefill] = {}
        for work in works:
            start = self._ahead.take(work) if self._ahead is not None else 0
            inputs = self.window_input(work)
            prefill = by_shape.setdefault((start, len(inputs)), _Prefill(start))
            prefill.works.append(work)
            prefill.inputs.append(inputs[start:])
            prefill.steps.append(work.coarse.num_issued)
        return list(by_shape.values())

    def _prefill(self, prefill: _Prefill) -> Tensor:
        if prefill.start and self._ahead is not None:
            for work in prefill.works:
                self._ahead.put_in_place(work.slot)
        embeddings = self._model.embed(upload(prefill.inputs, self._steps.device))  # [rows, length, width]
        return self._prefill_rows(prefill.works, embeddings, prefill.steps, start=prefill.start)

    def window_input(self, work: SentenceWork) -> list[int]:
        """Return what the window reads that begins at the next step: semantic slice, infer token, coarse tokens."""
        return self._window_input(work, len(work.coarse.tokens))

    def _window_input(self, work: SentenceWork, step: int, num_missing: int = 0) -> list[int]:
        """Return what the window at `step` reads, but for the last coarse tokens if `num_missing` are unknown."""
        config = self._config
        start = work.windows.semantic_start(step, len(work.semantic_history))
        end = start + config.semantic_context
        num_history = len(work.semantic_history)
        semantic = work.semantic_history[start:end]
        semantic += work.semantic.tokens[max(0, start - num_history) : max(0, end - num_history)]
        semantic += [config.semantic_pad_token] * (config.semantic_context - len(semantic))
        known = work.coarse_history + work.coarse.tokens[: step - num_missing]
        coarse = known[max(0, len(known) + num_missing - work.windows.max_history) :]
        return [*semantic, config.infer_token, *coarse]

    def _temperature(self, params: SamplingParams) -> float:
        return params.waveform_temp

    def _track(self, work: SentenceWork) -> TokenTrack:
        return work.coarse

    def _num_left(self, work: SentenceWork) -> int:
        step, window = work.coarse.num_issued, work.windows.window
        num_left = min(window - step % window, work.num_coarse_steps - step)
        # `FineStage.reschedule` may have moved this border; nothing but the first sound's time depends on it here.
        first_chunk = chunk_end(0, work.num_frames, work.sentence_index, self._fine)
        num_missing = first_chunk * self._config.num_codebooks - step
        return min(num_left, num_missing) if num_missing > 0 else num_left

    def _accept(self, work: SentenceWork, token: int, _: bool) -> None:
        work.coarse.tokens.append(token)
