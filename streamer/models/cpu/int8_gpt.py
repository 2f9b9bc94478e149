"""Causal transformers for a CPU: int8 weights in decode steps, where the bytes read are what a step costs.

Weights are symmetric int8 with one scale per output; what they are multiplied with is rounded row by row, to 16 bits
(`decode_step`), so that a row does not depend on its neighbours. Passes over many positions multiply the same
weights, in int8 too (`wide`) where that is faster, else in `wide_dtype`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from streamer.models.cpu.int8_forward import PARALLEL_WIDTH, Int8Block, fastest_blocks, on_one_thread
from streamer.models.gpt import CausalGpt, set_dtype
from streamer.models.kv_cache import KvCache

LARGEST = 127

Packed = tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]


class Int8Gpt(CausalGpt):
    """`CausalGpt` whose `decode` is one compiled function; takes over the weights of another.

    Its cache must be of `cache_dtype`.
    """

    def __init__(self, gpt: CausalGpt, *, forward_dtype: torch.dtype) -> None:
        nn.Module.__init__(self)
        self.config = gpt.config
        self.dropout = 0.0
        self.transformer, self.lm_head, self.blocks = gpt.transformer, gpt.lm_head, gpt.blocks
        blocks = self.blocks
        gains = [torch.stack([block.ln_1.weight, block.ln_2.weight]) for block in blocks]
        self._layers = (
            _floats(torch.stack(gains)),
            *_pack_all([block.attn.c_attn for block in blocks]),
            *_pack_all([block.attn.c_proj for block in blocks]),
            *_pack_all([block.mlp.c_fc for block in blocks]),
            *_pack_all([block.mlp.c_proj for block in blocks]),
        )
        self._head = (_floats(self.transformer.ln_f.weight), *_pack(self.lm_head))
        self.num_threads = torch.get_num_threads() if self.config.width >= PARALLEL_WIDTH else 1
        self.blocks = fastest_blocks(blocks, forward_dtype)
        set_dtype(self, forward_dtype)

    @property
    def cache_dtype(self) -> torch.dtype:
        return torch.bfloat16

    @torch.no_grad()
    def prefill(self, embeddings: Tensor, cache: KvCache, slots: Tensor) -> Tensor:
        """As `CausalGpt.prefill`, row by row: in bfloat16 a batch could round a row otherwise than alone."""
        prefill = super().prefill

        def by_rows() -> Tensor:
            rows = zip(torch.split(embeddings, 1), torch.split(slots, 1), strict=True)
            return torch.cat([prefill(embedding, cache, slot) for embedding, slot in rows])

        return on_one_thread(by_rows) if isinstance(self.blocks[0], Int8Block) else by_rows()

    @torch.no_grad()
    def decode(
        self,
        tokens: Tensor,
        positions: Tensor,
        cache: KvCache,
        slots: Tensor,
        *,
        length: int | None = None,  # noqa: ARG002
    ) -> Tensor:
        """As `CausalGpt.decode`; `length` changes nothing, no row ever reads past its own position."""
        # Here, because who has a GPU need not load a compiler.
        from streamer.models.cpu.decode_step import decode_step

        # Functions, not modules: what those do around a call would take half as long as all layers of a small model.
        x = embedding(tokens, self.transformer.wte.weight).float()  # [rows, width]
        x += embedding(positions, self.transformer.wpe.weight)
        logits = decode_step(
            x.numpy(),
            self._layers,
            self._head,
            cache.bits,
            (slots.contiguous().numpy(), positions.contiguous().numpy()),
            self.config.num_heads,
            self.num_threads,
        )
        return torch.from_numpy(logits[:, : self.config.output_vocab_size])

    def warm_up(self) -> None:
        """Compile both passes now: it may take seconds, which no step of an engine that is watched should."""
        cache = KvCache(replace(self.config, block_size=2), 1, self.cache_dtype)
        zero = torch.zeros(1, dtype=torch.long)
        self.prefill(self.embed(zero.expand(1, 2)), cache, zero)  # one position's arrays have another layout
        self.decode(zero, zero, cache, zero)


def fastest_wide_dtype() -> torch.dtype:
    """bfloat16 where this CPU multiplies it itself, else float32."""
    # Private names, but the public list of capabilities is younger than the oldest torch we take.
    has_bfloat16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if has_bfloat16 else torch.float32


def _pack_all(linears: list[nn.Linear]) -> Packed:
    """One linear layer in every block: `_pack`, each with one more dimension in front, [layers, ...]."""
    weights, scales = zip(*map(_pack, linears), strict=True)
    return np.stack(weights), np.stack(scales)


def _pack(linear: nn.Linear) -> Packed:
    """Weights [groups, inputs / 2, GROUP, 2] and scales [groups, GROUP]; `linear` keeps what they are worth.

    In the order in which a step reads them. Outputs fill up groups, and inputs a multiple of INPUTS, with zeros.
    """
    from streamer.models.cpu.llvm_intrinsics import GROUP, INPUTS

    weight = linear.weight.detach().float()  # [out, in]
    scale = (weight.abs().amax(dim=1) / LARGEST).clamp(min=1e-12)
    quantized = (weight / scale[:, None]).round().clamp(-LARGEST, LARGEST)
    linear.weight = nn.Parameter(quantized * scale[:, None], requires_grad=False)
    num_outputs, num_inputs = weight.shape
    more_outputs, more_inputs = -num_outputs % GROUP, -num_inputs % INPUTS
    packed = nn.functional.pad(quantized.to(torch.int8), (0, more_inputs, 0, more_outputs))
    packed = packed.view(-1, GROUP, packed.shape[1] // 2, 2).transpose(1, 2).contiguous()
    return packed.numpy(), _floats(nn.functional.pad(scale, (0, more_outputs)).view(-1, GROUP))


def _floats(tensor: Tensor) -> npt.NDArray[np.float32]:
    return tensor.detach().float().contiguous().numpy()
