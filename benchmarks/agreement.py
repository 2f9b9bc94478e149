"""How much does a number format change? Compares next-token distributions with float32's, on the built-in voice.

Both models go through the same sentences in step, and both continue from the token that float32 drew, so that a
difference is the format's own and not the consequence of an earlier one.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.first_packet import SENTENCES
from streamer.assembly import BUILTIN_MODEL
from streamer.loadtest.environment import environment, write_result
from streamer.models.files.checkpoint import LoadedModel, load_model
from streamer.sampling import SamplingParams
from streamer.stages.chain import Chain, build_stages, semantic_cap
from streamer.stages.sentence import SentenceWork
from streamer.text.tokens.tokenizer import load_tokenizer
from streamer.text.verbalize.normalize import normalize
from streamer.voices.library import VoiceLibrary

STAGES = ("semantic", "coarse", "fine")


class Speaker:
    """Runs a model in one format and keeps its logits."""

    def __init__(self, dtype: str) -> None:
        self.model: LoadedModel = load_model(BUILTIN_MODEL, dtype=dtype)
        self.logits: dict[str, list[Tensor]] = {name: [] for name in STAGES}
        for name in ("semantic", "coarse"):
            network = getattr(self.model, name)
            network.decode_step.steps_at_once = 1  # Both models are at the same step at any time.
            network.decode = self._watched(name, network.decode)
            network.prefill = self._watched(name, network.prefill)
        fine = self.model.fine
        fine.forward = self._watched("fine", fine.forward)  # type: ignore[method-assign]
        self.stages: Chain = build_stages(self.model, num_slots=1)
        self.stages[2].fill_row = None  # Pass after pass, whose logits are compared.

    def begin(self, work: SentenceWork) -> SentenceWork:
        work.slot = 0
        for stage in self.stages:
            stage.begin(work)
        return work

    def _watched(self, name: str, method: Any) -> Any:
        def watched(*given: Any, **more: Any) -> Tensor:
            logits: Tensor = method(*given, **more)
            self.logits[name].append(logits.clone())
            return logits

        return watched


@dataclass
class Agreement:
    """Collects, for every compared distribution, whether the likeliest token is the same, and the divergence."""

    is_same: list[float] = field(default_factory=list)
    divergences: list[float] = field(default_factory=list)

    def compare(self, reference: Tensor, other: Tensor) -> None:
        """Compare the logits [rows, tokens] of both models."""
        expected, actual = reference.double().log_softmax(-1), other.double().log_softmax(-1)
        self.is_same += (expected.argmax(-1) == actual.argmax(-1)).double().tolist()
        self.divergences += (expected.exp() * (expected - actual)).sum(-1).tolist()


def walk(
    reference: Speaker, other: Speaker, new_work: Callable[[], SentenceWork], found: dict[str, Agreement]
) -> None:
    """Run both models through one sentence; `other` gets float32's tokens after every step."""
    config = reference.model.config
    works = [speaker.begin(new_work()) for speaker in (reference, other)]
    for name, first, second in zip(STAGES, reference.stages, other.stages, strict=False):
        while first.is_ready(works[0]):
            for speaker, stage, work in zip((reference, other), (first, second), works, strict=True):
                speaker.logits[name].clear()
                stage.step([work]).finish()
            if name == "fine":
                # Only the first pass has the same input in both; the next ones see what the model itself filled in.
                done = works[0].fine.num_frames
                logits = [speaker.logits[name][0][0] for speaker in (reference, other)]
                columns = slice(-config.fine.context + config.fine.history, None)
                found[name].compare(*(row[columns, : config.fine.codebook_size] for row in logits))
                works[1].fine.codes[:, :done] = works[0].fine.codes[:, :done]
                continue
            outputs = getattr(config, name).outputs
            read = slice(outputs.start, outputs.stop)
            found[name].compare(*(speaker.logits[name][-1][:, read] for speaker in (reference, other)))
            agree(name, works, second)


def agree(name: str, works: list[SentenceWork], stage: Any) -> None:
    """Have the second model continue from the first one's token."""
    mine, its = getattr(works[0], name), getattr(works[1], name)
    its.tokens[:] = mine.tokens
    its.is_finished = mine.is_finished
    if mine.tokens:
        stage._steps._last_tokens[0] = mine.tokens[-1]


def measure(dtype: str, sentences: tuple[str, ...]) -> list[dict[str, Any]]:
    reference, other = Speaker("float32"), Speaker(dtype)
    config, directory = reference.model.config, reference.model.directory
    tokenizer = load_tokenizer(config.tokenizer, directory)
    voices = VoiceLibrary([directory / "voices"], config)
    sampling = config.sampling
    found: dict[str, Agreement] = defaultdict(Agreement)
    for seed, text in enumerate(sentences):
        tokens = tuple(tokenizer.encode(normalize(text, "en")))
        params = SamplingParams(
            seed, sampling.text_temp, sampling.waveform_temp, sampling.fine_temp, min_eos_p=sampling.min_eos_p
        )
        new_work = partial(
            SentenceWork,
            config,
            tokens,
            voices.get(voices.default),
            params,
            max_semantic_tokens=semantic_cap(text, config),
        )
        walk(reference, other, new_work, found)
    return [
        {
            "dtype": dtype,
            "stage": name,
            "distributions": len(agreement.is_same),
            "same_best_token": float(np.mean(agreement.is_same)),
            "mean_divergence_nats": float(np.mean(agreement.divergences)),
            "p99_divergence_nats": float(np.percentile(agreement.divergences, 99)),
        }
        for name, agreement in found.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "int8"])
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    rows = [row for dtype in arguments.dtypes for row in measure(dtype, SENTENCES)]
    table = Table(title="beside float32")
    for name in ("format", "stage", "distributions", "same best token", "divergence, nats (mean)", "(p99)"):
        table.add_column(name)
    for row in rows:
        table.add_row(
            row["dtype"],
            row["stage"],
            str(row["distributions"]),
            f"{row['same_best_token']:.1%}",
            f"{row['mean_divergence_nats']:.4f}",
            f"{row['p99_divergence_nats']:.4f}",
        )
    Console(width=120).print(table)
    if arguments.output:
        result = {"benchmark": "agreement", **environment(), "rows": rows}
        write_result(arguments.output, result)


if __name__ == "__main__":
    main()
