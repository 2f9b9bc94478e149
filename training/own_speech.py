"""Has a model directory's own voices speak, for `round_gpt`: what a model says itself is all that it must keep.

`WORK/own` gets shards of utterances, each with its text, its voice, and the semantic and coarse tokens that were drawn.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from streamer.engine.stage import Stage
from streamer.models.files.checkpoint import LoadedModel, load_model
from streamer.sampling import SamplingParams
from streamer.stages.chain import build_stages, semantic_cap
from streamer.stages.sentence import SentenceWork
from streamer.text.tokens.tokenizer import load_model_tokenizer
from streamer.voices.library import VoiceLibrary
from training.sentences import lines

SHARD_SENTENCES = 64
TEXT_SEED = 11
"""The seed of the texts: not that of the teacher's."""
WARM_SHARE = 4
"""One shard in so many is spoken at the temperature of `WARM`, so that what is seldom said is seen, too."""
WARM = 0.7


@dataclass(frozen=True, slots=True)
class OwnSpeech:
    """What the model said: a text with its tokens, and the semantic and coarse tokens drawn for it in a voice."""

    text: str
    tokens: list[int]
    voice: str
    semantic: list[int]
    coarse: list[int]


def read_own(work: Path) -> list[OwnSpeech]:
    """Return all utterances of `WORK/own`."""
    paths = sorted((work / "own").glob("*.json"))
    return [OwnSpeech(**row) for path in paths for row in json.loads(path.read_text(encoding="utf-8"))]


def works_of(
    model: LoadedModel, texts: list[str], first: int, params: SamplingParams
) -> Iterator[tuple[str, str, SentenceWork]]:
    """Yield the texts to speak, each with a voice's name, all in turn, and its work; what is too long falls out."""
    tokenizer = load_model_tokenizer(model.config, model.directory)
    voices = VoiceLibrary([model.directory / "voices"], model.config)
    names = sorted(voices.names)
    for number, text in enumerate(texts, first):
        tokens = tuple(tokenizer.encode(text))
        if len(tokens) <= model.config.semantic.text_context:
            cap = semantic_cap(text, model.config)
            name = names[number % len(names)]
            work = SentenceWork(
                model.config, tokens, voices.get(name), replace(params, seed=number), max_semantic_tokens=cap
            )
            yield text, name, work


def run(stages: Sequence[Stage[SentenceWork]], works: list[SentenceWork]) -> None:
    """Run every sentence through these stages, one stage after the other, all together."""
    for slot, work in enumerate(works):
        work.slot = slot
        for stage in stages:
            stage.begin(work)
    for stage in stages:
        while waiting := [work for work in works if stage.is_ready(work)]:
            if pending := stage.step(waiting[: stage.max_rows]):
                pending.finish()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="directory of the unrounded model")
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--shards", type=int, default=60)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(arguments.model, dtype="int8")
    stages = build_stages(model, num_slots=SHARD_SENTENCES)[:2]
    tokens_hz = model.config.semantic.rate_hz * model.config.coarse_per_semantic
    texts = [
        line.text for line in lines(arguments.wordnet, SHARD_SENTENCES * arguments.shards, seed=TEXT_SEED)
    ]
    usual = SamplingParams(0, **asdict(model.config.sampling))
    warm = replace(usual, text_temp=WARM, waveform_temp=WARM)
    folder = arguments.work / "own"
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(arguments.shards):
        path = folder / f"{shard:05d}.json"
        if path.exists():
            continue
        first = shard * SHARD_SENTENCES
        params = warm if shard % WARM_SHARE == WARM_SHARE - 1 else usual
        with torch.inference_mode():
            works = list(works_of(model, texts[first : first + SHARD_SENTENCES], first, params))
            run(stages, [work for _, _, work in works])
        rows = [
            OwnSpeech(text, [*work.text_tokens], name, work.semantic.tokens, work.coarse.tokens)
            for text, name, work in works
            if work.semantic.is_finished and not work.is_truncated
        ]
        path.with_suffix(".tmp").write_text(json.dumps([asdict(row) for row in rows]), encoding="utf-8")
        path.with_suffix(".tmp").replace(path)
        print(
            f"{path.name}: {len(rows)}, {sum(len(row.coarse) for row in rows) / tokens_hz:.0f} s", flush=True
        )


if __name__ == "__main__":
    main()
