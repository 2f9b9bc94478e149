"""Rounds the layers of the `semantic` or the `coarse` transformer to weights of four bits, and has it speak as before.

Rounded without more ado it would often say something else. So it learns, with its weights rounded in every step, to
give the same distributions as itself unrounded, on what it says itself (`own_speech`). A scale for each output is
learnt, too (learned step size quantization, Esser et al. 2020). At ten times the rate it forgets more than it learns.
A stopped run continues from its last checkpoint.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from streamer.assembly import BUILTIN_MODEL
from streamer.models.files.checkpoint import LoadedModel, load_model
from streamer.models.gpt import CausalGpt
from streamer.sampling import SamplingParams
from streamer.stages.chain import build_stages
from streamer.stages.sentence import SentenceWork
from streamer.voices.library import VoiceLibrary
from streamer.voices.voice import Voice
from training.own_speech import OwnSpeech, read_own
from training.train_gpt import Optimizers

LARGEST = 7
"""The largest magnitude of a weight of four bits, in units of its output's scale."""
ROWS = {"semantic": 12, "coarse": 16}
RATE, LAST_RATE, WARM_UP_STEPS, CHECKPOINT_STEPS = 1.5e-4, 0.02, 50, 100
TEMPERATURES = (1.0, 0.3)
"""Those at which the distributions are compared: what is likely as a whole, and which token is likeliest."""
NUM_HELD_OUT, VALIDATION_BATCHES = 100, 6
VOICE_SHARE, OTHER_SHARE = 0.6, 0.3
"""The shares of examples whose history is the voice, and another utterance of it; the rest have none."""
CANDIDATES = torch.linspace(0.5, 1.0, 26)
"""The scales that are tried at the beginning, as parts of the one that reaches the largest weight."""


