"""Builds the four stages of a loaded model, with state for a number of sentences at once."""

from __future__ import annotations

import itertools

from streamer.engine.device.cpu_stream import CpuStream, num_cores
from streamer.engine.device.cuda_graphs import Recorder
from streamer.models.config import ModelConfig
from streamer.models.cpu.threads import PARALLEL_WIDTH
from streamer.models.files.checkpoint import LoadedModel
from streamer.models.gpt import CausalGpt
from streamer.models.kv_cache import SlotCache
from streamer.stages.coarse import CoarseStage
from streamer.stages.codec import CodecStage
from streamer.stages.fine import FineStage
from streamer.stages.semantic import SemanticStage
from streamer.stages.windows_ahead import slots_per_sentence

Chain = tuple[SemanticStage, CoarseStage, FineStage, CodecStage]

CAP_BASE_S = 5.0
CAP_PER_CHARACTER_S = 0.25
"""The longest audio of a text is the base plus this per character: far slower than speech, so that only a sentence that
has gone astray reaches it."""

MAX_CAUSAL_ROWS = 64
MAX_FINE_ROWS = 8
MAX_CODEC_ROWS = 16
"""The most rows of a step. A row of the fine and of the codec stage is a whole chunk; more of them would keep the other
requests waiting for too long."""


def build_stages(
    model: LoadedModel, *, num_slots: int, record: Recorder | None = None, stream: CpuStream | None = None
) -> Chain:
    """Return the stages in the order of the chain, each with `num_slots` rows of state beside the weights.

    `record` says how a step is recorded, if the stages are to replay recorded steps; each stage's own `record` does it.
    With `stream` the fine and the codec stage run there, beside the two that make the coarse tokens; while that thread
    has nothing to do, it helps these.
    """
    config = model.config
    device = next(model.semantic.parameters()).device
    num_rows = num_slots + (record is not None)  # one to pad recorded steps with

    def cache(network: CausalGpt, slots_each: int = 1) -> SlotCache:
        return network.new_cache(num_rows * slots_each, device)

    # On a CPU a batch of whole windows is no faster than one window after another, and in bfloat16 it could round a
    # row differently than alone.
    max_fine_rows = 1 if device.type == "cpu" else min(MAX_FINE_ROWS, num_slots)
    max_rows = min(MAX_CAUSAL_ROWS, num_slots)
    return (
        SemanticStage(
            model.semantic, config, cache(model.semantic), max_rows=max_rows, record=record, stream=stream
        ),
        CoarseStage(
            model.coarse,
            config,
            cache(model.coarse, slots_per_sentence(model.coarse, has_stream=stream is not None)),
            max_rows=max_rows,
            record=record,
            stream=stream,
        ),
        FineStage(
            model.fine, config.fine, config.coarse, max_rows=max_fine_rows, record=record, stream=stream
        ),
        CodecStage(model.codec, model.codec.initial_state(num_slots), max_rows=MAX_CODEC_ROWS, stream=stream),
    )


def stream_beside(model: LoadedModel, num_threads: int | None) -> CpuStream | None:
    """Return a thread for the fine and the codec stage beside the engine's own, or None if they have no use for one.

    A narrow model in int8 has: each of its steps runs on a single thread. `num_threads` are those that the engine may
    use; None: as it likes.
    """
    is_compiled = model.semantic.decode_step.steps_at_once > 1 and model.coarse.decode_step.steps_at_once > 1
    is_narrow = is_compiled and model.fine.config.width < PARALLEL_WIDTH
    return CpuStream() if is_narrow and num_cores() > 1 and num_threads != 1 else None


def semantic_cap(text: str, config: ModelConfig, max_gen_duration_s: float | None = None) -> int:
    """Return the number of semantic tokens at which a sentence of this text is cut.

    As in the reference, the token that exceeds `max_gen_duration_s` is the last one.
    """
    longest_s = CAP_BASE_S + CAP_PER_CHARACTER_S * len(text)
    cap = min(config.semantic.max_tokens, round(longest_s * config.semantic.rate_hz))
    if max_gen_duration_s is None:
        return cap
    made_s = itertools.accumulate(itertools.repeat(1 / config.semantic.rate_hz))
    return next(
        count for count, so_far_s in enumerate(made_s, 1) if count == cap or so_far_s > max_gen_duration_s
    )
