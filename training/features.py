"""Turns the teacher's speech into what the models learn: semantic tokens, and the features that the codes quantize.

A semantic token (50 a second) is a phone of the teacher's own alignment and a level of pitch relative to the
speaker's own: it says what is spoken and how, not by whom. A frame's features (75 a second) are log-mel bands,
log-pitch and voicing. Neither needs a learned encoder: both are used in training only, and at run time the models
make tokens and codes themselves.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from training.teacher import PITCH_SAMPLES, SAMPLE_RATE_HZ

Floats = npt.NDArray[np.float32]
Phoneme = tuple[str, int, int]
"""One of the teacher's signs, its begin and its length, in samples."""

SEMANTIC_HZ, FRAME_HZ = 50, 75
HOP, TOKEN_SAMPLES = SAMPLE_RATE_HZ // FRAME_HZ, SAMPLE_RATE_HZ // SEMANTIC_HZ
WINDOW, FFT = 768, 1024
NUM_MELS = 100
MEL_FLOOR = 1e-4
PITCH_WEIGHT, VOICING_WEIGHT = 15.0, 3.0
"""The scales of pitch and voicing, so that the first codebooks hear pitch beside a hundred bands."""
MEAN_LOG_PITCH = 5.05
NUM_FEATURES = NUM_MELS + 2
PITCH_BORDERS_HZ = {
    "gongitsune": (110.0, 164.0, 180.0, 193.0, 202.0, 212.0, 221.0, 231.0, 244.0, 259.0, 278.0),
    "kumo": (50.0, 73.0, 79.0, 84.0, 88.0, 91.0, 94.0, 98.0, 102.0, 108.0, 118.0),
}
"""Each speaker's borders of pitch levels: below the first a voice begins or ends; the others split them evenly."""
NUM_PITCH_LEVELS = 12
"""The number of pitch levels: level 0 is no pitch, then there is one from each border to the next."""
STRESS_SIGNS = "ˈˌ"
PAUSES = ("^", " ", ",", ".", "?", "!")
"""The signs that are not heard: the silence before the first phone, and pauses by their mark in the text."""
CONSONANTS = tuple("bdfhjklmnpstvwzðŋɡɹʃʒʤʧθT")
VOWELS = tuple("AIOWYiuɑɔɛɜɪʊʌæ")
PHONES = (*PAUSES, *CONSONANTS, "ə", *VOWELS, *(f"ˈ{vowel}" for vowel in VOWELS))
SAME_PHONES = {"ᵊ": "ə", "ɐ": "ə", "ᵻ": "ɪ", ";": ",", ":": ",", "—": ",", "…": "."}
"""Signs that sound like another one."""
PHONE_INDEX = {phone: index for index, phone in enumerate(PHONES)}
NUM_SEMANTIC = len(PHONES) * NUM_PITCH_LEVELS
MARKS = frozenset((*PAUSES, *";:—…"))
SILENCE = 0.0056
"""A token is silent if its loudness (root mean square) is below this share, -45 dB, of the sentence's loudest."""
MIN_PAUSE, MIN_UNMARKED_PAUSE = 4, 8
"""The shortest pause in tokens, at a mark and between words without one: a shorter silence is the closure of stops."""


def silent_tokens(sound: Floats, count: int) -> npt.NDArray[np.bool_]:
    """Return which of `count` tokens are in silence."""
    loudness = np.sqrt(np.square(sound[: count * TOKEN_SAMPLES].reshape(count, TOKEN_SAMPLES)).mean(axis=1))
    return cast("npt.NDArray[np.bool_]", loudness < SILENCE * loudness.max())


