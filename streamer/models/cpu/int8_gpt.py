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

from streamer.models.cpu.compiled_layers import (
    CompiledLayers,
    Int8Head,
    PackedLayers,
    bits_of,
    floats_of,
    pack_rounded,
    place_logits,
)
from streamer.models.cpu.decode_step import Step, Weights, decode_step, new_step
from streamer.models.cpu.int8_cache import Int8KvCache
from streamer.models.cpu.int8_forward import (
    Int8Block,
    fastest_forward_dtype,
    use_fastest_forward,
)
from streamer.models.cpu.int8_linear import Int8Linear, pack
from streamer.models.cpu.quantization import NIBBLE, pack_nibbles
from streamer.models.cpu.threads import PARALLEL_WIDTH, on_one_thread
from streamer.models.fine_gpt import FineGpt
from streamer.models.gpt import CausalGpt, Rows, prefill
from streamer.models.kv_cache import SlotCache

_PACKED_DIMS = 5
"""The dimensions of the packed weights of all layers."""


STEPS_AT_ONCE = 16
"""The steps in a row of a narrow model, for one sentence, which take 3 ms: what happens between two calls takes 0.3 ms.
Of weights of four bits they are twice as many."""

Fill = Callable[[nn.Module, str], None]
"""Gives the weights whose names begin with a prefix to those parameters of a module that are on the meta device."""


def use_int8(
    network: CausalGpt | FineGpt,
    forward_dtype: torch.dtype | None = None,
    *,
    outputs: range | None = None,
    fill: Fill = lambda _module, _prefix: None,
) -> None:
    """Convert `network`, in float32 on the CPU, to int8, and compile it: this may take seconds.

    `forward_dtype`, by default this CPU's fastest, is for what stays in floats, and for forward passes as a whole if
    int8 does not make them faster. Int8 layers replace the float ones, so such a network cannot be saved.
    `outputs`, by default all: those whose logits are read. The others have no weights any more, and logits of minus
    infinity.

    The weights of a network on the meta device are asked of `fill`, layer by layer, so that no more than one layer is
    in memory as floats.
    """
    num_threads = torch.get_num_threads() if network.config.width >= PARALLEL_WIDTH else 1
    forward_dtype = forward_dtype or fastest_forward_dtype()
    num_outputs = network.config.output_vocab_size
    outputs = range(num_outputs) if outputs is None else outputs
    if isinstance(network, FineGpt):
        _use_int8_passes(network, forward_dtype, outputs, num_threads, fill)
        return
    packed = PackedLayers(network.config.num_layers)
    fill(network.lm_head, "lm_head.")
    network.lm_head.weight = nn.Parameter(
        network.lm_head.weight[outputs.start : outputs.stop], requires_grad=False
    )
    head = pack_rounded(network.lm_head)
    network.lm_head = Int8Head(head, outputs, num_outputs, num_threads)  # type: ignore[assignment]
    network.prefill_pass = prefill_by_row
    use_fastest_forward(
        network, forward_dtype, packed, lambda layer, block: fill(block, f"transformer.h.{layer}.")
    )
    fill(network, "")
    network.decode_step = Int8DecodeStep(network, packed, head, outputs, num_threads)
    _warm_up(network)


def _use_int8_passes(
    network: FineGpt, forward_dtype: torch.dtype, outputs: range, num_threads: int, fill: Fill
) -> None:
    fill(network.transformer.wtes, "transformer.wtes.")
    network.tie_weights()
    weights = [head.get_parameter("weight") for head in network.lm_heads]
    network.lm_heads = nn.ModuleList(
        Int8Head(pack(weight[outputs.start : outputs.stop]), outputs, len(weight), num_threads)
        for weight in weights
    )
    use_fastest_forward(
        network, forward_dtype, fill=lambda layer, block: fill(block, f"transformer.h.{layer}.")
    )
    fill(network, "")


