"""The semantic stage: text, summed with the voice's history, to semantic tokens, one per step."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

import torch
from torch import Tensor

from streamer.engine.device.automaton import Automata
from streamer.engine.device.cpu_stream import CpuStream
from streamer.engine.device.cuda_graphs import Recorder
from streamer.engine.device.transfer import upload
from streamer.models.config import ModelConfig
from streamer.models.gpt import CausalGpt
from streamer.models.kv_cache import SlotCache
from streamer.sampling import SamplingParams
from streamer.stages.sentence import SentenceWork, TokenTrack
from streamer.stages.text_path import PathMaker
from streamer.stages.token_stage import Plan, TokenStage
from streamer.stages.token_steps import Choice


class SemanticStage(TokenStage):
    """Follows `generate_text_semantic` of suno-ai/bark, with a cache row per slot.

    The tokens of a model that declares a `path` are kept to it.
    """

    name = "semantic"

    def __init__(
        self,
        model: CausalGpt,
        model_config: ModelConfig,
        cache: SlotCache,
        *,
        max_rows: int,
        record: Recorder | None = None,
        stream: CpuStream | None = None,
    ) -> None:
        config = model_config.semantic
        self._paths: PathMaker | None = None
        self._automata: Automata | None = None
        if model_config.path is not None:
            self._paths = PathMaker(model_config, model_config.path)
            classes = upload(self._paths.class_of_output(), next(model.parameters()).device)
            self._automata = Automata(cache.num_slots, self._paths.max_states, classes)
        choice = Choice(0, config.vocab_size + 1, end=config.vocab_size)
        self._num_prefilled = config.text_context + 1
        super().__init__(
            model,
            cache,
            choice,
            min_length=self._num_prefilled + 1,
            max_rows=max_rows,
            record=record,
            automata=self._automata,
            stream=stream,
        )
        self._config = config
        # Step n reads its logits at position text_context + n, and the block must hold that.
        self._max_steps = min(config.max_tokens, config.transformer.block_size - config.text_context)

    @torch.inference_mode()
    def begin(self, work: SentenceWork) -> None:
        """Set the parameters and the path of a new sentence."""
        super().begin(work)
        if self._paths is not None and self._automata is not None:
            work.path = self._paths.path(work.text_tokens)
            self._automata.begin(work.slot, work.path.automaton)

    def is_ready(self, work: SentenceWork) -> bool:
        track = work.semantic
        return not (track.is_finished or track.is_made_beside) and track.num_issued < self._cap(work)

    def is_prefill(self, work: SentenceWork) -> bool:
        return work.semantic.num_issued == 0

    def _plan(self, batch: Sequence[SentenceWork]) -> Plan:
        fresh = [work for work in batch if work.semantic.num_issued == 0]
        # By slot, because neighbouring rows of the cache are read in place.
        running = sorted((work for work in batch if work.semantic.num_issued > 0), key=attrgetter("slot"))
        num_steps = 1 if fresh else self._num_steps(running)
        positions = [self._num_prefilled + work.semantic.num_issued - 1 for work in running]
        places, params = self._places(running, positions), [work.params for work in running]

        def run() -> list[Tensor]:
            drawn = [self._prefill(fresh)] if fresh else []
            return drawn + (self._steps.decode(places, params, num_steps) if running else [])

        return Plan([*fresh, *(running * num_steps)], run, num_steps)

    def _prefill(self, works: list[SentenceWork]) -> Tensor:
        device = self._steps.device
        text = upload([self._text(work) for work in works], device)
        history = upload([self._history(work) for work in works], device)
        infer = upload([[self._config.infer_token]] * len(works), device)
        merged = self._model.embed(text) + self._model.embed(history)
        embeddings = torch.cat([merged, self._model.embed(infer)], dim=1)  # [rows, text_context + 1, width]
        return self._prefill_rows(works, embeddings, [0] * len(works))

    def _temperature(self, params: SamplingParams) -> float:
        return params.text_temp

    def _track(self, work: SentenceWork) -> TokenTrack:
        return work.semantic

    def _num_left(self, work: SentenceWork) -> int:
        num_issued = work.semantic.num_issued
        num_missing = work.windows.tokens_needed(0, len(work.semantic_history)) - num_issued
        return min(self._cap(work) - num_issued, num_missing if num_missing > 0 else self._max_steps)

    def _accept(self, work: SentenceWork, token: int, is_end: bool) -> None:
        if is_end:
            # The token sampled beside a likely end is dropped, as in the reference.
            work.semantic.is_finished = True
            return
        work.semantic.tokens.append(token)
        if len(work.semantic.tokens) >= self._cap(work):
            work.semantic.is_finished = work.is_truncated = True

    def _cap(self, work: SentenceWork) -> int:
        return min(self._max_steps, work.max_semantic_tokens)

    def _text(self, work: SentenceWork) -> list[int]:
        config = self._config
        tokens = [token + config.text_offset for token in work.text_tokens[: config.text_context]]
        return tokens + [config.text_pad_token] * (config.text_context - len(tokens))

    def _history(self, work: SentenceWork) -> list[int]:
        config = self._config
        tokens: list[int] = work.voice.semantic[-config.text_context :].tolist()
        return tokens + [config.pad_token] * (config.text_context - len(tokens))
