"""All layers of a transformer in int8 for whole passes on a CPU, run by one compiled function (`layer_kernels`)."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from streamer.models.cpu.int8_cache import Int8KvCache
from streamer.models.cpu.int8_linear import Floats, Int8Linear, pack_quantized
from streamer.models.cpu.joining import run_joined, taker
from streamer.models.cpu.layer_kernels import (
    PHASES_PER_LAYER,
    LayerWeights,
    Pass,
    multiply_rows,
    multiply_some,
    new_pass,
    run_layers_alone,
    run_layers_together,
)
from streamer.models.cpu.numba_threads import new_counters, new_team, sharing_threads
from streamer.models.cpu.packed_heads import PackedHeads, new_packed_heads
from streamer.models.cpu.quantization import dequantize, quantize
from streamer.models.gpt import Block, LayerNorm
from streamer.models.kv_cache import SlotCache

_LINEARS = ("project", "merge", "widen", "narrow")


class PackedLayers:
    """The weights of a network's layers as compiled functions read them, put together one layer after the other."""

    def __init__(self, num_layers: int) -> None:
        self.arrays: dict[str, npt.NDArray[Any]] = {}
        """By the names of the fields of `LayerWeights`."""
        self._num_layers = num_layers

    def add(self, layer: int, block: Block) -> None:
        """Pack the weights of `block`, whose linears are themselves rounded to what the packed ones are worth."""
        norms = block.ln_1, block.ln_2
        self._put("gains", layer, np.stack([floats_of(norm.weight) for norm in norms]))
        self._put("biases", layer, np.stack([bias_of(norm) for norm in norms]))
        linears = block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj
        for name, linear in zip(_LINEARS, linears, strict=True):
            made = pack_rounded(linear)
            self._put(name, layer, made.weights)
            self._put(f"{name}_offsets", layer, made.offsets)
            self._put(f"{name}_scales", layer, made.scales)

    def weights(self) -> LayerWeights:
        """Return the weights of all layers, in the same memory."""
        return LayerWeights(**self.arrays)

    def _put(self, name: str, layer: int, array: npt.NDArray[Any]) -> None:
        if name not in self.arrays:
            self.arrays[name] = np.empty((self._num_layers, *array.shape), array.dtype)
        self.arrays[name][layer] = array


def pack_rounded(linear: nn.Linear) -> Int8Linear:
    """Pack a linear layer, which is itself rounded to what the packed weights are worth."""
    quantized = quantize(linear.weight)
    linear.weight = nn.Parameter(dequantize(*quantized), requires_grad=False)
    return pack_quantized(*quantized)