def heard_signs(phonemes: Sequence[Phoneme], is_silent: npt.NDArray[np.bool_]) -> npt.NDArray[np.int16]:
    """Return for each token which of the teacher's signs is heard in its middle; -1 in the silence before the first.

    The teacher's lengths mix a pause with the phone before it and the mark behind. Here a mark is heard only in
    silence; otherwise the time of a space belongs to the next phone, and that of another mark to the phone before.
    """
    signs = [sign for sign, _, _ in phonemes]
    starts = np.array([start for _, start, _ in phonemes])
    middles = (np.arange(len(is_silent)) + 0.5) * TOKEN_SAMPLES
    heard = np.searchsorted(starts, middles, side="right") - 1
    found = heard.copy()
    for token, sign in enumerate(heard):
        if sign >= 0 and signs[sign] in MARKS:
            found[token] = _phone_near(signs, int(sign))
    first = 0
    for silent, run in groupby(is_silent.tolist()):
        end = first + len(list(run))
        if silent:
            mark = _pause(signs, heard[first], heard[end - 1], end - first)
            if mark is not None:
                found[first:end] = mark
                _keep_phones(found, heard, signs, first, end)
        first = end
    return found.astype(np.int16)


def _phone_near(signs: Sequence[str], mark: int) -> int:
    """Return the phone that sounds in the time of a mark without a pause."""
    step = 1 if signs[mark] == " " else -1
    ahead = mark
    while 0 <= ahead < len(signs) and signs[ahead] in MARKS:
        ahead += step
    return ahead if 0 <= ahead < len(signs) else mark


def _pause(signs: Sequence[str], first: int, last: int, length: int) -> int | None:
    """Return the mark for a silence of `length` tokens from sign `first` to `last`; None if it is a closure."""
    if first < 0:
        return None
    # A mark at the very end has no time of its own.
    marks = [index for index in range(first, min(last + 2, len(signs))) if signs[index] in MARKS]
    best = next((index for index in marks if signs[index] != " "), None)
    if best is not None:
        return best if length >= MIN_PAUSE else None
    return marks[0] if marks and length >= MIN_UNMARKED_PAUSE else None


def _keep_phones(
    found: npt.NDArray[np.int_], heard: npt.NDArray[np.int_], signs: Sequence[str], first: int, end: int
) -> None:
    """Leave one token of the pause to every phone whose whole time is in it, so that each is said."""
    mark = found[first]
    for sign in set(heard[first:end].tolist()):
        if signs[sign] not in MARKS and not (found == sign).any():
            tokens = np.flatnonzero(heard == sign)
            found[tokens[0] if sign < mark else tokens[-1]] = sign


def sign_phones(phonemes: Sequence[Phoneme]) -> list[int]:
    """Return the phone index of each sign: a stress mark has that of its vowel, which is then a stressed one."""
    found: list[int] = []
    for index, (sign, _, _) in enumerate(phonemes):
        is_stress = sign in STRESS_SIGNS
        vowel = phonemes[index + 1][0] if is_stress and index + 1 < len(phonemes) else sign
        is_stressed = is_stress or (index > 0 and phonemes[index - 1][0] in STRESS_SIGNS)
        phone = SAME_PHONES.get(vowel, vowel)
        stressed = f"ˈ{phone}" if is_stressed else phone
        found.append(PHONE_INDEX[stressed if stressed in PHONE_INDEX else phone])
    return found


def semantic_tokens(
    phonemes: Sequence[Phoneme], signs: npt.NDArray[np.int16], pitch_hz: Floats, voice: str
) -> npt.NDArray[np.int16]:
    """Return tokens of each sign's phone and of the level of `voice` for its pitch (one value per token)."""
    phones = np.array([*sign_phones(phonemes), PHONE_INDEX["^"]])[signs]  # -1: before the first
    levels = np.searchsorted(PITCH_BORDERS_HZ[voice], pitch_hz)
    return (phones * NUM_PITCH_LEVELS + levels).astype(np.int16)


