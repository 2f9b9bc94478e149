"""Has the teacher read sentences of WordNet's that no training used, for `benchmarks.quality --unseen`.

They are full of rare words. `WORK/unseen` gets shards of speech like the training's, each voice as many.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from streamer.text.verbalize.normalize import normalize
from training.lexicon import lexicon
from training.sentences import Line, letters, wordnet_sentences
from training.teacher import SHARD_SENTENCES, espeak_guess, load_kokoro, read_shard, save_shard, voice_of


def trained_texts(work: Path) -> Iterator[str]:
    """Yield every text that the trainings may have used."""
    for folder in ("speech", "prosody", "own"):
        for path in sorted((work / folder).glob("*.json")):
            yield from (row["text"] for row in json.loads(path.read_text(encoding="utf-8")))


def unseen(sentences: Iterable[str], trained: Iterable[str]) -> list[str]:
    """Return the sentences that are in none of the trained texts, not even as a part of one."""
    everything = "\n".join(letters(text) for text in trained)
    return [text for text in sentences if letters(text) not in everything]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    os.nice(19)
    sentences = [normalize(text) for text in wordnet_sentences(arguments.wordnet)]
    left = unseen(sentences, trained_texts(arguments.work))
    chosen = random.Random(arguments.seed).sample(left, arguments.count)
    folder = arguments.work / "unseen"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    kokoro, words, guess = load_kokoro(), lexicon(), espeak_guess()
    for shard, first in enumerate(range(0, len(chosen), SHARD_SENTENCES)):
        lines = [Line(text, paragraph=first) for text in chosen[first : first + SHARD_SENTENCES]]
        save_shard(folder, f"{shard:05d}", *read_shard(kokoro, voice_of(shard), lines, words, guess))
    print(f"{len(chosen)} of {len(left)} sentences that no training used")


if __name__ == "__main__":
    main()