class CompiledLayers(nn.Module):
    """All layers of a network. Their keys and values are rounded to bytes."""

    def __init__(self, packed: PackedLayers, num_heads: int, num_threads: int) -> None:
        super().__init__()
        self.packed = packed.weights()
        self.num_heads, self.num_threads = num_heads, num_threads
        # As parameters they count among the network's memory.
        self.weights = nn.ParameterList(
            nn.Parameter(torch.from_numpy(packed.arrays[name]), requires_grad=False) for name in _LINEARS
        )

    def run(self, x: Tensor, *, is_causal: bool, first: int = 0, end: int | None = None) -> Tensor:
        """Map float32 [rows, length, width] to what the last layer makes of the positions from `first` to `end`."""
        end = x.shape[1] if end is None else end
        heads = self.new_heads(x.shape[1])
        return torch.stack([self._run(row, heads, 0, first, end, is_causal=is_causal) for row in x])

    def prefill(self, x: Tensor, cache: SlotCache, slots: Tensor, start: int = 0) -> Tensor:
        """Fill `slots` [rows] from position `start` on; returns the last position [rows, width] of the last layer."""
        assert isinstance(cache, Int8KvCache)
        last = x.shape[1] - 1
        made = [
            self._run(row, cache.packed, slot, last, last + 1, is_causal=True, start=start)
            for row, slot in zip(x, slots.tolist(), strict=True)
        ]
        return torch.cat(made)

    def new_heads(self, num_positions: int) -> PackedHeads:
        """Make room for a layer's keys and values, of a pass that leaves none behind."""
        return new_packed_heads(
            1, 1, self.num_heads, self.packed.gains.shape[2] // self.num_heads, num_positions
        )

    def new_pass(
        self,
        x: Floats,
        heads: PackedHeads,
        slot: int,
        borders: tuple[int, int],
        *,
        is_causal: bool = True,
        start: int = 0,
        num_passes: int = 1,
        num_more_phases: int = 0,
    ) -> Pass:
        """Make room for passes over `x`, one after another, each of which may have more phases of its caller's."""
        num_phases = num_passes * (PHASES_PER_LAYER * len(self.packed.gains) + num_more_phases)
        # Blocks for two threads are enough for one that joins.
        num_threads = 1 if taker() is None else 2
        return new_pass(
            x, self.num_heads, heads, slot, borders, new_counters(num_phases),
            is_causal=is_causal, start=start, num_threads=num_threads,
        )  # fmt: skip

    def _run(
        self,
        x: Tensor,
        heads: PackedHeads,
        slot: int,
        first: int,
        end: int,
        *,
        is_causal: bool,
        start: int = 0,
    ) -> Tensor:
        """Run a single row [length, width], so that its numbers stay in the cache of one layer after the other."""
        x = x.float().clone(memory_format=torch.contiguous_format)
        borders = first, end
        shared = self.new_pass(x.detach().numpy(), heads, slot, borders, is_causal=is_causal, start=start)
        if self.num_threads == 1:
            work = partial(run_layers_alone, tuple(self.packed), tuple(shared))
            run_joined(work, shared.counters)
        else:
            with sharing_threads(self.num_threads) as num_threads:
                run_layers_together(tuple(self.packed), tuple(shared._replace(num_threads=num_threads)))
        return x[first:end]


def floats_of(weight: Tensor) -> Floats:
    """Return a weight as float32."""
    return weight.detach().float().contiguous().numpy()


def bits_of(embeddings: Tensor) -> npt.NDArray[Any]:
    """Return embeddings in their own memory, float32 or as a compiled function sees bfloat16."""
    embeddings = embeddings.detach()
    bits: npt.NDArray[Any] = (
        embeddings if embeddings.dtype == torch.float32 else embeddings.view(torch.uint16)
    ).numpy()
    return bits


def bias_of(norm: LayerNorm) -> Floats:
    """Return a norm's bias, which is zero if it has none."""
    return floats_of(torch.zeros_like(norm.weight) if norm.bias is None else norm.bias)


class Int8Head(nn.Module):
    """A linear layer in int8 that makes logits: its inputs are rounded to int16.

    `linear` makes those of `outputs` alone, of `num_outputs`: see `place_logits`.
    """

    def __init__(self, linear: Int8Linear, outputs: range, num_outputs: int, num_threads: int) -> None:
        super().__init__()
        self.linear, self._num_packed = tuple(linear), linear.scales.size
        self.outputs, self._num_outputs, self._num_threads = outputs, num_outputs, num_threads

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., inputs] of any float type to float32 [..., outputs]."""
        flat = x.detach().reshape(-1, x.shape[-1]).float().contiguous().numpy()
        made = np.empty((len(flat), self._num_packed), np.float32)
        _share(multiply_rows, multiply_some, self._num_threads, flat, self.linear, made)
        logits = torch.from_numpy(place_logits(made, self.outputs, self._num_outputs))
        return logits.view(*x.shape[:-1], self._num_outputs)


def place_logits(made: Floats, outputs: range, num_outputs: int) -> Floats:
    """Return the logits [rows, num_outputs] of which those of `outputs` were made; the others are minus infinity."""
    if len(outputs) == num_outputs:
        return made[:, :num_outputs]
    logits = np.full((len(made), num_outputs), -np.inf, np.float32)
    logits[:, outputs.start : outputs.stop] = made[:, : len(outputs)]
    return logits


def _share(together: Any, alone: Any, num_threads: int, *arguments: Any) -> None:
    """Call `together` on up to `num_threads` threads, or `alone` on this one."""
    if num_threads == 1:
        alone(*arguments, new_team(new_counters(1)))
        return
    with sharing_threads(num_threads) as num_present:
        together(*arguments, new_counters(1), num_present)
