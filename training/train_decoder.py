"""Trains the EnCodec decoder to turn the quantizer's codes into the teacher's sound.

The codes say nothing of phase, so the decoder is judged by spectra, and, with `--adversarial`, by a
discriminator that looks at spectrograms. A stopped run continues from its last checkpoint; `--start` begins
with the weights of an existing model's decoder. The codebooks are always the quantizer's.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from streamer.models.codec import CodecDecoder
from streamer.models.files.checkpoint import load_model
from training.discriminator import Discriminator
from training.features import HOP, SAMPLE_RATE_HZ
from training.recipe import CODEBOOK_SIZE, CONFIG, shards
from training.spectra import ModulationLoss, SpectralLoss

LEARNING_RATE = 8e-4
WARM_UP_STEPS = 200
CLIP_NORM = 30.0
NOISY_CODES = 0.03
GUESSED = 0.5
"""The share of cuts whose fine codes are the fine model's guesses, if `training.guesses` has made some."""
CHECKPOINT_STEPS = 250
FEATURE_WEIGHT = 1.0
ADVERSARIAL_SHARE = 0.5
"""How large the gradient of the adversarial loss with respect to the sound is made, beside that of the spectra.

EnCodec's balancer does this with moving averages of the norms; here it is done with each step's own."""
MODULATION_WEIGHT = 1.0
JUDGE_LEAD_STEPS = 150
"""The number of steps for which the discriminator learns alone: an untrained one would mislead the decoder."""


def new_decoder(codebooks: np.ndarray) -> CodecDecoder:
    """Return a decoder whose quantizer holds the fitted codebooks, scaled to unit variance around 0."""
    decoder = CodecDecoder(CONFIG.codec)
    books = torch.from_numpy(codebooks)
    books[0] -= books[0].mean(dim=0)
    with torch.no_grad():
        decoder.codebooks.copy_(books / books[0].std())
    decoder.codebooks.requires_grad_(False)  # the next version's codes are found by them
    return decoder


