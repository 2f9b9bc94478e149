"""Attention of some heads at a time for forward passes on a CPU with units for products of bfloat16 (AMX).

Few queries are taken at a time, so that their scores stay in the processor's cache.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from streamer.models.cpu.attention_kernels import divide, exponentiate

QUERIES_AT_ONCE = 256
"""The most queries of a head that attend together."""
LENGTHS_MULTIPLE = 64
"""What lengths are padded to a multiple of in products of bfloat16.

oneDNN compiles such a product for each length, and keeps a megabyte of that, a part of it for ever; sentences have
hundreds of lengths.
"""


def attend_in_bfloat16(
    query: Tensor, key: Tensor, value: Tensor, out: Tensor, column: int, *, is_causal: bool
) -> None:
    """Attend with heads [heads, length, head_dim] into `out` [length, width] from `column` on; all are bfloat16."""
    (_, length, head_dim), num_keys = query.shape, key.shape[1]
    query, key, value = (_padded(part) for part in (query, key, value))
    for first in range(0, length, QUERIES_AT_ONCE):
        num_queries = min(QUERIES_AT_ONCE, length - first)
        some = query[:, first : first + QUERIES_AT_ONCE]
        keys = slice(first + some.shape[1] if is_causal else None)
        scores = torch.bmm(some, key[:, keys].transpose(1, 2))
        totals = torch.empty(scores.shape[:2])
        bits = scores.view(torch.uint16).numpy()
        exponentiate(bits, num_keys, head_dim**-0.5, first, is_causal, totals.numpy())
        summed = torch.bmm(scores, value[:, keys])[:, :num_queries]
        into = out[first : first + num_queries].view(torch.uint16).numpy()
        divide(summed.view(torch.uint16).numpy(), totals.numpy(), into, column)


def _padded(x: Tensor) -> Tensor:
    """Pad [heads, length, head_dim] with zeros to a multiple of `LENGTHS_MULTIPLE`."""
    return functional.pad(x, (0, 0, 0, -x.shape[1] % LENGTHS_MULTIPLE))