class Rounded(nn.Module):
    """A parametrization: weights [outputs, inputs] as multiples of a scale per output, of at most `LARGEST`."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.log_scales = nn.Parameter(best_scales(weight).log())

    def forward(self, weight: Tensor) -> Tensor:
        scales = self.log_scales.exp()
        levels = (weight / scales).clamp(-LARGEST, LARGEST)
        # Rounding has no gradient: it is taken for that of the identity.
        return (levels + (levels.round() - levels).detach()) * scales


def best_scales(weight: Tensor) -> Tensor:
    """Return the scales [outputs, 1] with the least square error."""
    weight = weight.detach()
    largest = weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-9) / LARGEST
    errors = []
    for candidate in CANDIDATES:
        scales = largest * candidate
        rounded = (weight / scales).round().clamp(-LARGEST, LARGEST) * scales
        errors.append((rounded - weight).square().sum(dim=1))
    return largest * CANDIDATES[torch.stack(errors).argmin(dim=0)][:, None]


def linears(gpt: CausalGpt) -> list[nn.Linear]:
    """Return the linear layers that are rounded: all but the head, which is a small part of what a step reads."""
    return [part for part in gpt.transformer.h.modules() if isinstance(part, nn.Linear)]


class Examples:
    """Batches of what a stage reads when it says an utterance again."""

    def __init__(self, stage: str, model: LoadedModel, spoken: list[OwnSpeech]) -> None:
        self._stage, self._config, self._spoken = stage, model.config, spoken
        self._coarse = build_stages(model, num_slots=1)[1]
        self._voices = VoiceLibrary([model.directory / "voices"], model.config)
        self._by_length = sorted(spoken, key=lambda item: len(item.semantic))

    def batch(self, rows: int, chance: random.Random) -> Batch:
        return (
            self._coarse_batch(rows, chance)
            if self._stage == "coarse"
            else self._semantic_batch(rows, chance)
        )

    def _history(self, item: OwnSpeech, chance: random.Random) -> Voice:
        """Return the voice, another utterance of it, or no history."""
        kind = chance.random()
        if kind < VOICE_SHARE:
            return self._voices.get(item.voice)
        if kind > VOICE_SHARE + OTHER_SHARE:
            return Voice.without_history(self._config)
        other = next(
            other for other in iter(lambda: chance.choice(self._spoken), None) if other.voice == item.voice
        )
        coarse = self._config.coarse
        codes = (np.array(other.coarse) - coarse.codebook_offset).reshape(-1, coarse.num_codebooks).T
        codes = codes - coarse.codebook_size * np.arange(coarse.num_codebooks)[:, None]
        return Voice(np.array(other.semantic), codes, codes)

    def _coarse_batch(self, rows: int, chance: random.Random) -> Batch:
        config = self._config.coarse
        length = config.transformer.block_size - 1
        inputs = torch.full((rows, length), config.semantic_pad_token)
        is_read = torch.zeros(rows, length, dtype=torch.bool)
        for row in range(rows):
            item = chance.choice(self._spoken)
            work = SentenceWork(
                self._config, item.text, self._history(item, chance), SamplingParams(0),
                max_semantic_tokens=len(item.semantic),
            )  # fmt: skip
            work.semantic.tokens = item.semantic
            first = config.window * chance.randrange(-(-len(item.coarse) // config.window))
            work.coarse.tokens = item.coarse[:first]
            read = self._coarse.window_input(work)
            tokens = [*read, *item.coarse[first : first + config.window - 1]]
            inputs[row, : len(tokens)] = torch.tensor(tokens)
            is_read[row, config.semantic_context : len(tokens)] = True
        return inputs, None, is_read

    def _semantic_batch(self, rows: int, chance: random.Random) -> Batch:
        config = self._config.semantic
        start = chance.randrange(max(1, len(self._by_length) - rows))
        chosen = self._by_length[start : start + rows]
        length = -(-max(len(item.semantic) + 1 for item in chosen) // 64) * 64
        text = torch.full((rows, config.text_context), config.text_pad_token)
        history = torch.full((rows, config.text_context), config.pad_token)
        tokens = torch.full((rows, length), config.pad_token)
        tokens[:, 0] = config.infer_token
        is_read = torch.zeros(rows, config.text_context + length, dtype=torch.bool)
        for row, item in enumerate(chosen):
            text[row, : len(item.text)] = torch.tensor(item.text) + config.text_offset
            past = self._history(item, chance).semantic[-config.text_context :]
            history[row, : len(past)] = torch.from_numpy(np.asarray(past, np.int64))
            tokens[row, 1 : len(item.semantic) + 1] = torch.tensor(item.semantic)
            is_read[row, config.text_context : config.text_context + len(item.semantic) + 1] = True
        return torch.cat([text, tokens], dim=1), history, is_read


Batch = tuple[Tensor, Tensor | None, Tensor]
"""Tokens [rows, length], the history that is summed with the first ones, and the positions whose outputs are read."""


def logits_of(gpt: CausalGpt, batch: Batch, outputs: range) -> Tensor:
    """Return the logits [read positions, outputs]."""
    tokens, history, is_read = batch
    embeddings = gpt.embed(tokens)
    if history is not None:
        past = functional.pad(gpt.embed(history), (0, 0, 0, tokens.shape[1] - history.shape[1]))
        embeddings = embeddings + past
    x = gpt.run_blocks(gpt.add_positions(embeddings))[is_read]
    return gpt.logits(x)[:, outputs.start : outputs.stop]


def divergence(expected: Tensor, actual: Tensor) -> Tensor:
    """Return how far the distributions of the logits `actual` are from those of `expected`, in nats."""
    total = torch.zeros(())
    for temperature in TEMPERATURES:
        p, q = (torch.log_softmax(logits / temperature, dim=-1) for logits in (expected, actual))
        total = total + temperature * functional.kl_div(q, p, reduction="batchmean", log_target=True)
    return total


@torch.no_grad()
def validate(
    gpt: CausalGpt, teacher: CausalGpt, batches: Sequence[Batch], outputs: range
) -> tuple[float, float]:
    """Return the divergence, and how often the likeliest token is the same, on held-out utterances."""
    losses, same = [], []
    for batch in batches:
        expected, actual = logits_of(teacher, batch, outputs), logits_of(gpt, batch, outputs)
        losses.append(float(divergence(expected, actual)))
        same.append(float((expected.argmax(-1) == actual.argmax(-1)).float().mean()))
    return float(np.mean(losses)), float(np.mean(same))


def rounded_weights(gpt: CausalGpt) -> dict[str, Tensor]:
    """Return a state dict whose rounded weights are plain ones."""
    state = {name: value for name, value in gpt.state_dict().items() if ".parametrizations." not in name}
    for name, part in gpt.named_modules():
        if isinstance(part, nn.Linear) and parametrize.is_parametrized(part):
            state[f"{name}.weight"] = part.weight.detach().clone()
    return state


def rounded(gpt: CausalGpt) -> CausalGpt:
    """Return the network with its layers' weights rounded, and learnt from now on."""
    gpt.requires_grad_(True)
    for linear in linears(gpt):
        parametrize.register_parametrization(linear, "weight", Rounded(linear.weight))
    return gpt


