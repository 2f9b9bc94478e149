"""Whole passes of a transformer on a CPU in int8: prefills of `int8.Int8Gpt` and passes of `fine_gpt.FineGpt`.

Weights are int8 with one scale per output, the inputs of a product int8 with one scale per position. Sums of
integers are exact, so that no position's result depends on what is computed beside it. Each thread takes its
share of the positions through all of a layer's products, and its share of the heads through attention; torch's
own threads stay out, as meeting after every operation would cost more than many an operation takes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor, nn

from streamer.models.gpt import Block, LayerNorm

LARGEST = 127
MIN_WIDTH = 256
"""Below, plain bfloat16 is as fast."""
PARALLEL_WIDTH = 512
"""From this width on work is worth sharing between threads; below, meeting again costs more."""
POSITIONS = 256
"""That go through a layer's products together: their sums stay in the processor's cache."""
QUERIES = 512
"""That attend together."""
SCORES = 1 << 18
"""Of so many, heads attend together: short passes are quicker for it."""


def has_fast_int8() -> bool:
    """Whether this CPU has instructions for sums of int8 products (VNNI or AMX)."""
    # Private names, but the public list of capabilities is younger than the oldest torch we take.
    return torch.cpu._is_vnni_supported() or torch.cpu._is_amx_tile_supported()


def on_one_thread(call: Callable[[], Tensor]) -> Tensor:
    """What `call` returns, from a thread in which torch itself uses only that one.

    After an operation torch's other threads look out for the next for some milliseconds, on the very cores
    that ours need.
    """
    is_inference = torch.is_inference_mode_enabled()

    def called() -> Tensor:
        with torch.inference_mode(is_inference):
            return call()

    return _threads(1).submit(called).result()


def fastest_blocks(blocks: Sequence[Block], forward_dtype: torch.dtype) -> list[Block]:
    """`blocks`, in float32, for whole passes: in int8 where this is faster than `wide_dtype`, else as they are."""
    width = len(blocks[0].ln_1.weight)
    if width < MIN_WIDTH or not has_fast_int8():
        return list(blocks)
    num_threads = torch.get_num_threads() if width >= PARALLEL_WIDTH else 1
    return [Int8Block(block, forward_dtype, num_threads) for block in blocks]


class _Int8Linear:
    def __init__(self, linear: nn.Linear) -> None:
        weight = linear.weight.detach().float()
        scale = (weight.abs().amax(dim=1) / LARGEST).clamp(min=1e-12)
        quantized = (weight / scale[:, None]).round().clamp(-LARGEST, LARGEST)
        self._weight = quantized.to(torch.int8).T  # [in, out], a view: the product wants it so
        self.scale = scale.numpy()
        self.num_outputs = len(weight)

    def __call__(self, x: Tensor) -> Tensor:
        """int8 [positions, in] to int32 [positions, out], to be multiplied with `scale`."""
        return torch._int_mm(x, self._weight)


class Int8Block(Block):
    """`Block` in int8, made from one in float32. Hands on queries, keys and values in bfloat16.

    Attends in `wide_dtype`: a few heads at a time where that is bfloat16, else as `Block` does.
    """

    def __init__(self, block: Block, forward_dtype: torch.dtype, num_threads: int) -> None:
        nn.Module.__init__(self)
        self.dropout = 0.0
        self._wide_dtype = forward_dtype
        self._num_heads = block.attn.num_heads
        self._num_threads = num_threads
        self._norms = [_norm(block.ln_1), _norm(block.ln_2)]
        self._fused, self._merge = _Int8Linear(block.attn.c_attn), _Int8Linear(block.attn.c_proj)
        self._up, self._down = _Int8Linear(block.mlp.c_fc), _Int8Linear(block.mlp.c_proj)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """float32 [rows, length, width] to query, key and value, each [rows, heads, length, head_dim]."""
        rows, length, width = x.shape
        fused = torch.empty(rows * length, 3 * width, dtype=torch.bfloat16)
        flat = x.reshape(rows * length, width)
        _in_parts(
            lambda part: self._project(flat[part], fused[part]), len(flat), POSITIONS, self._num_threads
        )
        heads = fused.view(rows, length, 3, self._num_heads, width // self._num_heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        return query, key, value

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """The residual [rows, length, width] and [rows, heads, length, head_dim] to the next residual."""
        rows, length, width = x.shape
        flat = x.reshape(rows * length, width)
        merged = attended.to(torch.bfloat16).transpose(1, 2).reshape(rows * length, width)
        out = torch.empty(rows * length, width)
        _in_parts(
            lambda part: self._finish(flat[part], merged[part], out[part]),
            len(flat), POSITIONS, self._num_threads,
        )  # fmt: skip
        return out.view(rows, length, width)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool) -> Tensor:
        """Query, key and value [rows, heads, length, head_dim] to the same, each head by itself."""
        if self._wide_dtype != torch.bfloat16:
            heads = [part.to(self._wide_dtype) for part in (query, key, value)]
            return super().attend(*heads, is_causal=is_causal)
        rows, num_heads, length, head_dim = query.shape
        out = torch.empty(rows, length, num_heads, head_dim, dtype=torch.bfloat16)
        at_once = max(1, min(num_heads, SCORES // (min(length, QUERIES) * key.shape[2])))
        places = [(row, first) for row in range(rows) for first in range(0, num_heads, at_once)]

        def attend(part: slice) -> None:
            for row, first in places[part]:
                heads = slice(first, first + at_once)
                some = query[row, heads], key[row, heads], value[row, heads]
                _attend(*some, out[row].flatten(1), first * head_dim, is_causal=is_causal)

        _in_parts(attend, len(places), 1, self._num_threads)
        return out.transpose(1, 2)

    def _project(self, x: Tensor, out: Tensor) -> None:
        from streamer.models.cpu.forward_kernels import to_bfloat16

        sums, factors = self._product_of_norms(x, 0, self._fused)
        to_bfloat16(sums.numpy(), factors.numpy(), self._fused.scale, out.view(torch.uint16).numpy())

    def _finish(self, x: Tensor, attended: Tensor, out: Tensor) -> None:
        from streamer.models.cpu.forward_kernels import add_scaled, quantize_bfloat16, quantize_gelu

        quantized, factors = _room(x)
        quantize_bfloat16(attended.view(torch.uint16).numpy(), quantized.numpy(), factors.numpy())
        add_scaled(x.numpy(), self._merge(quantized).numpy(), factors.numpy(), self._merge.scale, out.numpy())
        sums, factors = self._product_of_norms(out, 1, self._up)
        wide, wide_factors = _room(sums)
        quantize_gelu(sums.numpy(), factors.numpy(), self._up.scale, wide.numpy(), wide_factors.numpy())
        sums = self._down(wide)
        add_scaled(out.numpy(), sums.numpy(), wide_factors.numpy(), self._down.scale, out.numpy())

    def _product_of_norms(self, x: Tensor, norm: int, linear: _Int8Linear) -> tuple[Tensor, Tensor]:
        from streamer.models.cpu.forward_kernels import quantize_norms

        quantized, factors = _room(x)
        quantize_norms(x.numpy(), *self._norms[norm], quantized.numpy(), factors.numpy())
        return linear(quantized), factors


def _attend(query: Tensor, key: Tensor, value: Tensor, out: Tensor, column: int, *, is_causal: bool) -> None:
    """Some heads, [heads, length, head_dim] each, to the columns of `out` [length, width] from `column` on.

    Some queries at a time, whose scores stay in the processor's cache.
    """
    from streamer.models.cpu.forward_kernels import divide, soften

    num_heads, length, head_dim = query.shape
    for first in range(0, length, QUERIES):
        end = min(first + QUERIES, length)
        seen = end if is_causal else key.shape[1]
        scores = torch.bmm(query[:, first:end], key[:, :seen].transpose(1, 2))
        totals = torch.empty(num_heads, end - first)
        soften(scores.view(torch.uint16).numpy(), head_dim**-0.5, first, is_causal, totals.numpy())
        summed = torch.bmm(scores, value[:, :seen])
        into = out[first:end].view(torch.uint16).numpy()
        divide(summed.view(torch.uint16).numpy(), totals.numpy(), into, column)


def _room(x: Tensor) -> tuple[Tensor, Tensor]:
    """For `x` [positions, width] as int8, and its factors."""
    return torch.empty(x.shape, dtype=torch.int8), torch.empty(len(x))


def _norm(norm: LayerNorm) -> tuple[object, object]:
    bias = torch.zeros_like(norm.weight) if norm.bias is None else norm.bias
    return norm.weight.detach().float().numpy(), bias.detach().float().numpy()


def _in_parts(work: Callable[[slice], None], length: int, largest: int, num_threads: int) -> None:
    """`work` for parts of 0..length, of at most `largest` each, shared out to the threads."""
    num_parts = -(-length // largest)
    num_parts += -num_parts % num_threads  # as much for every thread
    borders = [length * part // num_parts for part in range(num_parts + 1)]
    parts = [slice(first, end) for first, end in pairwise(borders) if first < end]
    if num_threads == 1 or len(parts) == 1:
        for part in parts:
            work(part)
        return

    def share(parts: Sequence[slice]) -> None:
        with torch.inference_mode():  # a property of the thread
            for part in parts:
                work(part)

    futures = [
        _threads(num_threads).submit(share, parts[number::num_threads]) for number in range(num_threads)
    ]
    for future in futures:
        future.result()


@cache
def _threads(num_threads: int) -> ThreadPoolExecutor:
    """Threads in each of which torch itself uses only that one."""
    usual = torch.get_num_threads()
    barrier = threading.Barrier(num_threads + 1)

    def begin() -> None:
        torch.set_num_threads(1)
        barrier.wait()

    pool = ThreadPoolExecutor(num_threads, "whole-pass", initializer=begin)
    for _ in range(num_threads):
        pool.submit(int)
    barrier.wait()
    torch.set_num_threads(usual)  # for the threads to come, which take the latest number set
    return pool
