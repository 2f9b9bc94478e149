"""A transformer's layer in int8 for whole passes on a CPU; its three steps are compiled functions (`layer_kernels`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from streamer.models.cpu.int8_linear import Floats, Int8Linear, pack
from streamer.models.cpu.integer_products import GROUP
from streamer.models.cpu.layer_kernels import (
    attend,
    attend_some,
    finish,
    finish_some,
    multiply_rows,
    multiply_some,
    project,
    project_some,
)
from streamer.models.cpu.numba_threads import Team, new_counters, sharing_threads
from streamer.models.gpt import Block, LayerNorm


class CompiledBlock(nn.Module):
    """A `Layer` in int8, made from a `Block` in float32. Its queries, keys and values are bfloat16.

    `packed` are the block's linears if they are packed already: those that project, merge heads, widen and narrow.
    """

    def __init__(self, block: Block, num_threads: int, packed: Sequence[Int8Linear] | None = None) -> None:
        super().__init__()
        self._num_heads = block.attn.num_heads
        self._num_threads = num_threads
        self._norms = [_norm(block.ln_1), _norm(block.ln_2)]
        linears = block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj
        packed = packed or [pack(linear.weight) for linear in linears]
        # As parameters they count among the network's memory.
        self._weights = nn.ParameterList(
            nn.Parameter(torch.from_numpy(each.weights), requires_grad=False) for each in packed
        )
        self._fused = packed[0]
        self._linears = tuple(field for each in packed[1:] for field in each)

    def project(self, x: Tensor, *, first: int = 0, end: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """As `Layer.project`, from float32 to bfloat16."""
        _, length, width = x.shape
        asking = x[:, first:end]
        if asking.shape[1] == length or width % GROUP:  # All of it, or it cannot be cut.
            query, key, value = self._project(x, self._fused, 3)
            return query[:, :, first:end], key, value
        num_groups = width // GROUP
        (query,) = self._project(asking, self._fused.groups(0, num_groups), 1)
        key, value = self._project(x, self._fused.groups(num_groups), 2)
        return query, key, value

    def _project(self, x: Tensor, linear: Int8Linear, num_parts: int) -> tuple[Tensor, ...]:
        rows, length, width = x.shape
        heads = self._num_heads, width // self._num_heads
        fused = torch.empty(rows, length, num_parts, *heads, dtype=torch.bfloat16)
        flat = x.reshape(-1, width)
        out = fused.view(torch.uint16).view(len(flat), -1)
        work = flat.numpy(), self._norms[0], tuple(linear), out.numpy()
        _share(project, project_some, self._num_threads, *work)
        return fused.permute(2, 0, 3, 1, 4).unbind(0)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool) -> Tensor:
        """As `Layer.attend`, from bfloat16 to float32."""
        return attend_with_heads(query, key, value, is_causal=is_causal, num_threads=self._num_threads)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """As `Layer.finish`, in float32."""
        width = x.shape[2]
        flat = x.reshape(-1, width)
        merged = attended.transpose(1, 2).reshape(-1, width).float()
        out = torch.empty_like(flat)
        work = flat.numpy(), merged.numpy(), self._norms[1], self._linears, out.numpy()
        _share(finish, finish_some, self._num_threads, *work)
        return out.view(x.shape)


class Int8Head(nn.Module):
    """A linear layer in int8 that makes logits: its inputs are rounded to int16.

    `linear` makes those of `outputs` alone, of `num_outputs`: see `place_logits`.
    """

    def __init__(self, linear: Int8Linear, outputs: range, num_outputs: int, num_threads: int) -> None:
        super().__init__()
        self._linear, self._num_packed = tuple(linear), linear.scales.size
        self._outputs, self._num_outputs, self._num_threads = outputs, num_outputs, num_threads

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., inputs] of any float type to float32 [..., outputs]."""
        flat = x.detach().reshape(-1, x.shape[-1]).float().numpy()
        made = np.empty((len(flat), self._num_packed), np.float32)
        _share(multiply_rows, multiply_some, self._num_threads, flat, self._linear, made)
        logits = torch.from_numpy(place_logits(made, self._outputs, self._num_outputs))
        return logits.view(*x.shape[:-1], self._num_outputs)


def place_logits(made: Floats, outputs: range, num_outputs: int) -> Floats:
    """Return the logits [rows, num_outputs] of which those of `outputs` were made; the others are minus infinity."""
    if len(outputs) == num_outputs:
        return made[:, :num_outputs]
    logits = np.full((len(made), num_outputs), -np.inf, np.float32)
    logits[:, outputs.start : outputs.stop] = made[:, : len(outputs)]
    return logits


def attend_with_heads(
    query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool, num_threads: int
) -> Tensor:
    """Attend with bfloat16 [rows, heads, length, head_dim]; returns float32 of the queries' shape."""
    rows, num_heads, length, head_dim = query.shape
    out = torch.empty(rows, length, num_heads, head_dim)
    flat, strides = zip(*(_flat(each) for each in (query, key, value)), strict=True)
    heads = flat, np.array(strides), key.shape[2]
    _share(attend, attend_some, num_threads, *heads, out.numpy(), is_causal)
    return out.transpose(1, 2)


def _share(together: Any, alone: Any, num_threads: int, *arguments: Any) -> None:
    """Call `together` on up to `num_threads` threads, or `alone` on this one."""
    if num_threads == 1:
        alone(*arguments, Team(1, new_counters(1), np.ones(1, np.int64)))
        return
    with sharing_threads(num_threads) as num_present:
        together(*arguments, new_counters(1), num_present)


def _flat(heads: Tensor) -> tuple[np.ndarray[Any, Any], tuple[int, int, int]]:
    """Return bfloat16 [rows, heads, length, head_dim] flat, as uint16 with whatever lies between, and its strides."""
    strides = heads.stride()[:3]
    size = sum(stride * (number - 1) for stride, number in zip(heads.stride(), heads.shape, strict=True)) + 1
    flat = heads.as_strided((size,), (1,))
    return flat.view(torch.uint16).numpy(), strides  # type: ignore[return-value]


def _norm(norm: LayerNorm) -> tuple[Any, Any]:
    """Return a norm's gain and bias, float32 [width] each; a missing bias is zero."""
    bias = torch.zeros_like(norm.weight) if norm.bias is None else norm.bias
    return norm.weight.detach().float().numpy(), bias.detach().float().numpy()
