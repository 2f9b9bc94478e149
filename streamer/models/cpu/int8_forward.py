"""Forward passes in int8 on a CPU: the prefills of a `CausalGpt` and the passes of a `FineGpt`.

Compiled layers (`compiled_layers`) compute them, but for CPUs with AMX, which only torch's products use; the layers for
these are here. The weights are int8 with one scale per output, the inputs of a product int8 with one scale per
position. Sums of integers are exact, so a position's result does not depend on what is computed beside it. Each thread
takes its share of the positions through all products of a layer, and its share of the heads through attention.
Torch's own threads stay out, because joining them after every operation would take longer than many of the operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from streamer.models.cpu.compiled_layers import CompiledLayers, PackedLayers
from streamer.models.cpu.forward_kernels import (
    add_scaled,
    quantize_bfloat16,
    quantize_gelu,
    quantize_norms,
    to_bfloat16,
)
from streamer.models.cpu.head_attention import QUERIES_AT_ONCE, attend_in_bfloat16
from streamer.models.cpu.integer_products import IS_X86
from streamer.models.cpu.quantization import quantize
from streamer.models.cpu.scratch import scratch
from streamer.models.cpu.threads import PARALLEL_WIDTH, on_one_thread, threads_for_passes
from streamer.models.fine_gpt import FineGpt
from streamer.models.gpt import Block, CausalGpt, Layer, LayerNorm, set_dtype
from streamer.models.kv_cache import SlotCache

MIN_WIDTH = 256
"""The width from which int8 is faster than plain bfloat16."""
POSITIONS_AT_ONCE = 512
"""The most positions that go through a layer's products together: each product arranges the weights anew."""
SCORES_AT_ONCE = 1 << 18
"""The most attention scores of one product: heads of short passes attend together up to this number."""


def has_fast_int8() -> bool:
    """Return whether products of integers are faster than those of floats here, as they are on x86."""
    # This name is private, but the public list of capabilities is younger than the oldest torch we support.
    return IS_X86 or torch.cpu._is_amx_tile_supported()


def fastest_forward_dtype() -> torch.dtype:
    """Return bfloat16 if this CPU multiplies it natively, else float32."""
    has_bfloat16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if has_bfloat16 else torch.float32


def use_fastest_forward(
    network: CausalGpt | FineGpt,
    forward_dtype: torch.dtype,
    packed: PackedLayers | None = None,
    fill: Callable[[int, Block], None] = lambda _layer, _block: None,
) -> None:
    """Convert `network`, in float32, to forward passes in int8 if that is faster here, else in `forward_dtype`.

    Int8 layers replace the float ones, whose memory is freed. Such a network cannot be saved. `fill` is called with
    each layer's number and the layer just before it is converted, which is then packed to `packed`, if there is one.
    """
    width, layers = network.config.width, network.transformer.h
    is_int8 = width >= MIN_WIDTH and has_fast_int8()
    is_compiled = is_int8 and not torch.cpu._is_amx_tile_supported()
    num_threads = torch.get_num_threads() if width >= PARALLEL_WIDTH else 1
    if packed is None and is_compiled:
        packed = PackedLayers(len(layers))
    network.blocks = []  # so that nothing keeps a layer that was replaced
    for number in range(len(layers)):
        block = layers[number]
        assert isinstance(block, Block)
        fill(number, block)
        if packed is not None:
            packed.add(number, block)
        if is_compiled:
            layers[number] = nn.Identity()
        elif is_int8:
            layers[number] = Int8Block(block, num_threads)
        else:
            set_dtype(block, forward_dtype)
    if is_compiled:
        assert packed is not None
        compiled = CompiledLayers(packed, network.config.num_heads, num_threads)
        network.transformer.h = compiled  # type: ignore[assignment]
        if isinstance(network, CausalGpt):
            network.prefill_pass, network.prefills_in_parts = partial(_prefill, compiled), True
        else:
            network.fine_pass = partial(_fine_pass, compiled)
    else:
        network.blocks = cast("Sequence[Layer]", list(layers))
    if is_int8:
        network.register_state_dict_pre_hook(_refuse_to_save)  # type: ignore[no-untyped-call]
    set_dtype(network, forward_dtype)


def _prefill(
    layers: CompiledLayers, gpt: CausalGpt, embeddings: Tensor, cache: SlotCache, slots: Tensor, start: int
) -> Tensor:
    """Run one row after the other through compiled layers: a `Prefill`."""

    def run() -> Tensor:
        x = gpt.add_positions(embeddings, start)
        return gpt.logits(layers.prefill(x, cache, slots, start))

    return on_one_thread(run)


def _fine_pass(layers: CompiledLayers, _: FineGpt, x: Tensor, first: int, end: int | None) -> Tensor:
    """Run one row after the other through compiled layers: a `FinePass`."""
    return layers.run(x, is_causal=False, first=first, end=end)


def _refuse_to_save(*_: object) -> None:
    raise RuntimeError("a network whose layers are int8 cannot be saved: load it as float32 and save that")


