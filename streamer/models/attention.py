"""Attention of a forward pass, in the form that is fastest on its device; `gpt` and `fine_gpt` call it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

LONG = 512
"""The length in positions from which torch's fused attention on a CPU is slower than products of one head after the
other, whose scores fit into the processor's cache."""
CAUSAL_BLOCK = 256
"""The number of queries that share a product with all keys up to the last of these queries."""


def attend(query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool, dropout: float = 0.0) -> Tensor:
    """Attend with query, key and value [rows, heads, length, head_dim]; the result is shaped as the queries.

    If `is_causal`, there are as many queries as keys. Scores are kept in the inputs' type and summed up in float32,
    as the fused form does in bfloat16.
    """
    is_long = query.shape[2] >= LONG and query.device.type == "cpu" and query.dtype == torch.bfloat16
    if not is_long or dropout or torch.is_grad_enabled():
        return functional.scaled_dot_product_attention(
            query, key, value, dropout_p=dropout, is_causal=is_causal
        )
    rows, num_heads, length, head_dim = query.shape
    out = torch.empty(rows, length, num_heads, head_dim, dtype=query.dtype)
    query = query * head_dim**-0.5
    for row in range(rows):
        for head in range(num_heads):
            heads = query[row, head], key[row, head], value[row, head]
            if is_causal:
                _attend_causally(*heads, out[row, :, head])
            else:
                scores = heads[0] @ heads[1].T
                out[row, :, head] = torch.softmax(scores, dim=-1, out=scores) @ heads[2]
    return out.transpose(1, 2)


def _attend_causally(query: Tensor, key: Tensor, value: Tensor, out: Tensor) -> None:
    """Attend with one head, [length, head_dim] each, in products that hardly read into the future."""
    hidden = torch.ones(CAUSAL_BLOCK, CAUSAL_BLOCK, dtype=torch.bool).triu(1)
    for first in range(0, len(query), CAUSAL_BLOCK):
        end = min(first + CAUSAL_BLOCK, len(query))
        scores = query[first:end] @ key[:end].T
        scores[:, first:].masked_fill_(hidden[: end - first, : end - first], -torch.inf)
        out[first:end] = torch.softmax(scores, dim=-1, out=scores) @ value[:end]
