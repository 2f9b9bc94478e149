"""Which stage loses words? Each is judged behind the teacher's own tokens, on sentences that no training saw.

It goes from the codec alone to the whole chain. Sentences over the semantic model's context are left out, since the
server would cut them into pieces. The semantic stage's phones are also counted by its tokens, without
ASR.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path

import jiwer
import numpy as np
import torch

from streamer.assembly import BUILTIN_MODEL
from streamer.models.files.checkpoint import LoadedModel, load_model
from streamer.sampling import SamplingParams
from streamer.stages.chain import build_stages
from streamer.stages.sentence import SentenceWork
from streamer.text.tokens.tokenizer import load_model_tokenizer
from streamer.voices.library import VoiceLibrary
from training.features import NUM_PITCH_LEVELS, PAUSES, PHONES, SAMPLE_RATE_HZ
from training.judge import heard, word_error_rate
from training.own_speech import run
from training.recipe import VOICE_NAMES, shards
from training.spoken import Spoken, read_shard

GIVEN = ("semantic, coarse, fine", "semantic, coarse", "semantic", "nothing")


def phones(semantic: list[int]) -> str:
    """Return the phones that tokens say, each once no matter how long, with spaces between."""
    said = (phone for phone, _ in groupby(PHONES[token // NUM_PITCH_LEVELS] for token in semantic))
    return " ".join(phone for phone in said if phone not in PAUSES)


def give(work: SentenceWork, item: Spoken, given: str) -> None:
    """Fill in the teacher's tokens of this sentence."""
    if "semantic" in given:
        work.semantic.tokens, work.semantic.is_finished = item.semantic.tolist(), True
        work.semantic.num_issued = len(item.semantic)
    missing = max(0, work.num_coarse_steps - len(item.coarse))
    if "coarse" in given:
        work.coarse.tokens = [*item.coarse[: work.num_coarse_steps], *item.coarse[-missing:][:missing]]
        work.coarse.num_issued = len(work.coarse.tokens)
    if "fine" in given:
        codes = torch.from_numpy(item.codes[:, : work.num_coarse_frames].astype(np.int64))
        work.fine.codes[:, : codes.shape[1]] = codes
        work.fine.codes[:, codes.shape[1] : work.num_coarse_frames] = codes[:, -1:]
        work.fine.num_frames = work.num_coarse_frames


def works_of(
    model: LoadedModel, items: list[Spoken], voices: VoiceLibrary, params: SamplingParams, given: str
) -> list[SentenceWork]:
    tokenizer = load_model_tokenizer(model.config, model.directory)
    works = []
    for number, item in enumerate(items):
        text = tuple(tokenizer.encode(item.text))
        work = SentenceWork(
            model.config,
            text,
            voices.get(VOICE_NAMES[item.speaker]),
            replace(params, seed=number),
            max_semantic_tokens=len(item.semantic) * 2 + 50,
        )
        works.append(work)
        give(works[-1], item, given)
    return works


def measure(model: LoadedModel, items: list[Spoken], params: SamplingParams) -> None:
    """Print one line for each amount of the teacher's tokens that is given."""
    voices = VoiceLibrary([model.directory / "voices"], model.config)
    for given in GIVEN:
        with torch.inference_mode():
            works = works_of(model, items, voices, params, given)
            run(build_stages(model, num_slots=len(works)), works)
        hearings = [heard(work.take_audio(), SAMPLE_RATE_HZ) for work in works]
        rate = word_error_rate(zip((item.text for item in items), hearings, strict=True))
        line = f"given {given}: word error rate {rate:.3f}"
        if given == "nothing":
            aims = [phones(item.semantic.tolist()) for item in items]
            rate = jiwer.wer(aims, [phones(work.semantic.tokens) for work in works])
            line += f", phone error rate {rate:.3f}"
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=BUILTIN_MODEL)
    parser.add_argument("--each", type=int, default=15, help="sentences of each held-out shard")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = load_model(arguments.model)
    tokenizer = load_model_tokenizer(model.config, model.directory)
    items = [
        item
        for name in shards(arguments.work, held_out=True)
        for item in read_shard(arguments.work, name)[: arguments.each]
        if len(tokenizer.encode(item.text)) <= model.config.semantic.text_context
    ]
    measure(model, items, SamplingParams(0, **asdict(model.config.sampling)))


if __name__ == "__main__":
    main()
