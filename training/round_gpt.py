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

from streamer.models.cpu.quantization import LARGEST_LEVEL, NIBBLE, quantize
from streamer.models.files.checkpoint import load_model
from streamer.models.gpt import CausalGpt
from training.own_examples import Examples, SpeechBatch
from training.own_speech import read_own
from training.train_gpt import Optimizers

ROWS = {"semantic": 12, "coarse": 16}
RATE, LAST_RATE, WARM_UP_STEPS, CHECKPOINT_STEPS = 1e-4, 0.02, 50, 100
TEMPERATURES = (1.0, 0.3)
"""Those at which the distributions are compared: what is likely as a whole, and which token is likeliest."""
VALIDATION_BATCHES = 6
HELD_OUT_EVERY = 30
"""One utterance in so many is held out, and with it all that have the same text."""
CANDIDATES = torch.linspace(0.5, 1.0, 26)
"""The scales that are tried at the beginning, as parts of the one that reaches the largest weight."""


class Rounded(nn.Module):
    """A parametrization: weights [outputs, inputs] as multiples of a scale per output, of at most `LARGEST_LEVEL`."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.log_scales = nn.Parameter(best_scales(weight).log())

    def forward(self, weight: Tensor) -> Tensor:
        scales = self.log_scales.exp()
        levels = (weight / scales).clamp(-LARGEST_LEVEL, LARGEST_LEVEL)
        # Rounding has no gradient: it is taken for that of the identity.
        return (levels + (levels.round() - levels).detach()) * scales


def best_scales(weight: Tensor) -> Tensor:
    """Return the scales [outputs, 1] with the least square error."""
    weight = weight.detach()
    largest = weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-9) / LARGEST_LEVEL
    errors = []
    for candidate in CANDIDATES:
        scales = largest * candidate
        rounded = (weight / scales).round().clamp(-LARGEST_LEVEL, LARGEST_LEVEL) * scales
        errors.append((rounded - weight).square().sum(dim=1))
    return largest * CANDIDATES[torch.stack(errors).argmin(dim=0)][:, None]


def linears(gpt: CausalGpt) -> list[nn.Linear]:
    """Return the linear layers that are rounded: all but the head, which is a small part of what a step reads."""
    return [part for part in gpt.transformer.h.modules() if isinstance(part, nn.Linear)]


def logits_of(gpt: CausalGpt, batch: SpeechBatch, outputs: range) -> Tensor:
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
    gpt: CausalGpt, teacher: CausalGpt, batches: Sequence[SpeechBatch], outputs: range
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
        if any(is_rounded(linear.weight) for linear in linears(self._teacher)):
            raise SystemExit(
                f"{source}: its {stage} model is rounded already; name an unrounded one by --model"
            )
        self.gpt = rounded(getattr(load_model(source, dtype="float32"), stage))
        self._optimizers = Optimizers(self.gpt, weight_decay=0.0)
        self._steps, self._spent_s = 0, 0.0
        if self._path.exists():
            state = torch.load(self._path, weights_only=True)
            self.gpt.load_state_dict(state["gpt"])
            self._optimizers.load(state["optimizers"])
            self._steps, self._spent_s = state["steps"], state["spent_s"]
        self._chance, fixed = random.Random(self._steps), random.Random(0)
        spoken = read_own(work)
        held_out_texts = {item.text for item in spoken[::HELD_OUT_EVERY]}
        self._examples = Examples(stage, model, [item for item in spoken if item.text not in held_out_texts])
        held_out = Examples(stage, model, [item for item in spoken if item.text in held_out_texts])
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


def is_rounded(weight: Tensor) -> bool:
    """Whether the server finds four bits in this weight."""
    return not bool((quantize(weight)[0] % NIBBLE).any())


def write_stage(gpt: CausalGpt, path: Path) -> None:
    """Replace the weights in a stage's file of a model directory, in their type there.

    Raises `ValueError` if the server would not find four bits in one of them: no weight of an output is at its largest
    level, or its type is too coarse.
    """
    stored = {name: tensor.dtype for name, tensor in load_file(path).items()}
    state = {name: weight.to(stored[name]).contiguous() for name, weight in rounded_weights(gpt).items()}
    for name, part in gpt.named_modules():
        if parametrize.is_parametrized(part) and not is_rounded(state[f"{name}.weight"]):
            raise ValueError(
                f"{name} has an output without a weight of {LARGEST_LEVEL} levels; train it a little longer"
            )
    save_file(state, path)
    path.chmod(0o644)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=tuple(ROWS))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="directory of the unrounded model")
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