class Int8DecodeStep:
    """The `DecodeStep` that is one compiled function, in which no row reads past its own position.

    `outputs`: those whose logits it makes (see `place_logits`). `num_threads`: the most threads that share a step.
    """

    def __init__(
        self, gpt: CausalGpt, packed: PackedLayers, head: Int8Linear, outputs: range, num_threads: int
    ) -> None:
        layers = packed.weights()._asdict()
        del layers["biases"]  # A causal network has none.
        matrices = {name: array for name, array in layers.items() if array.ndim == _PACKED_DIMS}
        self.in_nibbles = frozenset(name for name, array in matrices.items() if _fits_nibbles(array))
        """The names of those matrices that are of four bits in all layers."""
        layers |= {name: pack_nibbles(matrices[name]) for name in self.in_nibbles}
        self.weights = Weights(
            bits_of(gpt.transformer.wte.weight),
            bits_of(gpt.transformer.wpe.weight),
            head_gain=floats_of(gpt.transformer.ln_f.weight),
            head=head.weights,
            head_offsets=head.offsets,
            head_scales=head.scales,
            **layers,
        )
        self.outputs = outputs
        is_short = self.in_nibbles == matrices.keys()
        at_once = 2 * STEPS_AT_ONCE if is_short else STEPS_AT_ONCE
        self.steps_at_once = at_once if gpt.config.width < PARALLEL_WIDTH else 1
        self.num_threads = num_threads
        is_shared = isinstance(gpt.transformer.h, CompiledLayers)
        self._shared = matrices.keys() - self.in_nibbles if is_shared else frozenset()

    def new_cache(self, gpt: CausalGpt, num_slots: int, _device: torch.device | str) -> Int8KvCache:
        """Make a cache of bytes."""
        return Int8KvCache(gpt.config, num_slots)

    @property
    def nbytes(self) -> int:
        networks_own = {"token_embeddings", "position_embeddings", *self._shared}
        held: dict[str, npt.NDArray[Any]] = self.weights._asdict()
        return sum(array.nbytes for name, array in held.items() if name not in networks_own)

    def __call__(self, gpt: CausalGpt, rows: Rows, cache: SlotCache, _length: int | None) -> Tensor:
        assert isinstance(cache, Int8KvCache)
        tokens, positions, slots = rows
        logits = decode_step(
            tokens.contiguous().numpy(),
            self.weights,
            cache.packed,
            slots.contiguous().numpy(),
            positions.contiguous().numpy(),
            self.num_threads,
        )
        return torch.from_numpy(place_logits(logits, self.outputs, gpt.config.output_vocab_size))

    def open(
        self, positions: Tensor, cache: SlotCache, slots: Tensor, num_steps: int, *, num_pieces: int
    ) -> Step:
        """Return what a compiled function needs to take such steps itself; it fills in the tokens, one per row."""
        assert isinstance(cache, Int8KvCache)
        rows = np.empty(len(slots), np.int64), self.weights, cache.packed, slots.numpy(), positions.numpy()
        return new_step(*rows, num_steps=num_steps, num_pieces=num_pieces)


def _fits_nibbles(layers: npt.NDArray[np.int8]) -> bool:
    """Whether the packed weights of all layers are of four bits."""
    return not any((layer % NIBBLE).any() for layer in layers)


def prefill_by_row(gpt: CausalGpt, embeddings: Tensor, cache: SlotCache, slots: Tensor, start: int) -> Tensor:
    """Run one row after the other: the `Prefill` for bfloat16, which a batch could round otherwise than a row alone."""

    def by_row() -> Tensor:
        rows = zip(torch.split(embeddings, 1), torch.split(slots, 1), strict=True)
        return torch.cat([prefill(gpt, row, cache, slot, start) for row, slot in rows])

    # A narrow model's pass may be asked for by any thread, and must not depend on how many others torch uses in it.
    is_narrow = gpt.config.width < PARALLEL_WIDTH
    return on_one_thread(by_row) if is_narrow or isinstance(gpt.blocks[0], Int8Block) else by_row()


def _warm_up(gpt: CausalGpt) -> None:
    """Compile the prefill and the decode step now rather than within a step that the engine's watchdog times."""
    cache = Int8KvCache(replace(gpt.config, block_size=2), 1)
    zero = torch.zeros(1, dtype=torch.long)
    gpt.prefill(gpt.embed(zero.expand(1, 2)), cache, zero)  # A single position's arrays have another layout.
    gpt.decode(zero, zero, cache, zero)