class _Int8Linear(nn.Module):
    """A linear layer without a bias. Its result is to be multiplied with `scale`, float32 [outputs].

    It lies in the thread's scratch, where the next product overwrites it.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scale = quantize(linear.weight)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.scale = scale.numpy()

    def forward(self, x: Tensor) -> Tensor:
        """Map int8 [positions, inputs] to int32 [positions, outputs]."""
        return torch._int_mm(x, self.weight.T, out=scratch("sums", torch.int32, len(x), len(self.weight)))


class Int8Block(nn.Module):
    """A `Layer` in int8, made from a `Block` in float32. Its queries, keys and values are bfloat16."""

    def __init__(self, block: Block, num_threads: int) -> None:
        super().__init__()
        self._num_heads = block.attn.num_heads
        self._num_threads = num_threads
        self._norms = [_norm(block.ln_1), _norm(block.ln_2)]
        self._fused, self._merge = _Int8Linear(block.attn.c_attn), _Int8Linear(block.attn.c_proj)
        self._widen, self._narrow = _Int8Linear(block.mlp.c_fc), _Int8Linear(block.mlp.c_proj)

    def project(self, x: Tensor, *, first: int = 0, end: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """As `Layer.project`, from float32 to bfloat16."""
        rows, length, width = x.shape
        fused = torch.empty(rows * length, 3 * width, dtype=torch.bfloat16)
        flat = x.reshape(rows * length, width)
        _share(
            lambda part: self._project(flat[part], fused[part]),
            len(flat), POSITIONS_AT_ONCE, self._num_threads,
        )  # fmt: skip
        heads = fused.view(rows, length, 3, self._num_heads, width // self._num_heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        return query[:, :, first:end], key, value

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """As `Layer.finish`, in float32."""
        rows, length, width = x.shape
        flat = x.reshape(rows * length, width)
        merged = attended.to(torch.bfloat16).transpose(1, 2).reshape(rows * length, width)
        out = torch.empty(rows * length, width)
        _share(
            lambda part: self._finish(flat[part], merged[part], out[part]),
            len(flat), POSITIONS_AT_ONCE, self._num_threads,
        )  # fmt: skip
        return out.view(rows, length, width)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool) -> Tensor:
        """As `Layer.attend`, each head by itself."""
        rows, num_heads, length, head_dim = query.shape
        out = torch.empty(rows, length, num_heads, head_dim, dtype=torch.bfloat16)
        scores_per_head = min(length, QUERIES_AT_ONCE) * key.shape[2]
        at_once = max(1, min(num_heads, SCORES_AT_ONCE // scores_per_head))
        places = [(row, first) for row in range(rows) for first in range(0, num_heads, at_once)]

        def attend_some(part: slice) -> None:
            for row, first in places[part]:
                heads = slice(first, first + at_once)
                some = query[row, heads], key[row, heads], value[row, heads]
                attend_in_bfloat16(*some, out[row].flatten(1), first * head_dim, is_causal=is_causal)

        _share(attend_some, len(places), 1, self._num_threads)
        return out.transpose(1, 2)

    def _project(self, x: Tensor, out: Tensor) -> None:
        sums, factors = self._product_of_norms(x, 0, self._fused)
        to_bfloat16(sums.numpy(), factors.numpy(), self._fused.scale, out.view(torch.uint16).numpy())

    def _finish(self, x: Tensor, attended: Tensor, out: Tensor) -> None:
        quantized, factors = _quantized_like(x)
        quantize_bfloat16(attended.view(torch.uint16).numpy(), quantized.numpy(), factors.numpy())
        add_scaled(x.numpy(), self._merge(quantized).numpy(), factors.numpy(), self._merge.scale, out.numpy())
        sums, factors = self._product_of_norms(out, 1, self._widen)
        widened, widened_factors = _quantized_like(sums)
        quantize_gelu(
            sums.numpy(), factors.numpy(), self._widen.scale, widened.numpy(), widened_factors.numpy()
        )
        sums = self._narrow(widened)
        add_scaled(out.numpy(), sums.numpy(), widened_factors.numpy(), self._narrow.scale, out.numpy())

    def _product_of_norms(self, x: Tensor, norm: int, linear: _Int8Linear) -> tuple[Tensor, Tensor]:
        quantized, factors = _quantized_like(x)
        quantize_norms(x.numpy(), *self._norms[norm], quantized.numpy(), factors.numpy())
        return linear(quantized), factors


def _quantized_like(x: Tensor) -> tuple[Tensor, Tensor]:
    """Allocate `x` [positions, width] as int8, and its factors [positions]."""
    return torch.empty(x.shape, dtype=torch.int8), torch.empty(len(x))


def _norm(norm: LayerNorm) -> tuple[object, object]:
    """Return a norm's gain and bias, float32 [width] each; a missing bias is zero."""
    bias = torch.zeros_like(norm.weight) if norm.bias is None else norm.bias
    return norm.weight.detach().float().numpy(), bias.detach().float().numpy()


def _share(work: Callable[[slice], None], length: int, largest: int, num_threads: int) -> None:
    """Call `work` for all parts of 0..length, each of at most `largest`, on `num_threads` threads."""
    num_parts = -(-length // largest)
    num_parts += -num_parts % num_threads  # Every thread has as many.
    borders = [length * part // num_parts for part in range(num_parts + 1)]
    parts = [slice(first, end) for first, end in pairwise(borders) if first < end]

    def work_through(parts: Sequence[slice]) -> None:
        with torch.inference_mode():  # This is a property of the thread.
            for part in parts:
                work(part)

    if num_threads == 1 or len(parts) == 1:
        return work_through(parts)
    pool = threads_for_passes(num_threads)
    futures = [pool.submit(work_through, parts[number::num_threads]) for number in range(num_threads)]
    for future in futures:
        future.result()
