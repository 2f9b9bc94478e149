"""Attention of some heads at a time for forward passes on a CPU, in bfloat16 or in int8; `int8_forward` chooses.

Few queries are taken at a time, so that their scores stay in the processor's cache. In int8 a query, a key and a value
each have a scale per position, and the softmax weights have two halves, 14 bits in all: of one half, many small weights
beside a large one would be lost. Integers sum up exactly, so a position's result does not depend on others' scales.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from streamer.models.cpu.attention_kernels import (
    add_halves,
    divide,
    exponentiate,
    keep_largest,
    quantize_heads,
    weigh,
)
from streamer.models.cpu.scratch import scratch

QUERIES_AT_ONCE = 256
"""The most queries of a head that attend together."""
LENGTHS_MULTIPLE = 64
"""What lengths are padded to a multiple of in products of bfloat16.

oneDNN compiles such a product for each length, and keeps a megabyte of that, a part of it for ever; sentences have
hundreds of lengths.
"""


class HeadAttention(Protocol):
    """A way to attend."""

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, out: Tensor, column: int, *, is_causal: bool
    ) -> None:
        """Attend with heads [heads, length, head_dim] into `out` [length, width] from `column` on; all bfloat16."""


def attend_in_bfloat16(
    query: Tensor, key: Tensor, value: Tensor, out: Tensor, column: int, *, is_causal: bool
) -> None:
    """As `HeadAttention`: for processors with units for products of bfloat16 (AMX)."""
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


def attend_in_int8(
    query: Tensor, key: Tensor, value: Tensor, out: Tensor, column: int, *, is_causal: bool
) -> None:
    """As `HeadAttention`: for processors with instructions for sums of int8 products alone (VNNI)."""
    (num_heads, length, head_dim), num_keys = query.shape, key.shape[1]
    queries, query_factors = _quantize(query)
    keys, key_factors = _quantize(key)
    values, value_factors = _quantize(value)
    largest = np.empty_like(value_factors)
    keep_largest(value_factors, largest)
    into = out.view(torch.uint16).numpy()
    for head in range(num_heads):
        for_keys = key_factors[head], value_factors[head], largest[head]
        for first in range(0, length, QUERIES_AT_ONCE):
            end = min(first + QUERIES_AT_ONCE, length)
            num_queries, num_seen = end - first, end if is_causal else num_keys
            scores = scratch("sums", torch.int32, num_queries, num_seen)
            torch._int_mm(queries[head, first:end], keys[head, :num_seen].T, out=scores)
            weights = scratch("weights", torch.int8, 2 * num_queries, num_seen)
            factors = np.empty(num_queries, np.float32)
            weigh(
                scores.numpy(), query_factors[head, first:end], for_keys, head_dim**-0.5, first, is_causal,
                weights.view(2, num_queries, num_seen).numpy(), factors,
            )  # fmt: skip
            summed = scratch("sums", torch.int32, 2 * num_queries, head_dim)
            torch._int_mm(weights, values[head, :num_seen], out=summed)
            halves = summed.view(2, num_queries, head_dim).numpy()
            add_halves(halves, factors, into[first:end], column + head * head_dim)


def _quantize(x: Tensor) -> tuple[Tensor, NDArray[np.float32]]:
    """Return bfloat16 heads [heads, length, head_dim] as int8, and their factors [heads, length]."""
    num_heads, length, head_dim = x.shape
    strides = x.stride(0), x.stride(1)
    size = strides[0] * (num_heads - 1) + strides[1] * (length - 1) + head_dim
    flat = x.as_strided((size,), (1,))  # with whatever lies between
    quantized = torch.empty(x.shape, dtype=torch.int8)
    factors = np.empty((num_heads, length), np.float32)
    quantize_heads(flat.view(torch.uint16).numpy(), strides, quantized.numpy(), factors)
    return quantized, factors
