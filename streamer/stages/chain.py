"""Puts the four stages of a loaded model together, with room for a number of sentences at once."""

from __future__ import annotations

from streamer.models.checkpoint import LoadedModel
from streamer.models.gpt import CausalGpt
from streamer.models.kv_cache import KvCache
from streamer.models.vocabulary import ModelConfig
from streamer.stages.coarse import CoarseStage
from streamer.stages.codec import CodecStage
from streamer.stages.fine import FineStage
from streamer.stages.semantic import SemanticStage

Chain = tuple[SemanticStage, CoarseStage, FineStage, CodecStage]

CAP_BASE_S = 5.0
CAP_PER_CHARACTER_S = 0.25
"""The longest a text may take to speak: far slower than speech, met only by a model gone astray."""

MAX_FINE_ROWS = 8
MAX_CODEC_ROWS = 16
"""Whole chunks at a time: more rows would keep everybody else waiting for too long."""


def build_stages(model: LoadedModel, *, num_slots: int) -> Chain:
    """The stages in the order of the chain, each with `num_slots` rows of state beside the weights."""
    config = model.config
    device = next(model.semantic.parameters()).device

    def cache(network: CausalGpt) -> KvCache:
        return KvCache(network.config, num_slots, network.cache_dtype, device)

    # On a CPU a batch of whole windows is no faster than one after the other, and in bfloat16 it could round
    # a row otherwise than alone.
    max_fine_rows = 1 if device.type == "cpu" else MAX_FINE_ROWS
    return (
        SemanticStage(model.semantic, config.semantic, cache(model.semantic), max_rows=num_slots),
        CoarseStage(model.coarse, config, cache(model.coarse), max_rows=num_slots),
        FineStage(model.fine, config.fine, config.coarse, max_rows=max_fine_rows),
        CodecStage(model.codec, model.codec.initial_state(num_slots), max_rows=MAX_CODEC_ROWS),
    )


def semantic_cap(text: str, config: ModelConfig) -> int:
    """Semantic tokens after which a sentence of this text is cut."""
    longest_s = CAP_BASE_S + CAP_PER_CHARACTER_S * len(text)
    return min(config.semantic.max_tokens, round(longest_s * config.semantic.rate_hz))
