"""Puts the four stages of a loaded model together, with room for a number of sentences at once."""

from __future__ import annotations

import itertools

from streamer.engine.device.cuda_graphs import Recorder
from streamer.models.config import ModelConfig
from streamer.models.files.checkpoint import LoadedModel
from streamer.models.gpt import CausalGpt
from streamer.models.kv_cache import KvCache
from streamer.stages.coarse import CoarseStage
from streamer.stages.codec import CodecStage
from streamer.stages.fine import FineStage
from streamer.stages.semantic import SemanticStage

Chain = tuple[SemanticStage, CoarseStage, FineStage, CodecStage]

CAP_BASE_S = 5.0
CAP_PER_CHARACTER_S = 0.25
"""The longest a text may take to speak: far slower than speech, met only by a model gone astray."""

MAX_CAUSAL_ROWS = 64
MAX_FINE_ROWS = 8
MAX_CODEC_ROWS = 16
"""Whole chunks at a time: more rows would keep everybody else waiting for too long."""


def build_stages(model: LoadedModel, *, num_slots: int, record: Recorder | None = None) -> Chain:
    """The stages in the order of the chain, each with `num_slots` rows of state beside the weights.

    `record`: how to record a step, for stages that are to replay recorded ones (`record` of each does it).
    """
    config = model.config
    device = next(model.semantic.parameters()).device
    num_rows = num_slots + (record is not None)  # one to pad recorded steps with

    def cache(network: CausalGpt) -> KvCache:
        return KvCache(network.config, num_rows, network.cache_dtype, device)

    # On a CPU a batch of whole windows is no faster than one after the other, and in bfloat16 it could round
    # a row otherwise than alone.
    max_fine_rows = 1 if device.type == "cpu" else min(MAX_FINE_ROWS, num_slots)
    max_rows = min(MAX_CAUSAL_ROWS, num_slots)
    return (
        SemanticStage(
            model.semantic, config.semantic, cache(model.semantic), max_rows=max_rows, record=record
        ),
        CoarseStage(model.coarse, config, cache(model.coarse), max_rows=max_rows, record=record),
        FineStage(model.fine, config.fine, config.coarse, max_rows=max_fine_rows, record=record),
        CodecStage(model.codec, model.codec.initial_state(num_slots), max_rows=MAX_CODEC_ROWS),
    )


def semantic_cap(text: str, config: ModelConfig, max_gen_duration_s: float | None = None) -> int:
    """Semantic tokens after which a sentence of this text is cut, or one that may take so long.

    As in the reference the token that goes beyond `max_gen_duration_s` is the last.
    """
    longest_s = CAP_BASE_S + CAP_PER_CHARACTER_S * len(text)
    cap = min(config.semantic.max_tokens, round(longest_s * config.semantic.rate_hz))
    if max_gen_duration_s is None:
        return cap
    made_s = itertools.accumulate(itertools.repeat(1 / config.semantic.rate_hz))
    return next(
        count for count, so_far_s in enumerate(made_s, 1) if count == cap or so_far_s > max_gen_duration_s
    )
