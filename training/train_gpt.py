"""Trains one of the three transformers: `semantic`, `coarse` or `fine`.

It prints the loss of the steps (with the guide's for the semantic model) and of held-out sentences (without it). The
learning rate falls along a cosine over `--minutes`; a stopped run continues from its last checkpoint. `--start`
begins with the weights of an existing model, which helps even if the tokens are others: the layers are then kept.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from streamer.models.files.checkpoint import load_model
from streamer.models.fine_gpt import FineGpt
from streamer.models.gpt import CausalGpt
from training.examples import (
    IGNORED,
    CoarseExamples,
    FineExamples,
    SemanticExamples,
    with_wrong_codes,
)
from training.guide import GUIDE_WEIGHT, Guide
from training.recipe import CONFIG, NUM_CODEBOOKS, TEXT_CONTEXT
from training.spoken import Spoken, read_prosody, read_spoken

RATES = {"semantic": 1.5e-3, "coarse": 1.5e-3, "fine": 1.5e-3}
ROWS = {"semantic": 16, "coarse": 24, "fine": 24}
LAST_RATE = 0.05
WARM_UP_STEPS = 100
CHECKPOINT_STEPS = 100
VALIDATION_BATCHES = 4


def new_model(stage: str) -> CausalGpt | FineGpt:
    """Return the stage's model with fresh weights."""
    if stage == "fine":
        return FineGpt(CONFIG.fine.transformer)
    transformer = CONFIG.semantic.transformer if stage == "semantic" else CONFIG.coarse.transformer
    return CausalGpt(transformer)


def begin_with(model: nn.Module, other: nn.Module) -> None:
    """Copy another model's weights; those of the embeddings and the head only if it has as many tokens."""
    ours = model.state_dict()
    theirs = other.state_dict()
    model.load_state_dict(
        ours | {name: theirs[name] for name in ours if theirs[name].shape == ours[name].shape}
    )


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED)


class Optimizers:
    """Muon for the layers' matrices, AdamW for embeddings, heads and norms, at one learning rate."""

    def __init__(self, model: nn.Module, guide: Guide | None = None, *, weight_decay: float = 0.05) -> None:
        matrices, others = [], [*guide.parameters()] if guide else []
        for name, parameter in model.named_parameters():
            is_matrix = parameter.dim() == 2 and parameter.shape[1] > 1 and ".h." in name
            (matrices if is_matrix else others).append(parameter)
        self.both = [
            torch.optim.Muon(matrices, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0.0),
        ]

    def step(self, rate: float) -> None:
        """Update once from the gradients, and clear them."""
        for optimizer in self.both:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad()

    def state(self) -> list[dict[str, object]]:
        return [optimizer.state_dict() for optimizer in self.both]

    def load(self, states: list[dict[str, object]]) -> None:
        for optimizer, state in zip(self.both, states, strict=True):
            optimizer.load_state_dict(state)


class StageLoss:
    """The loss of random batches of a stage's examples."""

    def __init__(self, stage: str, spoken: list[Spoken], guide: Guide | None = None) -> None:
        self.stage, self.guide = stage, guide
        examples = {"semantic": SemanticExamples, "coarse": CoarseExamples, "fine": FineExamples}
        self.examples = examples[stage](spoken)

    def __call__(self, model: nn.Module, rows: int, chance: random.Random, device: str) -> Tensor:
        if isinstance(self.examples, SemanticExamples) and isinstance(model, CausalGpt):
            text, history, *rest = (part.to(device) for part in self.examples.batch(rows, chance))
            tokens, targets, places = rest
            merged = model.embed(text) + model.embed(history)
            embeddings = torch.cat([merged, model.embed(tokens)], dim=1)
            if self.guide is None:
                return cross_entropy(model.forward_embeddings(embeddings, first=TEXT_CONTEXT), targets)
            logits, guessed = self.guide(model, embeddings)
            loss = cross_entropy(logits, targets)
            is_known = bool((places != IGNORED).any())
            return loss + GUIDE_WEIGHT * cross_entropy(guessed, places) if is_known else loss
        if isinstance(self.examples, CoarseExamples) and isinstance(model, CausalGpt):
            inputs, targets = self.examples.batch(rows, chance)
            inputs, targets = (
                (with_wrong_codes(inputs) if model.training else inputs).to(device),
                targets.to(device),
            )
            context = CONFIG.coarse.semantic_context
            logits = model.forward_embeddings(model.embed(inputs), first=context)
            return cross_entropy(logits, targets[:, context:])
        assert isinstance(self.examples, FineExamples)
        codebook = chance.randrange(2, NUM_CODEBOOKS)
        codes, targets = (part.to(device) for part in self.examples.batch(rows, codebook, chance))
        return cross_entropy(model(codebook, codes), targets)