def batches(work: Path, rows: int, frames: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield random cuts: codes [rows, codebooks, frames] and sound [rows, frames * hop], from the shards in memory."""
    chance = np.random.default_rng(seed)
    true, guessed = [], []
    for name in shards(work):
        sound = np.load(work / "speech" / f"{name}.npz")["sound"]
        lengths = np.load(work / "features" / f"{name}.npz")["frames"]
        rest = (sentence_starts(work, name), lengths, np.cumsum(lengths) - lengths)
        true.append((sound, np.load(work / "codes" / f"{name}.npy"), *rest))
        path = work / "guesses" / f"{name}.npy"
        if path.exists():
            guessed.append((sound, np.load(path), *rest))
    while True:
        codes_rows, sound_rows = [], []
        while len(codes_rows) < rows:
            data = guessed if guessed and chance.random() < GUESSED else true
            sound, codes, starts, lengths, firsts = data[chance.integers(len(data))]
            number = chance.integers(len(lengths))
            if lengths[number] < frames:
                continue
            first = chance.integers(lengths[number] - frames + 1)
            codes_rows.append(codes[:, firsts[number] + first :][:, :frames])
            begin = starts[number] + first * HOP
            sound_rows.append(sound[begin : begin + frames * HOP])
        codes_batch = torch.from_numpy(np.stack(codes_rows).astype(np.int64))
        yield codes_batch, torch.from_numpy(np.stack(sound_rows).astype(np.float32) / 32768)


def sentence_starts(work: Path, name: str) -> np.ndarray:
    """Return the begin of each sentence of a shard, in samples."""
    return np.array([row["start"] for row in json.loads((work / "speech" / f"{name}.json").read_text())])


def with_noise(codes: Tensor) -> Tensor:
    """Return the codes with some fine ones replaced at random: at run time they are guesses."""
    noisy = torch.rand(codes.shape) < NOISY_CODES
    noisy[:, :2] = False
    return torch.where(noisy, torch.randint(CODEBOOK_SIZE, codes.shape), codes)


def _shapes(state: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in state.items()}


class Training:
    """What a checkpoint keeps: the decoder, its discriminator, their optimizers and the step count."""

    def __init__(self, work: Path, device: str, start: Path | None) -> None:
        self.path = work / "decoder.pt"
        self.device = device
        self.decoder = new_decoder(np.load(work / "codebooks.npy")).to(device)
        self.judge = Discriminator().to(device)
        self.loss = SpectralLoss(SAMPLE_RATE_HZ).to(device)
        self.pulses = ModulationLoss(SAMPLE_RATE_HZ).to(device)
        trained = [parameter for parameter in self.decoder.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, LEARNING_RATE, (0.8, 0.99))
        self.judge_optimizer = torch.optim.AdamW(self.judge.parameters(), 4e-4, (0.8, 0.99))
        self.steps, self.steps_judged = 0, 0
        if self.path.exists():
            state = torch.load(self.path, weights_only=True)
            self.decoder.load_state_dict(state["decoder"])
            self.optimizer.load_state_dict(state["optimizer"])
            if _shapes(state["judge"]) == _shapes(
                self.judge.state_dict()
            ):  # else it was made by other code: begin anew
                self.judge.load_state_dict(state["judge"])
                self.judge_optimizer.load_state_dict(state["judge_optimizer"])
            self.steps = state["steps"]
        elif start:
            codebooks = {"codebooks": self.decoder.codebooks}
            self.decoder.load_state_dict(load_model(start).codec.state_dict() | codebooks)

    def save(self) -> None:
        state = {
            "decoder": self.decoder.state_dict(),
            "judge": self.judge.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "judge_optimizer": self.judge_optimizer.state_dict(),
            "steps": self.steps,
        }
        torch.save(state, self.path.with_suffix(".tmp"))
        self.path.with_suffix(".tmp").replace(self.path)

    def step(self, codes: Tensor, real: Tensor, *, rate: float, adversarial: bool) -> tuple[float, float]:
        """Update once; return the spectral loss and the discriminator's (0 without it)."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * min(1.0, (self.steps + 1) / WARM_UP_STEPS)
        made = self.decoder(self.decoder.dequantize(with_noise(codes).to(self.device)))
        real = real.to(self.device)
        spectral = self.loss(made, real)
        total = spectral + MODULATION_WEIGHT * self.pulses(made, real)
        (gradient,) = torch.autograd.grad(total, made)
        judge_loss = 0.0
        if adversarial:
            against, judge_loss = self.judge_step(made.detach(), real)
            if self.steps_judged > JUDGE_LEAD_STEPS:
                gradient += ADVERSARIAL_SHARE * gradient.norm() / (against.norm() + 1e-12) * against
        self.optimizer.zero_grad()
        made.backward(gradient)
        torch.nn.utils.clip_grad_norm_(self.decoder.parameters(), CLIP_NORM)
        self.optimizer.step()
        self.steps += 1
        return float(spectral.detach()), judge_loss

    def judge_step(self, made: Tensor, real: Tensor) -> tuple[Tensor, float]:
        """Update the discriminator; return the adversarial loss's gradient with respect to `made`, and its own loss.

        Both come from one pass over each sound, which is half of the work of another one after the update.
        """
        made.requires_grad_()
        (made_scores, ours), (real_scores, theirs) = self.judge(made), self.judge(real)
        fooled = sum((1 - score).relu().mean() for score in made_scores) / len(made_scores)
        alike = sum(
            (a - b.detach()).abs().mean() / (b.detach().abs().mean() + 1e-6)
            for a, b in zip(ours, theirs, strict=True)
        )
        against = fooled + FEATURE_WEIGHT * alike / len(ours)
        (gradient,) = torch.autograd.grad(against, made, retain_graph=True)
        loss = sum(
            (1 - real_score).relu().mean() + (1 + made_score).relu().mean()
            for made_score, real_score in zip(made_scores, real_scores, strict=True)
        ) / len(made_scores)
        parameters = list(self.judge.parameters())
        for parameter, found in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = found
        self.judge_optimizer.step()
        self.steps_judged += 1
        return gradient, float(loss.detach())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rate", type=float, default=LEARNING_RATE)
    parser.add_argument("--adversarial", action="store_true")
    parser.add_argument("--start", type=Path, help="model directory to begin with")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    training = Training(arguments.work, arguments.device, arguments.start)
    torch.manual_seed(training.steps)
    start, losses = time.monotonic(), []
    end = start + 60 * arguments.minutes
    for codes, sound in batches(arguments.work, arguments.rows, arguments.frames, training.steps):
        losses.append(training.step(codes, sound, rate=arguments.rate, adversarial=arguments.adversarial))
        if training.steps % CHECKPOINT_STEPS == 0 or time.monotonic() > end:
            training.save()
            spectral, judged = np.mean(losses, axis=0)
            per_step = (time.monotonic() - start) / (len(losses) or 1)
            print(
                f"{training.steps} spectral {spectral:.4f} judge {judged:.3f} {per_step:.3f} s/step",
                flush=True,
            )
            losses, start = [], time.monotonic()
        if time.monotonic() > end:
            return


if __name__ == "__main__":
    main()