def pitch_at(pitch_hz: Floats, places: npt.NDArray[np.float64]) -> Floats:
    """Return the teacher's pitch at these samples: interpolated between two voiced values, else the nearest."""
    position = places / PITCH_SAMPLES - 0.5
    before = np.clip(np.floor(position).astype(int), 0, len(pitch_hz) - 1)
    after = np.minimum(before + 1, len(pitch_hz) - 1)
    share = np.clip(position - before, 0, 1)
    between = (1 - share) * pitch_hz[before] + share * pitch_hz[after]
    nearest = np.where(share < 0.5, pitch_hz[before], pitch_hz[after])
    both = (pitch_hz[before] > 0) & (pitch_hz[after] > 0)
    return cast(Floats, np.where(both, between, nearest).astype(np.float32))


def mel_filters() -> Floats:
    """Return triangles [mels, bins], evenly spaced on the mel scale from 0 to half the sample rate."""
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
    """Return [frames, mels]: frame i looks at a window around the middle of samples [320 i, 320 (i + 1))."""
    padded = np.pad(sound, (WINDOW // 2 - HOP // 2, WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:count]
    spectrum = np.abs(np.fft.rfft(frames * HANN, FFT)).astype(np.float32) / np.float32(HANN.sum())
    return cast(Floats, np.log(np.maximum(spectrum @ MEL_FILTERS.T, MEL_FLOOR)))


def frame_features(sound: Floats, pitch_hz: Floats) -> Floats:
    """Return [frames, features] for as many frames as `pitch_hz` has values."""
    log_pitch = np.where(pitch_hz > 0, np.log(np.maximum(pitch_hz, 1)) - MEAN_LOG_PITCH, 0)
    extra = np.stack([PITCH_WEIGHT * log_pitch, VOICING_WEIGHT * (pitch_hz > 0)], axis=1)
    return np.concatenate([log_mel(sound, len(pitch_hz)), extra], axis=1).astype(np.float32)


def tokens_and_signs(
    row: Mapping[str, Any], sound: Floats, pitch_hz: Floats
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """Return the semantic tokens of one utterance of a shard, and which of its signs is heard in each."""
    signs = heard_signs(row["phonemes"], silent_tokens(sound, len(sound) // TOKEN_SAMPLES))
    middles = TOKEN_SAMPLES * (np.arange(len(signs)) + 0.5)
    semantic = semantic_tokens(row["phonemes"], signs, pitch_at(pitch_hz, middles), row["voice"])
    return semantic, np.maximum(signs, 0)


def voiced_pitch(pitch_hz: Floats, voice: str) -> Floats:
    """Return the teacher's pitch, 0 where it is too low to be this voice's: there the voice begins or ends."""
    return np.where(pitch_hz < PITCH_BORDERS_HZ[voice][0], 0, pitch_hz).astype(np.float32)


def shard_features(path: Path, folder: Path) -> None:
    """Turn one shard of speech into one file of features, unless that exists."""
    target = folder / f"{path.stem}.npz"
    if target.exists():
        return
    rows = json.loads(path.read_text(encoding="utf-8"))
    shard = np.load(path.with_suffix(".npz"))
    speech, all_pitch_hz = shard["sound"].astype(np.float32) / 32768, shard["pitch_hz"]
    features, semantic, places = [], [], []
    for row in rows:
        start, end = row["start"], row["start"] + row["length"]
        sound, pitch_hz = speech[start:end], all_pitch_hz[start // PITCH_SAMPLES : end // PITCH_SAMPLES]
        pitch_hz = voiced_pitch(pitch_hz, row["voice"])
        middles = HOP * (np.arange(len(sound) // HOP) + 0.5)
        features.append(frame_features(sound, pitch_at(pitch_hz, middles)).astype(np.float16))
        tokens, signs = tokens_and_signs(row, sound, pitch_hz)
        semantic.append(tokens)
        places.append(signs)
    unfinished = target.with_suffix(".npz.part")
    with unfinished.open("wb") as file:
        np.savez(
            file,
            features=np.concatenate(features),
            frames=[len(part) for part in features],
            semantic=np.concatenate(semantic),
            places=np.concatenate(places),
            tokens=[len(part) for part in semantic],
        )
    unfinished.rename(target)


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
