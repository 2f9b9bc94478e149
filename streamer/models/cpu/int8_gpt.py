"""Int8 for a causal transformer on a CPU, on which a decode step costs the time to read the weights.

A decode step is one compiled function (`decode_step`) over int8 weights. Its inputs are rounded row by row, so that a
row does not depend on its neighbours. Prefills multiply the same weights, in int8 too (`int8_forward`) if that is
faster, else in a float type.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, pad

from streamer.models.cpu.decode_step import Bytes, Floats, Weights, decode_step
from streamer.models.cpu.int8_forward import (
    PARALLEL_WIDTH,
    Int8Block,
    fastest_forward_dtype,
    on_one_thread,
    use_fastest_forward,
)
from streamer.models.cpu.llvm_intrinsics import GROUP, INPUTS
from streamer.models.cpu.quantization import dequantize, quantize
from streamer.models.fine_gpt import FineGpt
from streamer.models.gpt import Block, CausalGpt, Rows, prefill
from streamer.models.kv_cache import KvCache

Fill = Callable[[nn.Module, str], None]
"""Gives the weights whose names begin with a prefix to those parameters of a module that are on the meta device."""


def use_int8(
    network: CausalGpt | FineGpt,
    forward_dtype: torch.dtype | None = None,
    *,
    fill: Fill = lambda _module, _prefix: None,
) -> None:
    """Convert `network`, in float32 on the CPU, to int8, and compile it: this may take seconds.

    `forward_dtype`, by default this CPU's fastest, is for what stays in floats, and for forward passes as a whole if
    int8 does not make them faster. Int8 layers replace the float ones, so such a network cannot be saved.

    The weights of a network on the meta device are asked of `fill`, layer by layer, so that no more than one layer is
    in memory as floats.
    """
    packed = _Packed(network.config.num_layers)

    def prepare(layer: int, block: Block) -> None:
        fill(block, f"transformer.h.{layer}.")
        if isinstance(network, CausalGpt):
            packed.add_layer(layer, block)

    if isinstance(network, CausalGpt):
        fill(network.lm_head, "lm_head.")
        packed.add_head(network.lm_head)
    use_fastest_forward(network, forward_dtype or fastest_forward_dtype(), prepare)
    fill(network, "")
    if isinstance(network, CausalGpt):
        network.decode_step = Int8DecodeStep(network, packed)
        network.prefill_pass = prefill_by_row
        _warm_up(network)


class _Packed:
    """The weights of a network as a decode step reads them, put together one layer after the other."""

    def __init__(self, num_layers: int) -> None:
        self.arrays: dict[str, npt.NDArray[Any]] = {}
        """By the names of the fields of `Weights`."""
        self._num_layers = num_layers

    def add_layer(self, layer: int, block: Block) -> None:
        """Pack the weights of `block`, whose linears are rounded to what the packed weights are worth."""
        self._put("gains", layer, _floats(torch.stack([block.ln_1.weight, block.ln_2.weight])))
        linears = {
            "project": block.attn.c_attn,
            "merge": block.attn.c_proj,
            "widen": block.mlp.c_fc,
            "narrow": block.mlp.c_proj,
        }
        for name, linear in linears.items():
            weights, scales = _pack(linear)
            self._put(name, layer, weights)
            self._put(f"{name}_scales", layer, scales)

    def add_head(self, head: nn.Linear) -> None:
        """Pack the weights of the last product, which is rounded as the layers are."""
        self.arrays["head"], self.arrays["head_scales"] = _pack(head)

    def _put(self, name: str, layer: int, array: npt.NDArray[Any]) -> None:
        if name not in self.arrays:
            self.arrays[name] = np.empty((self._num_layers, *array.shape), array.dtype)
        self.arrays[name][layer] = array


class Int8DecodeStep:
    """The `DecodeStep` that is one compiled function, in which no row reads past its own position.

    `num_threads`: the most threads that share a step.
    """

    cache_dtype = torch.bfloat16

    def __init__(self, gpt: CausalGpt, packed: _Packed) -> None:
        self._weights = Weights(head_gain=_floats(gpt.transformer.ln_f.weight), **packed.arrays)
        self.num_threads = torch.get_num_threads() if gpt.config.width >= PARALLEL_WIDTH else 1

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self._weights)

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

    return on_one_thread(by_row) if isinstance(gpt.blocks[0], Int8Block) else by_row()


def _warm_up(gpt: CausalGpt) -> None:
    """Compile the prefill and the decode step now rather than within a step that the engine's watchdog times."""
    cache = KvCache(replace(gpt.config, block_size=2), 1, gpt.cache_dtype)
    zero = torch.zeros(1, dtype=torch.long)
    gpt.prefill(gpt.embed(zero.expand(1, 2)), cache, zero)  # A single position's arrays have another layout.
    gpt.decode(zero, zero, cache, zero)


def _pack(linear: nn.Linear) -> tuple[Bytes, Floats]:
    """Pack weights as [groups, inputs / 2, GROUP, 2] and scales as [groups, GROUP], the order of a step's reads.

    Zeros pad the outputs to whole groups and the inputs to a multiple of INPUTS. `linear` is rounded to the result.
    """
    quantized, scales = quantize(linear.weight)
    linear.weight = nn.Parameter(dequantize(quantized, scales), requires_grad=False)
    more_outputs, more_inputs = (
        -size % unit for size, unit in zip(quantized.shape, (GROUP, INPUTS), strict=True)
    )
    packed = pad(quantized, (0, more_inputs, 0, more_outputs))
    packed = packed.view(-1, GROUP, packed.shape[1] // 2, 2).transpose(1, 2).contiguous()
    return (packed.numpy(), _floats(pad(scales, (0, more_outputs)).view(-1, GROUP)))


def _floats(tensor: Tensor) -> Floats:
    return tensor.detach().float().contiguous().numpy()
