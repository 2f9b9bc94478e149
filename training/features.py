"""Turns the teacher's speech into what the models learn: semantic tokens, and the features that the codes quantize.

A semantic token (50 a second) is a phone of the teacher's own alignment and a level of pitch, counted from the
speaker's own: what is said and how, not by whom. A frame's features
(75 a second) are log-mel bands, log-pitch and voicing. Neither needs a learned encoder: both are used in
training only, and at run time the models make tokens and codes themselves.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from training.teacher import SAMPLE_RATE_HZ, speaker_of

Floats = npt.NDArray[np.float32]

SEMANTIC_HZ, FRAME_HZ, PITCH_HZ = 50, 75, 150
HOP = SAMPLE_RATE_HZ // FRAME_HZ
WINDOW, FFT = 768, 1024
NUM_MELS = 100
MEL_FLOOR = 1e-4
PITCH_WEIGHT, VOICING_WEIGHT = 15.0, 3.0
"""So scaled, pitch is heard by the first codebooks beside a hundred bands."""
MEAN_LOG_PITCH = 5.05
NUM_FEATURES = NUM_MELS + 2
PITCH_BORDERS_HZ = (113.0, 125.0, 139.0, 149.0, 158.0, 164.0, 172.0, 181.0, 191.0, 204.0)
NUM_PITCH_LEVELS = len(PITCH_BORDERS_HZ) + 2
"""Level 0: no pitch; then one per interval between the borders."""
STRESS_MARKS = "ˈˌ"
MODIFIERS = "ː̩ʲ"
PHONES = (
    *("^", "$", " ", ",", ".", "?", "!"),
    *"bdfhjklmnprstvwxzðŋɡɹɾʃʒθʔ",
    *(
        "i",
        "iː",
        "u",
        "uː",
        "ɑ",
        "ɑː",
        "ɔ",
        "ɔː",
        "ɜː",
        "ɪ",
        "ʊ",
        "ɛ",
        "æ",
        "ʌ",
        "ə",
        "ɐ",
        "ɚ",
        "ᵻ",
        "a",
        "e",
        "o",
    ),
    *(
        "ˈi",
        "ˈiː",
        "ˈu",
        "ˈuː",
        "ˈɑ",
        "ˈɑː",
        "ˈɔ",
        "ˈɔː",
        "ˈɜː",
        "ˈɪ",
        "ˈʊ",
        "ˈɛ",
        "ˈæ",
        "ˈʌ",
        "ˈa",
        "ˈe",
        "ˈo",
    ),
)
PHONE_INDEX = {phone: index for index, phone in enumerate(PHONES)}
NUM_SEMANTIC = len(PHONES) * NUM_PITCH_LEVELS


@dataclass(frozen=True)
class Sentence:
    """What one spoken sentence became."""

    text: str
    semantic: npt.NDArray[np.int16]  # [50 Hz]
    codes: npt.NDArray[np.int16]  # [codebooks, 75 Hz]
    sound: npt.NDArray[np.int16]  # [samples]


def phone_spans(alignment: list[tuple[str, float]]) -> list[tuple[int, float]]:
    """Phone indices and their lengths in samples: marks of stress and length joined to their vowel."""
    spans: list[tuple[str, float]] = []
    stress, before = "", 0.0
    for symbol, length in alignment:
        if symbol in STRESS_MARKS:
            stress, before = "ˈ", before + length
        elif symbol in MODIFIERS and spans:
            phone, so_far = spans[-1]
            spans[-1] = (phone + "ː" if phone + symbol in PHONE_INDEX else phone, so_far + length)
        else:
            phone = stress + symbol if stress + symbol in PHONE_INDEX else symbol
            spans.append((phone, before + length))
            stress, before = "", 0.0
    return [(PHONE_INDEX.get(phone, PHONE_INDEX["ʔ"]), length) for phone, length in spans]


def semantic_tokens(
    alignment: list[tuple[str, float]], pitch_hz: Floats, count: int
) -> npt.NDArray[np.int16]:
    """`count` tokens: the phone at each token's middle and the level of the pitch there, as if the teacher spoke."""
    spans = phone_spans(alignment)
    ends = np.cumsum([length for _, length in spans])
    middles = (np.arange(count) + 0.5) * SAMPLE_RATE_HZ / SEMANTIC_HZ
    phones = np.array([phone for phone, _ in spans])[
        np.minimum(np.searchsorted(ends, middles), len(spans) - 1)
    ]
    voiced = pitch_hz[3 * np.arange(count) + 1]
    levels = np.where(voiced > 0, 1 + np.searchsorted(PITCH_BORDERS_HZ, voiced), 0)
    return (phones * NUM_PITCH_LEVELS + levels).astype(np.int16)


