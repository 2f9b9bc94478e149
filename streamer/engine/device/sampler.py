"""Sampling as Bark does it, for a batch of rows that each have their own parameters and noise.

`sample` uses the compiled `numba_sampler` on a CPU and `sample_plainly`, which consists of torch's operations alone,
on every other device; both draw the same tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from streamer.engine.device.noise import exponential

NO_TOP_K = 1 << 30
"""The `top_k` of a row without that filter: larger than any vocabulary."""
NO_TOP_P = 2.0
"""The `top_p` of a row without that filter: larger than any probability."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """The sampling parameters of a batch, each [rows].

    `keys` and `steps` (int64) select a row's noise. A temperature (float32) of 0 takes the most likely token.
    `top_k` (int64) filters nothing if it is the vocabulary's size or more, `top_p` (float32) if it is above 1.
    """

    keys: Tensor
    steps: Tensor
    temperatures: Tensor
    top_k: Tensor
    top_p: Tensor


@dataclass(frozen=True, slots=True)
class Draw:
    """What was sampled, each [rows].

    `tokens` (int64), the probability of the end token (float32), and whether all logits of the row were finite (bool).
    """

    tokens: Tensor
    end_probabilities: Tensor
    is_finite: Tensor


def sample(logits: Tensor, sampling: Sampling, *, is_filtered: bool = True, end: int = 0) -> Draw:
    """Draw one token per row: top-p, then top-k, then temperature, softmax, draw (suno-ai/bark, `generation.py`).

    `logits` is [rows, vocab] of any float type. `is_filtered` is False if the caller knows that no row has a top-k or
    a top-p. `end` is the token whose probability is returned as well. The order is the reference's: top-p looks at
    the logits before the temperature is applied.
    """
    if logits.device.type != "cpu":
        return sample_plainly(logits, sampling, is_filtered=is_filtered, end=end)
    # Imported here, because a process with a GPU need not load a compiler.
    from streamer.engine.device.numba_sampler import draw

    logits = logits.float()
    filtered = filter_logits(logits, sampling) if is_filtered else logits
    tokens, end_probabilities, is_finite = draw(
        filtered, sampling.keys, sampling.steps, sampling.temperatures, end
    )
    if is_filtered:
        is_finite = torch.isfinite(logits).all(dim=-1)
    return Draw(tokens, end_probabilities, is_finite)


def sample_plainly(logits: Tensor, sampling: Sampling, *, is_filtered: bool = True, end: int = 0) -> Draw:
    """Do the same as `sample` without reading any data on the host, in operations of fixed shapes."""
    logits = logits.float()
    is_finite = torch.isfinite(logits).all(dim=-1)
    if is_filtered:
        logits = filter_logits(logits, sampling)
    best = logits.argmax(dim=-1)
    is_greedy = sampling.temperatures == 0
    scaled = logits / sampling.temperatures.masked_fill(is_greedy, 1.0)[:, None]
    # The largest of log(p) - log(noise) is the largest of p / noise: a draw from p, as torch.multinomial does it.
    noise = exponential(sampling.keys, sampling.steps, logits.shape[1])
    tokens = torch.where(is_greedy, best, (scaled - noise.log()).argmax(dim=-1))
    end_probabilities = torch.exp(scaled[:, end] - scaled.logsumexp(dim=-1))
    # The limit of temperature 0: all the probability on the best token.
    end_probabilities = torch.where(is_greedy, (best == end).float(), end_probabilities)
    return Draw(tokens, end_probabilities, is_finite)


def filter_logits(logits: Tensor, sampling: Sampling) -> Tensor:
    """Return `logits` [rows, vocab] with the unlikely ones at minus infinity; ties at the top-k border are kept."""
    ordered, order = torch.sort(logits, dim=-1, descending=True, stable=True)
    cumulative = torch.softmax(ordered, dim=-1).cumsum(dim=-1)
    # Shifted by one: the token that crosses the border is kept, and so is the first whatever top_p.
    is_beyond = torch.zeros_like(cumulative, dtype=torch.bool)
    is_beyond[:, 1:] = cumulative[:, :-1] > sampling.top_p[:, None]
    ordered = ordered.masked_fill(is_beyond, -torch.inf)
    logits = logits.masked_fill(torch.zeros_like(is_beyond).scatter(1, order, is_beyond), -torch.inf)
    kth = ordered.gather(1, sampling.top_k.clamp(1, logits.shape[1])[:, None] - 1)
    return logits.masked_fill(logits < kth, -torch.inf)
