"""Has the fine model guess codes from the teacher's coarse codes: the decoder also learns to speak from such guesses.

The fine stage makes them as it runs in the server, for as many shards as `--minutes` allow.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from streamer.models.fine_gpt import FineGpt
from streamer.sampling import SamplingParams
from streamer.stages.chain import MAX_FINE_ROWS
from streamer.stages.fine import FineStage
from streamer.stages.sentence import SentenceWork
from streamer.voices.voice import Voice
from training.recipe import CONFIG, FINE_HISTORY, shards
from training.spoken import Spoken, read_shard
from training.train_gpt import new_model


def sentence(item: Spoken, voice: Spoken, seed: int) -> SentenceWork:
    """Return a sentence that waits for its fine codes, in the voice of another."""
    codes = voice.codes[:, -FINE_HISTORY:].astype(np.int64)
    history = Voice(voice.semantic.astype(np.int64), codes[: CONFIG.coarse.num_codebooks], codes)
    params = SamplingParams(seed, fine_temp=CONFIG.sampling.fine_temp)
    work = SentenceWork(CONFIG, (), history, params, max_semantic_tokens=len(item.semantic) + 2)
    work.semantic.tokens, work.semantic.is_finished = item.semantic.tolist(), True
    # The teacher's frames end with its sound: there are up to two more or fewer than its tokens ask for.
    missing = max(0, work.num_coarse_steps - len(item.coarse))
    work.coarse.tokens = [*item.coarse[: work.num_coarse_steps], *item.coarse[-missing:][:missing]]
    return work


def guesses(stage: FineStage, items: Sequence[Spoken]) -> Iterator[np.ndarray]:
    """Return the codes [codebooks, frames] of every sentence, with guessed fine codes."""
    for first in range(0, len(items), MAX_FINE_ROWS):
        numbers = range(first, min(first + MAX_FINE_ROWS, len(items)))
        works = [sentence(items[number], items[number - 1], number) for number in numbers]
        while waiting := [work for work in works if stage.is_ready(work)]:
            stage.step(waiting)
        for number, work in zip(numbers, works, strict=True):
            codes = items[number].codes.copy()
            made = work.fine.codes[:, : work.fine.num_frames].numpy().astype(np.int16)
            count = min(codes.shape[1], made.shape[1])
            codes[:, :count] = made[:, :count]
            yield codes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = new_model("fine")
    assert isinstance(model, FineGpt)
    model.load_state_dict(torch.load(arguments.work / "fine.pt", weights_only=True)["model"])
    stage = FineStage(model.eval(), CONFIG.fine, CONFIG.coarse, max_rows=MAX_FINE_ROWS)
    folder = arguments.work / "guesses"
    folder.mkdir(exist_ok=True)
    deadline = time.monotonic() + 60 * arguments.minutes
    for name in shards(arguments.work):
        if time.monotonic() > deadline:
            return
        made = list(guesses(stage, read_shard(arguments.work, name)))
        np.save(folder / f"{name}.npy", np.concatenate(made, axis=1))


if __name__ == "__main__":
    main()