def spoken_places(alignment: list[tuple[str, float]], count: int) -> npt.NDArray[np.int16]:
    """Of `count` tokens, which of the teacher's phonemes is heard in the middle of each."""
    ends = np.cumsum([length for _, length in alignment])
    middles = (np.arange(count) + 0.5) * SAMPLE_RATE_HZ / SEMANTIC_HZ
    return np.minimum(np.searchsorted(ends, middles), len(alignment) - 1).astype(np.int16)


def mel_filters() -> Floats:
    """[mels, bins] triangles, evenly spaced on the mel scale from 0 to half the sample rate."""
    top = 2595 * np.log10(1 + SAMPLE_RATE_HZ / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, top, NUM_MELS + 2) / 2595) - 1)
    bins = np.linspace(0, SAMPLE_RATE_HZ / 2, FFT // 2 + 1)
    low, middle, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    weights = np.maximum(0, np.minimum(rising, falling))
    # The lowest triangles are narrower than a bin: each keeps its sum, so that none is empty.
    nearest = np.abs(bins - middle).argmin(axis=1)
    weights[np.arange(NUM_MELS), nearest] += 1e-3
    return cast(Floats, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))


MEL_FILTERS = mel_filters()
HANN = np.hanning(WINDOW).astype(np.float32)


def log_mel(sound: Floats, count: int) -> Floats:
    """[frames, mels]: frame i looks at a window around the middle of samples [320 i, 320 (i + 1))."""
    padded = np.pad(sound, (WINDOW // 2 - HOP // 2, WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:count]
    spectrum = np.abs(np.fft.rfft(frames * HANN, FFT)).astype(np.float32) / np.float32(HANN.sum())
    return cast(Floats, np.log(np.maximum(spectrum @ MEL_FILTERS.T, MEL_FLOOR)))


def pitch_track(sound: Floats) -> Floats:
    """Pitch in hertz at 150 points a second, 0 where there is none."""
    import pyworld  # here, so that the recipe's numbers can be read without it

    pitch, times = pyworld.dio(
        sound.astype(np.float64), SAMPLE_RATE_HZ, 60.0, 350.0, frame_period=1000 / PITCH_HZ
    )
    pitch = pyworld.stonemask(sound.astype(np.float64), pitch, times, SAMPLE_RATE_HZ)
    return cast(Floats, np.pad(pitch, (0, 8)).astype(np.float32))


def frame_features(sound: Floats, pitch_hz: Floats, count: int) -> Floats:
    """[frames, features]."""
    voiced = pitch_hz[2 * np.arange(count) + 1]
    log_pitch = np.where(voiced > 0, np.log(np.maximum(voiced, 1)) - MEAN_LOG_PITCH, 0)
    extra = np.stack([PITCH_WEIGHT * log_pitch, VOICING_WEIGHT * (voiced > 0)], axis=1)
    return np.concatenate([log_mel(sound, count), extra], axis=1).astype(np.float32)


def shard_features(path: Path, folder: Path) -> None:
    """One shard of speech to one file of features, unless that exists."""
    target = folder / f"{path.stem}.npz"
    if target.exists():
        return
    rows = json.loads(path.read_text())
    speech = np.load(path.with_suffix(".npz"))["sound"].astype(np.float32) / 32768
    lift = np.float32(speaker_of(path.stem).lift)
    features, semantic, places = [], [], []
    for row in rows:
        sound = speech[row["start"] : row["start"] + row["length"]]
        pitch = pitch_track(sound)
        features.append(frame_features(sound, pitch, len(sound) // HOP).astype(np.float16))
        alignment = cast("list[tuple[str, float]]", row["phonemes"])
        count = len(sound) * SEMANTIC_HZ // SAMPLE_RATE_HZ
        semantic.append(semantic_tokens(alignment, pitch / lift, count))
        places.append(spoken_places(alignment, count))
    np.savez(
        target,
        features=np.concatenate(features),
        frames=[len(part) for part in features],
        semantic=np.concatenate(semantic),
        places=np.concatenate(places),
        tokens=[len(part) for part in semantic],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    folder = arguments.work / "features"
    folder.mkdir(exist_ok=True)
    shards = sorted((arguments.work / "speech").glob("*.json"))
    with ProcessPoolExecutor(arguments.processes) as pool:
        for _ in pool.map(partial(shard_features, folder=folder), shards):
            pass


if __name__ == "__main__":
    main()
