"""Describes a loaded model as the port does; for `local`."""

from __future__ import annotations

from collections.abc import Sequence

from streamer.models.config import ModelConfig
from streamer.sampling import CoarseLimits, SamplingParams
from streamer.synthesis import ModelInfo
from streamer.voices.library import VoiceLibrary


def model_info(
    config: ModelConfig, voices: VoiceLibrary, phones: Sequence[str] = (), chunk_schedule: str | None = None
) -> ModelInfo:
    """Return the port's description of a model, its voices and its tokenizer's phones."""
    context = config.semantic.text_context
    return ModelInfo(
        name=config.name,
        sample_rate_hz=config.codec.sample_rate_hz,
        default_voice=voices.default,
        voices=voices.names,
        languages=config.languages,
        tags=config.tags,
        max_text_tokens=min(config.max_piece_tokens or context, context),
        default_params=SamplingParams(
            seed=0,
            text_temp=config.sampling.text_temp,
            waveform_temp=config.sampling.waveform_temp,
            fine_temp=config.sampling.fine_temp,
            min_eos_p=config.sampling.min_eos_p,
        ),
        coarse_limits=CoarseLimits(
            config.coarse.max_history,
            config.coarse.window,
            config.coarse.transformer.block_size - config.coarse.semantic_context,
        ),
        note=config.note,
        normalizes_text=config.normalize_text,
        phones=phones,
        tells_words=config.path is not None,
        chunk_schedule=chunk_schedule,
    )
