"""The built-in model's sizes, and the data that every training reads: all that they must agree on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from streamer.models.config import (
    CoarseConfig,
    CodecConfig,
    FineConfig,
    ModelConfig,
    SamplingConfig,
    SemanticConfig,
    TokenizerConfig,
    TransformerConfig,
)
from training.features import FRAME_HZ, NUM_FEATURES, NUM_SEMANTIC, SAMPLE_RATE_HZ, SEMANTIC_HZ
from training.path import path_config

CONSONANTS = "B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH".split()
VOWELS = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split()
PUNCTUATION = (" ", ",", ".", "?", "!", ";", ":", "-", "…")
SYMBOLS = (
    *PUNCTUATION,
    *"abcdefghijklmnopqrstuvwxyz'",
    *CONSONANTS,
    *(vowel + stress for vowel in VOWELS for stress in "012"),
)
TEXT_OFFSET = NUM_SEMANTIC + 1
TEXT_PAD = TEXT_OFFSET + len(SYMBOLS)
SEMANTIC_INPUTS = TEXT_PAD + 2
TEXT_CONTEXT, MAX_SEMANTIC = 128, 512
SEMANTIC_SLICE, COARSE_HISTORY, COARSE_WINDOW = 64, 90, 60
CODEBOOK_SIZE, NUM_CODEBOOKS = 1024, 8
VOICE_NAMES = {"gongitsune": "jane", "kumo": "joe"}
"""What the listener calls the teacher's voices. The names have been the same since the first version."""
COARSE_PAD = NUM_SEMANTIC + 2 * CODEBOOK_SIZE
COARSE_IDS = COARSE_PAD + 3
FINE_CONTEXT, FINE_HISTORY = 128, 64

CONFIG = ModelConfig(
    name="streamer-builtin",
    semantic=SemanticConfig(
        TransformerConfig(4, 4, 256, TEXT_CONTEXT + 1 + MAX_SEMANTIC, SEMANTIC_INPUTS, NUM_SEMANTIC + 1),
        text_context=TEXT_CONTEXT,
        vocab_size=NUM_SEMANTIC,
        pad_token=NUM_SEMANTIC,
        text_offset=TEXT_OFFSET,
        text_pad_token=TEXT_PAD,
        infer_token=TEXT_PAD + 1,
        rate_hz=float(SEMANTIC_HZ),
        max_tokens=MAX_SEMANTIC,
    ),
    coarse=CoarseConfig(
        TransformerConfig(
            4, 4, 256, SEMANTIC_SLICE + 1 + COARSE_HISTORY + COARSE_WINDOW, COARSE_IDS, COARSE_IDS
        ),
        semantic_context=SEMANTIC_SLICE,
        max_history=COARSE_HISTORY,
        window=COARSE_WINDOW,
        codebook_offset=NUM_SEMANTIC,
        semantic_pad_token=COARSE_PAD,
        infer_token=COARSE_PAD + 2,
    ),
    fine=FineConfig(
        TransformerConfig(3, 4, 256, FINE_CONTEXT, CODEBOOK_SIZE + 32, CODEBOOK_SIZE + 32),
        context=FINE_CONTEXT,
        history=FINE_HISTORY,
        chunk_frames=(40, 48, 64),
        later_chunk_frames=(64,),
        last_chunk_frames=24,
        joined_frames=16,
        is_padded=False,
    ),
    codec=CodecConfig(
        sample_rate_hz=SAMPLE_RATE_HZ,
        dimension=NUM_FEATURES,
        num_filters=16,
        num_lstm_layers=1,
    ),
    tokenizer=TokenizerConfig(kind="phonemes", file="lexicon.txt.gz", symbols=SYMBOLS),
    default_voice="joe",
    languages=("en",),
    path=path_config(),
    normalize_text=True,
    # Cooler than Bark's 0.7: a small model's less likely tokens are seldom good.
    sampling=SamplingConfig(text_temp=0.5, waveform_temp=0.3, fine_temp=0.1),
)
assert CONFIG.codec.frame_rate_hz == FRAME_HZ

NUM_HELD_OUT = 4
"""The number of first shards, which no training sees: they hold 200 sentences in all to judge by."""


def shards(work: Path, *, held_out: bool = False) -> list[str]:
    """Return the names of the shards to train on, or of those held out."""
    names = sorted(path.stem for path in (work / "features").glob("*.npz"))
    return names[:NUM_HELD_OUT] if held_out else names[NUM_HELD_OUT:]


def split(row: npt.NDArray[np.int16], lengths: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int16]]:
    """Return a shard's joined sequence [..., total], cut into its sentences."""
    return np.split(row, np.cumsum(lengths)[:-1], axis=-1)
