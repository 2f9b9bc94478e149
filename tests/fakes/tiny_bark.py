"""A tiny Bark with random weights, voices for it, and functions that run its stages to the end."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from streamer.config import EngineConfig
from streamer.engine.engine import Engine
from streamer.engine.request import Request
from streamer.errors import StreamerError
from streamer.models.codec import CodecDecoder
from streamer.models.config import (
    CoarseConfig,
    CodecConfig,
    FineConfig,
    ModelConfig,
    PathConfig,
    SemanticConfig,
    TokenizerConfig,
    TransformerConfig,
)
from streamer.models.files.checkpoint import LoadedModel
from streamer.models.fine_gpt import FineGpt
from streamer.models.gpt import CausalGpt
from streamer.sampling import SamplingParams
from streamer.stages.chain import Chain, build_stages
from streamer.stages.sentence import SentenceWork
from streamer.voices.voice import Voice

NUM_CODEBOOKS, CODEBOOK_SIZE, SEMANTIC_SIZE = 4, 20, 50

TINY = ModelConfig(
    name="tiny",
    semantic=SemanticConfig(
        TransformerConfig(2, 2, 16, 96, 120, 60),
        text_context=16,
        vocab_size=SEMANTIC_SIZE,
        pad_token=SEMANTIC_SIZE,
        text_offset=60,
        text_pad_token=118,
        infer_token=119,
        max_tokens=70,
    ),
    coarse=CoarseConfig(
        TransformerConfig(2, 2, 16, 64, 96, 96),
        semantic_context=16,
        max_history=24,
        window=6,
        codebook_size=CODEBOOK_SIZE,
        codebook_offset=SEMANTIC_SIZE,
        semantic_pad_token=90,
        infer_token=92,
    ),
    fine=FineConfig(
        TransformerConfig(2, 2, 16, 32, 24, 24),
        context=32,
        history=16,
        num_codebooks=NUM_CODEBOOKS,
        codebook_size=CODEBOOK_SIZE,
        pad_token=CODEBOOK_SIZE,
        chunk_frames=(8, 12, 16),
        later_chunk_frames=(14, 16),
    ),
    codec=CodecConfig(
        sample_rate_hz=300,
        num_codebooks=NUM_CODEBOOKS,
        codebook_size=CODEBOOK_SIZE,
        dimension=8,
        num_filters=2,
        ratios=(2, 2),
    ),
    tokenizer=TokenizerConfig(kind="phonemes", file="lexicon.tsv.gz", symbols=tuple("abcdefgh .,'")),
)

TINY_WITH_PATH = replace(
    TINY,
    path=PathConfig(
        phones=("pause", *"aeiklmnos"),
        silences=("pause",),
        sounds={
            "a": "a",
            "b": "e i",
            "c": "k|s",
            "d": "l",
            "e": "e",
            "f": "m n?",
            "g": "*",
            "h": "o",
            " ": "pause?",
            ",": "pause?",
            ".": "pause",
        },
        tokens_per_phone=5,
        max_phone_tokens=4,
        max_silence_tokens=6,
        max_letter_tokens=2,
    ),
)
"""The same with semantic tokens that name phones."""


def tiny_model(config: ModelConfig = TINY, *, seed: int = 0) -> LoadedModel:
    """Return the models of `config` with weights large enough for logits that differ."""
    torch.manual_seed(seed)
    model = LoadedModel(
        config=config,
        semantic=CausalGpt(config.semantic.transformer),
        coarse=CausalGpt(config.coarse.transformer),
        fine=FineGpt(config.fine.transformer, config.fine.num_codebooks, config.fine.num_codebooks_given),
        codec=CodecDecoder(config.codec),
        directory=Path(),
    )
    for module in (model.semantic, model.coarse, model.fine):
        for parameter in module.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.4)
    # An end would come by chance at the first steps; the tests themselves say when a sentence ends.
    model.semantic.lm_head.weight.data[config.semantic.vocab_size] = 0
    for module in (model.semantic, model.coarse, model.fine, model.codec):
        module.eval()
    return model


def tiny_voice(num_tokens: int, *, seed: int = 0, config: ModelConfig = TINY) -> Voice:
    """Return a random voice; with no tokens, the voice without history."""
    if num_tokens == 0:
        return Voice.without_history(config)
    random = np.random.default_rng(seed)
    fine = random.integers(0, config.fine.codebook_size, (config.fine.num_codebooks, num_tokens * 3 // 2))
    semantic = random.integers(0, config.semantic.vocab_size, num_tokens)
    return Voice(semantic, fine[: config.coarse.num_codebooks], fine)


GREEDY = SamplingParams(seed=0, text_temp=0, waveform_temp=0, fine_temp=0)


def tiny_work(
    voice: Voice,
    params: SamplingParams = GREEDY,
    *,
    text: tuple[int, ...] = (3, 1, 4, 1, 5),
    max_tokens: int = 40,
    config: ModelConfig = TINY,
) -> SentenceWork:
    return SentenceWork(config, text, voice, params, max_semantic_tokens=max_tokens)


class Collector:
    """An outlet that keeps what it receives."""

    def __init__(self) -> None:
        self.chunks = []
        self.errors = []

    def __call__(self, item) -> None:
        (self.errors if isinstance(item, StreamerError) else self.chunks).append(item)

    @property
    def samples(self):
        return np.concatenate([chunk.samples for chunk in self.chunks])


def tiny_engine(model: LoadedModel, *, num_slots: int = 3, stages: Chain | None = None) -> Engine:
    """An engine that never parks a sentence. By its clock steps take no time, so that all who are ready share them."""
    return Engine(
        build_stages(model, num_slots=num_slots) if stages is None else stages,
        EngineConfig(generate_ahead_s=math.inf, max_load=None),
        num_slots=num_slots,
        sample_rate_hz=model.config.codec.sample_rate_hz,
        clock=lambda: 0.0,
    )


def run(
    model: LoadedModel,
    *works: SentenceWork,
    join_after: int = 0,
    num_slots: int = 3,
    stages: Chain | None = None,
) -> list[Collector]:
    """Run the works together to their ends, each joining `join_after` steps after the one before."""
    engine = tiny_engine(model, num_slots=num_slots, stages=stages)
    outlets = [Collector() for _ in works]
    for index, (work, outlet) in enumerate(zip(works, outlets, strict=True)):
        engine.submit(Request(str(index), work, outlet))
        for _ in range(join_after):
            engine.step()
    while engine.step():
        pass
    engine.check_integrity()
    assert engine.num_open == 0
    return outlets
