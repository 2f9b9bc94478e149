"""The semantic stage: text (and the voice's history, summed with it) to semantic tokens, one a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter

import torch
from torch import Tensor

from streamer.engine.device.cuda_graphs import Recorder
from streamer.engine.device.noise import noise_key
from streamer.engine.device.transfer import PendingResult, Readback, upload
from streamer.engine.stage import Pending
from streamer.errors import ModelNumericError
from streamer.models.config import SemanticConfig
from streamer.models.gpt import CausalGpt
from streamer.models.kv_cache import KvCache
from streamer.sampling import SamplingParams
from streamer.stages.sentence import SentenceWork
from streamer.stages.token_steps import Choice, TokenSteps


class SemanticStage:
    """After `generate_text_semantic` of suno-ai/bark, with a cache row per slot."""

    name = "semantic"

    def __init__(
        self,
        model: CausalGpt,
        config: SemanticConfig,
        cache: KvCache,
        *,
        max_rows: int,
        record: Recorder | None = None,
    ) -> None:
        self.max_rows = max_rows
        self._model = model
        self._config = config
        choice = Choice(0, config.vocab_size + 1, end=config.vocab_size)
        self._steps = TokenSteps(model, cache, choice, record=record)
        self._num_prefilled = config.text_context + 1
        # Step n reads its logits at position text_context + n, and the block must hold that.
        self._max_steps = min(config.max_tokens, config.transformer.block_size - config.text_context)

    @torch.inference_mode()
    def begin(self, work: SentenceWork) -> None:
        params = work.prompt.params
        key = noise_key(params.seed, work.prompt.sentence_index, self.name)
        self._steps.begin(work.slot, key, params.text_temp, params)

    def is_ready(self, work: SentenceWork) -> bool:
        return not work.semantic.is_finished and work.semantic.num_issued < self._cap(work)

    def is_prefill(self, work: SentenceWork) -> bool:
        return work.semantic.num_issued == 0

    @torch.inference_mode()
    def step(self, batch: Sequence[SentenceWork]) -> Pending:
        """One token for every row: a prefill for those that begin, a decode for the others."""
        fresh = [work for work in batch if work.semantic.num_issued == 0]
        # By slot: neighbouring rows of the cache are read in place.
        running = sorted((work for work in batch if work.semantic.num_issued > 0), key=attrgetter("slot"))
        drawn = ([self._prefill(fresh)] if fresh else []) + ([self._decode(running)] if running else [])
        for work in batch:
            work.semantic.num_issued += 1
        return PendingResult(Readback(torch.cat(drawn)), partial(self._commit, [*fresh, *running]))

    def num_recordings(self) -> int:
        """How many steps `record` would record."""
        return self._steps.num_shapes(self.max_rows, self._num_prefilled + 1)

    def record(self, on_recorded: Callable[[], None]) -> None:
        """Record the decode steps, where a recorder was given."""
        self._steps.record(self.max_rows, self._num_prefilled + 1, on_recorded)

    def _prefill(self, works: list[SentenceWork]) -> Tensor:
        device = self._steps.device
        text = upload([self._text(work) for work in works], device)
        history = upload([self._history(work) for work in works], device)
        infer = upload([[self._config.infer_token]] * len(works), device)
        merged = self._model.embed(text) + self._model.embed(history)
        embeddings = torch.cat([merged, self._model.embed(infer)], dim=1)  # [rows, text_context + 1, width]
        return self._steps.prefill(embeddings, [(work.slot, 0) for work in works], _params(works))

    def _decode(self, works: list[SentenceWork]) -> Tensor:
        issued = [(work.slot, work.semantic.num_issued) for work in works]
        places = [(slot, self._num_prefilled + step - 1, step) for slot, step in issued]
        return self._steps.decode(places, _params(works))

    def _commit(self, works: list[SentenceWork], rows: Tensor) -> None:
        for work, (token, is_end, is_finite) in zip(works, rows.tolist(), strict=True):
            if not is_finite:
                self._steps.mark_poisoned(work.slot)
            if work.semantic.is_finished or work.failure is not None:
                continue  # this step was launched before the end was known
            if not is_finite:
                work.failure = ModelNumericError("the semantic model's output is not finite")
            elif is_end:
                # The token sampled beside a likely end is dropped, as in the reference.
                work.semantic.is_finished = True
            else:
                work.semantic.tokens.append(token)
                if len(work.semantic.tokens) >= self._cap(work):
                    work.semantic.is_finished = work.is_truncated = True

    def _cap(self, work: SentenceWork) -> int:
        return min(self._max_steps, work.prompt.max_semantic_tokens)

    def _text(self, work: SentenceWork) -> list[int]:
        config = self._config
        tokens = [token + config.text_offset for token in work.prompt.text_tokens[: config.text_context]]
        return tokens + [config.text_pad_token] * (config.text_context - len(tokens))

    def _history(self, work: SentenceWork) -> list[int]:
        config = self._config
        tokens: list[int] = work.prompt.voice.semantic[-config.text_context :].tolist()
        return tokens + [config.pad_token] * (config.text_context - len(tokens))


def _params(works: list[SentenceWork]) -> list[SamplingParams]:
    return [work.prompt.params for work in works]