class Rounding:
    """A training with its state: of `stage`, from the model directory `source`, with checkpoints in `work`."""

    def __init__(self, stage: str, source: Path, work: Path, *, minutes: float, rate: float) -> None:
        self._rows, self._rate, self._spend_s = ROWS[stage], rate, 60 * minutes
        self._path = work / f"rounded_{stage}.pt"
        model = load_model(source, dtype="float32")
        self._outputs: range = getattr(model.config, stage).outputs
        self._teacher: CausalGpt = getattr(model, stage).requires_grad_(False)
        self.gpt = rounded(getattr(load_model(source, dtype="float32"), stage))
        self._optimizers = Optimizers(self.gpt, weight_decay=0.0)
        self._steps, self._spent_s = 0, 0.0
        if self._path.exists():
            state = torch.load(self._path, weights_only=True)
            self.gpt.load_state_dict(state["gpt"])
            self._optimizers.load(state["optimizers"])
            self._steps, self._spent_s = state["steps"], state["spent_s"]
        spoken, fixed = read_own(work), random.Random(0)
        self._chance = random.Random(self._steps)
        self._examples = Examples(stage, model, spoken[NUM_HELD_OUT:])
        held_out = Examples(stage, model, spoken[:NUM_HELD_OUT])
        self._held_out = [held_out.batch(self._rows, fixed) for _ in range(VALIDATION_BATCHES)]

    def compile(self) -> None:
        """Have torch compile the layers."""
        torch._dynamo.config.cache_size_limit = 64
        for network in (self.gpt, self._teacher):
            network.run_blocks = torch.compile(network.run_blocks, dynamic=False)  # type: ignore[method-assign]

    def run(self) -> None:
        """Train until the time is spent, and print how far it is after each checkpoint."""
        self._report([])
        begin = time.monotonic() - self._spent_s
        losses: list[float] = []
        while self._spent_s < self._spend_s:
            losses.append(self._step(self._spent_s / self._spend_s))
            self._spent_s = time.monotonic() - begin
            if len(losses) == CHECKPOINT_STEPS or self._spent_s >= self._spend_s:
                self._save()
                self._report(losses)
                losses = []

    def _step(self, progress: float) -> float:
        batch = self._examples.batch(self._rows, self._chance)
        with torch.no_grad():
            expected = logits_of(self._teacher, batch, self._outputs)
        loss = divergence(expected, logits_of(self.gpt, batch, self._outputs))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.gpt.parameters(), 1.0)
        scale = LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * progress))
        self._steps += 1
        self._optimizers.step(self._rate * scale * min(1, self._steps / WARM_UP_STEPS))
        return float(loss.detach())

    def _save(self) -> None:
        state: dict[str, object] = {"gpt": self.gpt.state_dict(), "optimizers": self._optimizers.state()}
        state |= {"steps": self._steps, "spent_s": self._spent_s}
        torch.save(state, self._path.with_suffix(".tmp"))
        self._path.with_suffix(".tmp").replace(self._path)

    def _report(self, losses: list[float]) -> None:
        held_out, same = validate(self.gpt, self._teacher, self._held_out, self._outputs)
        trained = f"{np.mean(losses):.4f} nats, " if losses else ""
        print(f"{self._steps} steps: {trained}held-out {held_out:.4f}, same token {same:.4f}", flush=True)


def write_stage(gpt: CausalGpt, path: Path) -> None:
    """Replace the weights in a stage's file of a model directory, in their type there."""
    stored = {name: tensor.dtype for name, tensor in load_file(path).items()}
    state = rounded_weights(gpt)
    save_file({name: state[name].to(dtype).contiguous() for name, dtype in stored.items()}, path)
    path.chmod(0o644)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=tuple(ROWS))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=BUILTIN_MODEL, help="directory of the unrounded model")
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--compile", action="store_true", help="compile the steps, which takes some minutes")
    parser.add_argument("--write", type=Path, help="model directory whose weights of the stage are replaced")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    os.nice(19)
    stage: str = arguments.stage
    rounding = Rounding(
        stage, arguments.model, arguments.work, minutes=arguments.minutes, rate=arguments.rate
    )
    if arguments.compile:
        rounding.compile()
    rounding.run()
    if arguments.write:
        write_stage(rounding.gpt, arguments.write / f"{stage}.safetensors")


if __name__ == "__main__":
    main()
