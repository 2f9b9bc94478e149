"""More for the semantic model to learn from: how the teacher would say a text, found without making the sound.

A semantic token tells a phone and its pitch. Kokoro knows both before it begins to make sound, which is nearly all of
its work. A shard has 50 lines: `prosody/NNNNN.json` (text, voice, signs) and `NNNNN.npz` (semantic tokens, and the
sign that is heard in each). The lines follow those that `teacher.py` speaks.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.features import tokens_and_signs, voiced_pitch
from training.lexicon import lexicon
from training.sentences import Line, lines
from training.teacher import (
    NUM_SHARDS,
    PITCH_SAMPLES,
    SHARD_SENTENCES,
    Kokoro,
    espeak_guess,
    load_kokoro,
    read_shard,
    save_shard,
    voice_of,
)

KEPT = ("text", "voice", "pieces")
"""What is kept of each line: without a sound its times mean nothing."""


def prosody_shard(
    kokoro: Kokoro, voice: str, shard: Sequence[Line], words: dict[str, str], guess: Callable[[str], str]
) -> tuple[dict[str, npt.NDArray[np.generic]], list[dict[str, object]]]:
    """Return the semantic tokens and their places of all lines, joined, and a row for each line.

    `kokoro` gives loudness in place of sound: `load_kokoro(is_silent=True)`.
    """
    arrays, rows = read_shard(kokoro, voice, shard, words, guess)
    loudness, all_pitch_hz = arrays["sound"].astype(np.float32) / 32768, arrays["pitch_hz"]
    semantic, places = [], []
    for row in rows:
        start, end = row["start"], row["start"] + row["length"]
        pitch_hz = voiced_pitch(all_pitch_hz[start // PITCH_SAMPLES : end // PITCH_SAMPLES], voice)
        tokens, signs = tokens_and_signs(row, loudness[start:end], pitch_hz)
        semantic.append(tokens)
        places.append(signs)
    joined = {
        "semantic": np.concatenate(semantic),
        "places": np.concatenate(places),
        "tokens": np.array([len(tokens) for tokens in semantic]),
    }
    return joined, [{key: row[key] for key in KEPT} for row in rows]


@cache
def _teacher() -> tuple[Kokoro, dict[str, str], Callable[[str], str]]:
    """Return the teacher, loaded once in each process."""
    return load_kokoro(is_silent=True), lexicon(), espeak_guess()


def say(number: int, shard: Sequence[Line], *, folder: Path) -> None:
    """Make one shard, unless it exists."""
    name = f"{number:05d}"
    if (folder / f"{name}.json").exists():
        return
    kokoro, words, guess = _teacher()
    save_shard(folder, name, *prosody_shard(kokoro, voice_of(number), shard, words, guess))
    print(f"{time.strftime('%H:%M:%S')} shard {name}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--shards", type=int, default=400)
    arguments = parser.parse_args()
    folder = arguments.work / "prosody"
    folder.mkdir(parents=True, exist_ok=True)
    first, count = NUM_SHARDS, NUM_SHARDS + arguments.shards
    spoken = lines(arguments.wordnet, count * SHARD_SENTENCES)
    shards = [spoken[place : place + SHARD_SENTENCES] for place in range(0, len(spoken), SHARD_SENTENCES)]
    with ProcessPoolExecutor(arguments.processes) as pool:
        for _ in pool.map(partial(say, folder=folder), range(first, count), shards[first:]):
            pass


if __name__ == "__main__":
    main()
