"""The semantic stage: text (and the voice's history, summed with it) to semantic tokens, one a step."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

import torch
from torch import Tensor

from streamer.engine.sampler import RowSampling, sample
from streamer.errors import ModelNumericError
from streamer.models.gpt import CausalGpt
from streamer.models.kv_cache import KvCache
from streamer.models.vocabulary import SemanticConfig
from streamer.stages.sentence import SentenceWork


class SemanticStage:
    """After `generate_text_semantic` of suno-ai/bark, with a cache row per slot."""

    name = "semantic"

    def __init__(self, model: CausalGpt, config: SemanticConfig, cache: KvCache, *, max_rows: int) -> None:
        self.max_rows = max_rows
        self._model = model
        self._config = config
        self._cache = cache
        self._device = next(model.parameters()).device
        # Step n reads its logits at position text_context + n, and the block must hold that.
        self._max_steps = min(config.max_tokens, config.transformer.block_size - config.text_context)

    def begin(self, work: SentenceWork) -> None:
        """Nothing to clear: the prefill writes the slot's cache row from position 0."""

    def is_ready(self, work: SentenceWork) -> bool:
        return not work.semantic.is_finished

    @torch.inference_mode()
    def step(self, batch: Sequence[SentenceWork]) -> None:
        """One token for every row: a prefill for those that begin, a decode for the others."""
        fresh = [work for work in batch if work.semantic.num_cached == 0]
        # By slot: neighbouring rows of the cache are read in place.
        running = sorted((work for work in batch if work.semantic.num_cached > 0), key=attrgetter("slot"))
        logits = ([self._prefill(fresh)] if fresh else []) + ([self._decode(running)] if running else [])
        self._commit([*fresh, *running], torch.cat(logits))

    def _prefill(self, works: list[SentenceWork]) -> Tensor:
        text = torch.tensor([self._text(work) for work in works], device=self._device)
        history = torch.tensor([self._history(work) for work in works], device=self._device)
        infer = torch.full((len(works), 1), self._config.infer_token, device=self._device)
        merged = self._model.embed(text) + self._model.embed(history)
        embeddings = torch.cat([merged, self._model.embed(infer)], dim=1)  # [rows, text_context + 1, width]
        for work in works:
            work.semantic.num_cached = embeddings.shape[1]
        return self._model.prefill(embeddings, self._cache, self._slots(works))

    def _decode(self, works: list[SentenceWork]) -> Tensor:
        tokens = torch.tensor([work.semantic.tokens[-1] for work in works], device=self._device)
        positions = torch.tensor([work.semantic.num_cached for work in works], device=self._device)
        for work in works:
            work.semantic.num_cached += 1
        return self._model.decode(tokens, positions, self._cache, self._slots(works))

    def _commit(self, works: list[SentenceWork], logits: Tensor) -> None:
        end = self._config.vocab_size
        params = [work.prompt.params for work in works]
        noise = torch.stack([work.semantic.noise.row(len(work.semantic.tokens)) for work in works])
        draw = sample(
            logits[:, : end + 1],
            noise.to(self._device),
            [RowSampling(row.text_temp, row.top_k, row.top_p) for row in params],
        )
        end_probabilities = draw.probabilities[:, end].tolist()
        tokens, is_finite = draw.tokens.tolist(), draw.is_finite.tolist()
        for index, work in enumerate(works):
            if not is_finite[index]:
                work.failure = ModelNumericError("the semantic model's output is not finite")
                self._cache.clear(self._slots([work]))
            elif tokens[index] == end or end_probabilities[index] >= params[index].min_eos_p:
                # The token sampled beside a likely end is dropped, as in the reference.
                work.semantic.is_finished = True
            else:
                work.semantic.tokens.append(tokens[index])
                if len(work.semantic.tokens) >= min(self._max_steps, work.prompt.max_semantic_tokens):
                    work.semantic.is_finished = work.is_truncated = True

    def _text(self, work: SentenceWork) -> list[int]:
        config = self._config
        tokens = [token + config.text_offset for token in work.prompt.text_tokens[: config.text_context]]
        return tokens + [config.text_pad_token] * (config.text_context - len(tokens))

    def _history(self, work: SentenceWork) -> list[int]:
        config = self._config
        tokens: list[int] = work.prompt.voice.semantic[-config.text_context :].tolist()
        return tokens + [config.pad_token] * (config.text_context - len(tokens))

    def _slots(self, works: list[SentenceWork]) -> Tensor:
        return torch.tensor([work.slot for work in works], device=self._device)
