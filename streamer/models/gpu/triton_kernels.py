"""The parts of a GPU's decode step between its matrix products, one kernel each; `fused_gpt` calls them in order.

Attention reads keys and values in place, by slot: nothing is gathered, and no row reads past its own position.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from streamer.models.kv_cache import KvCache

PART = 128
"""The positions per program: several programs share a row's head, so that a few rows keep the whole GPU busy."""
EPSILON = 1e-5
"""The number that a layer norm adds to the variance, as in Bark."""


def attend(fused: Tensor, cache: KvCache, layer: int, slots: Tensor, positions: Tensor) -> Tensor:
    """Append one key and value per row to its slot, and attend over all up to it; returns [rows, width].

    `fused` [rows, 3 * width]: query, key, value; `slots` and `positions` int64 [rows].
    """
    keys, values = cache.keys[layer], cache.values[layer]  # [slots, heads, block, head_dim]
    _, num_heads, block, head_dim = keys.shape
    rows, num_parts = len(fused), -(-block // PART)
    out = torch.empty(rows, num_heads * head_dim, dtype=fused.dtype, device=fused.device)
    mixed = torch.empty(rows, num_heads, num_parts, head_dim, dtype=torch.float32, device=fused.device)
    sums = torch.empty(rows, num_heads, num_parts, 2, dtype=torch.float32, device=fused.device)
    _attend_part[(rows, num_heads, num_parts)](
        fused,
        keys,
        values,
        slots,
        positions,
        mixed,
        sums,
        head_dim**-0.5,
        keys.stride(0),
        keys.stride(1),
        NUM_HEADS=num_heads,
        HEAD_DIM=head_dim,
        NUM_PARTS=num_parts,
        PART=PART,
    )
    _join_parts[(rows, num_heads)](
        mixed,
        sums,
        positions,
        out,
        NUM_HEADS=num_heads,
        HEAD_DIM=head_dim,
        NUM_PARTS=num_parts,
        PART=PART,
        PADDED_PARTS=triton.next_power_of_2(num_parts),
    )
    return out


def add_and_norm(x: Tensor, added: Tensor | None, gain: Tensor, dtype: torch.dtype) -> Tensor:
    """Add `added` [rows, width] to `x` (float32, in place), and return its layer norm as `dtype`."""
    rows, width = x.shape
    normed = torch.empty(rows, width, dtype=dtype, device=x.device)
    _add_and_norm[(rows,)](
        x,
        x if added is None else added,
        gain,
        normed,
        HAS_ADDED=added is not None,
        WIDTH=width,
        PADDED_WIDTH=triton.next_power_of_2(width),
        EPSILON=EPSILON,
    )
    return normed


@triton.jit
def _attend_part(
    fused,
    keys,
    values,
    slots,
    positions,
    mixed,
    sums,
    scale,
    slot_stride,
    head_stride,
    NUM_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    NUM_PARTS: tl.constexpr,
    PART: tl.constexpr,
):
    """Sum up values by softmax's numerators over a part of a head's positions; store the newest key and value."""
    row, head, part = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    position = tl.load(positions + row)
    first = part * PART
    if first <= position:
        dims = tl.arange(0, HEAD_DIM)
        given = fused + row * 3 * NUM_HEADS * HEAD_DIM + head * HEAD_DIM + dims
        query = tl.load(given).to(tl.float32) * scale
        new_key = tl.load(given + NUM_HEADS * HEAD_DIM)
        new_value = tl.load(given + 2 * NUM_HEADS * HEAD_DIM)
        start = tl.load(slots + row) * slot_stride + head * head_stride
        places = first + tl.arange(0, PART)
        is_past = places < position
        there = start + places[:, None] * HEAD_DIM + dims[None, :]
        old_keys = tl.load(keys + there, mask=is_past[:, None], other=0.0).to(tl.float32)
        old_values = tl.load(values + there, mask=is_past[:, None], other=0.0).to(tl.float32)
        scores = tl.where(is_past, tl.sum(old_keys * query[None, :], axis=1), float("-inf"))
        has_new = position < first + PART
        new_score = tl.where(has_new, tl.sum(new_key.to(tl.float32) * query, axis=0), float("-inf"))
        largest = tl.maximum(tl.max(scores, axis=0), new_score)
        weights = tl.exp(scores - largest)
        new_weight = tl.exp(new_score - largest)
        joined = tl.sum(weights[:, None] * old_values, axis=0) + new_weight * new_value.to(tl.float32)
        place = (row * NUM_HEADS + head) * NUM_PARTS + part
        tl.store(mixed + place * HEAD_DIM + dims, joined)
        tl.store(sums + place * 2, largest)
        tl.store(sums + place * 2 + 1, tl.sum(weights, axis=0) + new_weight)
        if has_new:
            tl.store(keys + start + position * HEAD_DIM + dims, new_key.to(keys.dtype.element_ty))
            tl.store(values + start + position * HEAD_DIM + dims, new_value.to(values.dtype.element_ty))


@triton.jit
def _join_parts(
    mixed,
    sums,
    positions,
    out,
    NUM_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    NUM_PARTS: tl.constexpr,
    PART: tl.constexpr,
    PADDED_PARTS: tl.constexpr,
):
    """Join the parts of one head of one row to its output."""
    row, head = tl.program_id(0), tl.program_id(1)
    parts, dims = tl.arange(0, PADDED_PARTS), tl.arange(0, HEAD_DIM)
    is_used = parts * PART <= tl.load(positions + row)
    place = (row * NUM_HEADS + head) * NUM_PARTS + parts
    largest = tl.load(sums + place * 2, mask=is_used, other=float("-inf"))
    totals = tl.load(sums + place * 2 + 1, mask=is_used, other=0.0)
    values = tl.load(mixed + place[:, None] * HEAD_DIM + dims[None, :], mask=is_used[:, None], other=0.0)
    weights = tl.exp(largest - tl.max(largest, axis=0))
    joined = tl.sum(weights[:, None] * values, axis=0) / tl.sum(weights * totals, axis=0)
    tl.store(out + (row * NUM_HEADS + head) * HEAD_DIM + dims, joined.to(out.dtype.element_ty))


@triton.jit
def _add_and_norm(
    x,
    added,
    gain,
    normed,
    HAS_ADDED: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED_WIDTH: tl.constexpr,
    EPSILON: tl.constexpr,
):
    """Add to one row, and compute its layer norm without a bias."""
    row = tl.program_id(0)
    columns = tl.arange(0, PADDED_WIDTH)
    is_inside = columns < WIDTH
    value = tl.load(x + row * WIDTH + columns, mask=is_inside, other=0.0)
    if HAS_ADDED:
        value += tl.load(added + row * WIDTH + columns, mask=is_inside, other=0.0).to(tl.float32)
        tl.store(x + row * WIDTH + columns, value, mask=is_inside)
    centred = tl.where(is_inside, value - tl.sum(value, axis=0) / WIDTH, 0.0)
    deviation = tl.sqrt(tl.sum(centred * centred, axis=0) / WIDTH + EPSILON)
    scaled = centred / deviation * tl.load(gain + columns, mask=is_inside, other=0.0).to(tl.float32)
    tl.store(normed + row * WIDTH + columns, scaled.to(normed.dtype.element_ty), mask=is_inside)
