"""Int8 for a causal transformer on a CPU, on which a decode step costs the time to read the weights.

A decode step is one compiled function (`decode_step`) over int8 weights. Its inputs are rounded row by row, so that a
row does not depend on its neighbours. Prefills multiply the same weights, in int8 too (`int8_forward`) if that is
faster, else in a float type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from streamer.models.cpu.compiled_layer import CompiledBlock, Int8Head
from streamer.models.cpu.decode_step import Bytes, Floats, Offsets, Weights, decode_step
from streamer.models.cpu.int8_forward import (
    PARALLEL_WIDTH,
    Int8Block,
    fastest_forward_dtype,
    on_one_thread,
    use_fastest_forward,
)
from streamer.models.cpu.int8_linear import Int8Linear, pack
from streamer.models.cpu.quantization import dequantize, quantize
from streamer.models.fine_gpt import FineGpt
from streamer.models.gpt import CausalGpt, Rows, blocks_of, prefill
from streamer.models.kv_cache import KvCache

_PACKED_DIMS = 5
"""The dimensions of the packed weights of all layers."""


def use_int8(network: CausalGpt | FineGpt, forward_dtype: torch.dtype | None = None) -> None:
    """Convert `network`, in float32 on the CPU, to int8, and compile it: this may take seconds.

    `forward_dtype`, by default this CPU's fastest, is for what stays in floats, and for forward passes as a whole if
    int8 does not make them faster. Int8 layers replace the float ones, so such a network cannot be saved.
    """
    num_threads = torch.get_num_threads() if network.config.width >= PARALLEL_WIDTH else 1
    if isinstance(network, FineGpt):
        network.tie_weights()
        weights = [head.get_parameter("weight") for head in network.lm_heads]
        network.lm_heads = nn.ModuleList(
            Int8Head(pack(weight), len(weight), num_threads) for weight in weights
        )
        use_fastest_forward(network, forward_dtype or fastest_forward_dtype())
        return
    step = Int8DecodeStep(network, num_threads)
    head = Int8Head(step.head, network.config.output_vocab_size, num_threads)
    network.decode_step, network.prefill_pass = step, prefill_by_row
    network.lm_head = head  # type: ignore[assignment]
    use_fastest_forward(network, forward_dtype or fastest_forward_dtype(), step.layers())
    step.shares_layers = isinstance(network.blocks[0], CompiledBlock)
    _warm_up(network)


class Int8DecodeStep:
    """The `DecodeStep` that is one compiled function, in which no row reads past its own position.

    `num_threads`: the most threads that share a step.
    """

    cache_dtype = torch.bfloat16

    def __init__(self, gpt: CausalGpt, num_threads: int) -> None:
        """Pack the weights of `gpt`, whose linears are rounded to what the packed weights are worth."""
        blocks = blocks_of(gpt.transformer.h)
        self._weights = Weights(
            _floats(torch.stack([torch.stack([block.ln_1.weight, block.ln_2.weight]) for block in blocks])),
            *_pack_all([block.attn.c_attn for block in blocks]),
            *_pack_all([block.attn.c_proj for block in blocks]),
            *_pack_all([block.mlp.c_fc for block in blocks]),
            *_pack_all([block.mlp.c_proj for block in blocks]),
            _floats(gpt.transformer.ln_f.weight),
            *_pack(gpt.lm_head),
        )
        self.num_threads = num_threads
        self.shares_layers = False  # until passes read the same memory

    @property
    def head(self) -> Int8Linear:
        """The linear layer that makes logits."""
        weights = self._weights
        return Int8Linear(weights.head, weights.head_offsets, weights.head_scales)

    @property
    def nbytes(self) -> int:
        arrays = [array for array in self._weights if array.ndim != _PACKED_DIMS or not self.shares_layers]
        return sum(array.nbytes for array in arrays)

    def layers(self) -> list[list[Int8Linear]]:
        """Return the four linears of every layer, as views."""
        stacks = zip(*[iter(self._weights[1:-4])] * 3, strict=True)
        return [list(of_layer) for of_layer in zip(*map(_unstacked, stacks), strict=True)]

    def __call__(self, gpt: CausalGpt, rows: Rows, cache: KvCache, _length: int | None) -> Tensor:
        tokens, positions, slots = rows
        # These are functions, because modules would take half as long for a call as all layers of a small model.
        x = embedding(tokens, gpt.transformer.wte.weight).float()  # [rows, width]
        x += embedding(positions, gpt.transformer.wpe.weight)
        logits = decode_step(
            x.numpy(),
            self._weights,
            cache.bits,
            slots.contiguous().numpy(),
            positions.contiguous().numpy(),
            self.num_threads,
        )
        return torch.from_numpy(logits[:, : gpt.config.output_vocab_size])


def prefill_by_row(gpt: CausalGpt, embeddings: Tensor, cache: KvCache, slots: Tensor) -> Tensor:
    """Run one row after the other: the `Prefill` for bfloat16, which a batch could round otherwise than a row alone."""

    def by_row() -> Tensor:
        rows = zip(torch.split(embeddings, 1), torch.split(slots, 1), strict=True)
        return torch.cat([prefill(gpt, row, cache, slot) for row, slot in rows])

    is_int8 = isinstance(gpt.blocks[0], CompiledBlock | Int8Block)
    return on_one_thread(by_row) if is_int8 else by_row()


def _warm_up(gpt: CausalGpt) -> None:
    """Compile the prefill and the decode step now rather than within a step that the engine's watchdog times."""
    cache = KvCache(replace(gpt.config, block_size=2), 1, gpt.cache_dtype)
    zero = torch.zeros(1, dtype=torch.long)
    gpt.prefill(gpt.embed(zero.expand(1, 2)), cache, zero)  # A single position's arrays have another layout.
    gpt.decode(zero, zero, cache, zero)


def _pack_all(linears: Sequence[nn.Linear]) -> tuple[Bytes, Offsets, Floats]:
    """Pack one linear layer of every block: the fields of an `Int8Linear`, with [layers, ...] in front."""
    weights, offsets, scales = zip(*map(_pack, linears), strict=True)
    return np.stack(weights), np.stack(offsets), np.stack(scales)


def _unstacked(fields: tuple[Any, ...]) -> list[Int8Linear]:
    """Return the linears whose fields these are, with [layers, ...] in front."""
    return [Int8Linear(*of_layer) for of_layer in zip(*fields, strict=True)]


def _pack(linear: nn.Linear) -> Int8Linear:
    """Pack a linear layer, which is itself rounded to what the packed weights are worth."""
    linear.weight = nn.Parameter(dequantize(*quantize(linear.weight)), requires_grad=False)
    return pack(linear.weight)


def _floats(tensor: Tensor) -> Floats:
    return tensor.detach().float().contiguous().numpy()
