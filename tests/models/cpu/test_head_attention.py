"""Attention on a CPU is near exact attention where weights are spread, alike or far apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from streamer.models.cpu.head_attention import attend_in_bfloat16
from streamer.models.cpu.int8_attention import (
    attend_step,
    attend_with_head,
    new_attention,
    new_step_attention,
)
from streamer.models.cpu.packed_heads import (
    PackedHeads,
    append,
    new_key_and_value,
    new_packed_heads,
    new_queries,
    store_keys,
    store_queries,
    store_values,
)
from streamer.models.cpu.scratch import scratch

LENGTH, SIZE = 700, 32
Attention = Callable[..., Tensor]


def _in_bfloat16(query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool) -> Tensor:
    num_heads, length, size = query.shape
    out = torch.empty(length, num_heads * size, dtype=torch.bfloat16)
    attend_in_bfloat16(query, key, value, out, 0, is_causal=is_causal)
    return out.view(length, num_heads, size).transpose(0, 1).float()


def _in_int8(query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool) -> Tensor:
    num_heads, length, size = query.shape
    heads, projected = _room(num_heads, size, length), _projected(query, key, value)
    queries, factors = new_queries(num_heads, size, length)
    for begin in range(0, length, 48):  # In blocks, as a layer does it, the last of which is shorter.
        block = projected[begin : begin + 48]
        store_queries(block, 0, begin, queries, factors, size)
        store_keys(block, num_heads * size, begin, heads, size)
        store_values(block, 2 * num_heads * size, begin, heads, size)
    out, room = torch.empty(length, num_heads * size), new_attention(16, length, size)
    for head in range(num_heads):
        attend_with_head(
            heads, queries[head], factors[head], head, 0, length, 0, is_causal, room, out.numpy()
        )
    return out.view(length, num_heads, size).transpose(0, 1)


def _in_steps(query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool) -> Tensor:
    """Attend position by position, each of which is appended first, or from the last one on, if not `is_causal`."""
    num_heads, length, size = query.shape
    heads, projected = _room(num_heads, size, length), _projected(query, key, value)
    out, width = torch.empty(length, num_heads * size), num_heads * size
    for_keys, for_queries = new_key_and_value(size), new_step_attention(length, size)
    attended = out.numpy()
    for row in range(length):
        append(projected, row, width, heads, 0, num_heads, row, for_keys)
        if is_causal:
            attend_step(projected, row, heads, 0, num_heads, row, for_queries, attended)
    for row in range(0 if is_causal else length):
        for head in range(num_heads):  # One by one they make the same.
            attend_step(projected, row, heads, head, head + 1, length - 1, for_queries, attended)
    return out.view(length, num_heads, size).transpose(0, 1)


def _room(num_heads: int, size: int, length: int) -> PackedHeads:
    return PackedHeads(*(array[0, 0] for array in new_packed_heads(1, 1, num_heads, size, length)))


def _projected(query: Tensor, key: Tensor, value: Tensor) -> np.ndarray:
    return torch.cat([query, key, value]).float().transpose(0, 1).flatten(1).contiguous().numpy()


ALL = pytest.mark.parametrize("attention", [_in_bfloat16, _in_int8, _in_steps])


def _attended(attention: Attention, heads: list[Tensor], *, is_causal: bool) -> Tensor:
    """What `attention` makes of query, key and value [heads, length, size]: float32 of the same shape."""
    return attention(*(each.to(torch.bfloat16) for each in heads), is_causal=is_causal)


@ALL
@pytest.mark.parametrize("size_of_scores", [0.0, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("is_causal", [False, True])
def test_it_is_near_exact_attention(attention: Attention, size_of_scores: float, is_causal: bool) -> None:
    """The error is that of numbers with eight bits, from equal weights to a few that outweigh all."""
    torch.manual_seed(0)
    heads = list(torch.randn(3, 2, LENGTH, SIZE).unbind())
    heads[0] *= size_of_scores
    exact = torch.nn.functional.scaled_dot_product_attention(*heads, is_causal=is_causal)
    made = _attended(attention, heads, is_causal=is_causal)
    assert (made - exact).std() < 0.03 * exact.std()


@ALL
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_many_small_weights_beside_a_large_one_count(attention: Attention, share: float) -> None:
    """A first key that draws `share` of all attention leaves the rest its part, of which each has little."""
    query, key, value = torch.zeros(3, 1, LENGTH, SIZE).unbind()
    query[..., 0] = SIZE**0.5
    key[0, 0, 0] = torch.tensor(share / (1 - share) * (LENGTH - 1)).log()
    value[0, 1:] = 1
    made = _attended(attention, [query, key, value], is_causal=False)
    assert (made - (1 - share)).abs().max() < 0.02


@ALL
def test_loud_values_do_not_drown_quiet_ones(attention: Attention) -> None:
    """A value that nothing attends to hardly coarsens the others, a hundred times as large as it is."""
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 1, LENGTH, SIZE).unbind()
    query[..., 0], key[..., 0] = 1, 0
    key[0, 5, 0] = -300
    value[0, 5] = 100
    exact = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    made = _attended(attention, [query, key, value], is_causal=False)
    assert (made - exact).std() < 0.03 * exact.std()


@ALL
def test_values_that_are_all_zero_make_zero(attention: Attention) -> None:
    """Nothing is divided by zero."""
    query, key = torch.randn(2, 1, LENGTH, SIZE).unbind()
    made = _attended(attention, [query, key, torch.zeros_like(key)], is_causal=True)
    assert torch.equal(made, torch.zeros_like(made))


@pytest.mark.parametrize("size", [8, 16, 24, 40, 64])
@pytest.mark.parametrize("attention", [_in_int8, _in_steps])
def test_heads_of_any_size_attend(attention: Attention, size: int) -> None:
    """A head need not be whole vectors, and what fills up the last one belongs to no other head."""
    torch.manual_seed(0)
    heads = list(torch.randn(3, 3, 37, size).unbind())
    exact = torch.nn.functional.scaled_dot_product_attention(*heads, is_causal=True)
    made = attention(*heads, is_causal=True)
    assert (made - exact).std() < 0.03 * exact.std()


@pytest.mark.parametrize("attention", [_in_bfloat16])
def test_heads_are_read_where_they_lie(attention: Attention) -> None:
    """Heads that lie between others, as a projection leaves them, are read as copies of them would be."""
    torch.manual_seed(0)
    fused = torch.randn(LENGTH, 3, 2, SIZE).to(torch.bfloat16)
    views = list(fused.permute(1, 2, 0, 3).unbind())
    copies = [each.contiguous() for each in views]
    made = [_attended(attention, each, is_causal=True) for each in (views, copies)]
    assert torch.equal(*made)


def test_scratch_is_kept_by_its_name() -> None:
    """A smaller or an equal request gets the same memory, a larger one new memory, and another name its own."""
    first = scratch("test", torch.int32, 4, 5)
    assert scratch("test", torch.int32, 20).data_ptr() == first.data_ptr()
    assert scratch("other", torch.int32, 20).data_ptr() != first.data_ptr()
    assert scratch("test", torch.int32, 50).shape == (50,)
