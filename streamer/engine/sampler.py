"""Sampling as Bark does it, for a batch of rows that each have their own parameters and noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class RowSampling:
    """One row's filters. `temperature` 0 takes the most likely token; None switches a filter off."""

    temperature: float
    top_k: int | None = None
    top_p: float | None = None


@dataclass(frozen=True, slots=True)
class Draw:
    """What was sampled: tokens [rows], probabilities [rows, vocab], and which rows were all finite [rows]."""

    tokens: Tensor
    probabilities: Tensor
    is_finite: Tensor


def sample(logits: Tensor, noise: Tensor, rows: Sequence[RowSampling]) -> Draw:
    """Draw one token per row: top-p, then top-k, then temperature, softmax, draw (bark `generation.py`).

    `logits` [rows, vocab] of any float type, `noise` standard exponential [rows, vocab].
    The order is the reference's: top-p looks at the logits before the temperature.
    """
    logits = logits.float()
    is_finite = torch.isfinite(logits).all(dim=-1)
    for index, row in enumerate(rows):
        if row.top_p is not None or row.top_k is not None:
            logits[index] = filter_logits(logits[index], top_k=row.top_k, top_p=row.top_p)
    is_greedy = [row.temperature == 0 for row in rows]
    temperatures = torch.tensor([row.temperature or 1.0 for row in rows], device=logits.device)
    probabilities = torch.softmax(logits / temperatures[:, None], dim=-1)
    tokens = (probabilities / noise).argmax(dim=-1)
    if any(is_greedy):
        # The limit of temperature 0: all the probability on the best token.
        greedy = torch.tensor(is_greedy, device=logits.device)
        best = logits.argmax(dim=-1)
        tokens = torch.where(greedy, best, tokens)
        one_hot = torch.nn.functional.one_hot(best, logits.shape[-1]).to(probabilities.dtype)
        probabilities = torch.where(greedy[:, None], one_hot, probabilities)
    return Draw(tokens, probabilities, is_finite)


def filter_logits(logits: Tensor, *, top_k: int | None, top_p: float | None) -> Tensor:
    """A copy of `logits` [vocab] with the unlikely ones at minus infinity; ties at the top-k border stay."""
    logits = logits.clone()
    if top_p is not None:
        ordered, order = torch.sort(logits, descending=True, stable=True)
        cumulative = torch.softmax(ordered, dim=-1).cumsum(dim=-1)
        # Shifted by one: the token that crosses the border is kept, and so is the first whatever top_p.
        is_beyond = torch.zeros_like(cumulative, dtype=torch.bool)
        is_beyond[1:] = cumulative[:-1] > top_p
        logits[order[is_beyond]] = -torch.inf
    if top_k is not None:
        kth = torch.topk(logits, min(max(top_k, 1), logits.shape[-1])).values[-1]
        logits[logits < kth] = -torch.inf
    return logits