@torch.no_grad()
def validate(model: nn.Module, loss: StageLoss, rows: int, device: str) -> float:
    """Return the mean loss over held-out sentences, in the same batches every time."""
    model.eval()
    chance = random.Random(0)
    values = [float(loss(model, rows, chance, device)) for _ in range(VALIDATION_BATCHES)]
    model.train()
    return float(np.mean(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=tuple(ROWS))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--start", type=Path, help="model directory to begin with")
    parser.add_argument(
        "--compile", action="store_true", help="compile the steps: 1.5 times as fast after some minutes"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--bfloat16",
        action=argparse.BooleanOptionalAction,
        help="multiply in bfloat16; the default is to do so on a GPU only: many CPUs are slower at it than in float32",
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    stage, device = arguments.stage, arguments.device
    is_bfloat16 = device.startswith("cuda") if arguments.bfloat16 is None else arguments.bfloat16
    rate, rows = arguments.rate or RATES[stage], arguments.rows or ROWS[stage]
    path = arguments.work / f"{stage}.pt"
    model = new_model(stage).to(device)
    guide = Guide().to(device) if stage == "semantic" else None
    optimizers = Optimizers(model, guide)
    steps = 0
    if path.exists():
        state = torch.load(path, weights_only=True)
        model.load_state_dict(state["model"])
        if guide:
            guide.load_state_dict(state["guide"])
        optimizers.load(state["optimizers"])
        steps = state["steps"]
    elif arguments.start:
        begin_with(model, getattr(load_model(arguments.start), stage))
    if arguments.compile:
        model.run_blocks = torch.compile(model.run_blocks, dynamic=False)  # type: ignore[method-assign]
        torch._dynamo.config.cache_size_limit = 64
    torch.manual_seed(steps)
    chance = random.Random(steps)
    spoken = read_spoken(arguments.work)
    if stage == "semantic":
        spoken += read_prosody(arguments.work)
    loss = StageLoss(stage, spoken, guide)
    held_out = StageLoss(stage, read_spoken(arguments.work, held_out=True))
    begin = time.monotonic()
    mark, losses = begin, []
    first_step = steps
    while True:
        progress = (time.monotonic() - begin) / (60 * arguments.minutes)
        if progress >= 1 or (steps > first_step and steps % CHECKPOINT_STEPS == 0):
            state = {
                "model": model.state_dict(),
                "guide": guide.state_dict() if guide else {},
                "optimizers": optimizers.state(),
                "steps": steps,
            }
            torch.save(state, path.with_suffix(".tmp"))
            path.with_suffix(".tmp").replace(path)
            per_step = (time.monotonic() - mark) / max(1, len(losses))
            held = validate(model, held_out, rows, device)
            print(f"{steps} {np.mean(losses):.4f} held-out {held:.4f} {per_step:.3f} s/step", flush=True)
            mark, losses = time.monotonic(), []
        if progress >= 1:
            return
        scale = LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * min(progress, 1)))
        with torch.autocast(device, torch.bfloat16, enabled=is_bfloat16):
            value = loss(model, rows, chance, device)
        value.backward()
        torch.nn.utils.clip_grad_norm_([*model.parameters(), *(guide.parameters() if guide else ())], 1.0)
        optimizers.step(rate * scale * min(1, (steps - first_step + 1) / WARM_UP_STEPS))
        losses.append(float(value.detach()))
        steps += 1


if __name__ == "__main__":
    main()
