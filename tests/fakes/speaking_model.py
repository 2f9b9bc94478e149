"""Writes a tiny model that a whole process can speak with: it has random weights, and letters for phones."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np

from streamer.models.config import CodecConfig, SamplingConfig, TokenizerConfig
from streamer.models.files.checkpoint import save_model
from tests.fakes.tiny_bark import TINY, tiny_model, tiny_voice

CONFIG = replace(
    TINY,
    semantic=replace(TINY.semantic, max_tokens=20),
    codec=CodecConfig(
        num_codebooks=TINY.codec.num_codebooks,
        codebook_size=TINY.codec.codebook_size,
        dimension=8,
        num_filters=2,
        num_lstm_layers=1,
    ),
    tokenizer=TokenizerConfig(kind="phonemes", file="lexicon.gz", symbols=tuple("abcdefghijklmnop .,")),
    default_voice="one",
    languages=("en",),
    sampling=SamplingConfig(min_eos_p=1.0),
    note="noise, not speech",
)


def save_speaking_model(directory: Path) -> Path:
    """Write the model with its lexicon and two voices; every sentence of it runs to the cap of 0.4 s."""
    save_model(tiny_model(CONFIG), directory)
    (directory / CONFIG.tokenizer.file).write_bytes(gzip.compress(b"deaf\td e a f\n"))
    for seed, name in enumerate(("one", "two")):
        voice = tiny_voice(40, seed=seed, config=CONFIG)
        (directory / "voices").mkdir(exist_ok=True)
        np.savez(
            directory / "voices" / f"{name}.npz",
            semantic_prompt=voice.semantic,
            coarse_prompt=voice.coarse,
            fine_prompt=voice.fine,
        )
    return directory
