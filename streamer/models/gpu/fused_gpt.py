"""Causal transformers for a GPU: a decode step of a few large launches a layer instead of twenty small ones."""

from __future__ import annotations

import importlib.util
import logging

import torch
from torch import Tensor, nn
from torch.nn import functional

from streamer.models.gpt import CausalGpt
from streamer.models.kv_cache import KvCache

logger = logging.getLogger(__name__)

CHECKED_ROWS, CHECKED_LENGTH = 3, 150
TOLERANCE = 0.05
"""Root mean square of the logits' differences, relative to their spread, that rounding may make in bfloat16."""


class FusedGpt(CausalGpt):
    """`CausalGpt` whose `decode` runs in Triton's kernels and the library's products; takes over another's weights."""

    def __init__(self, gpt: CausalGpt) -> None:
        nn.Module.__init__(self)
        self.config = gpt.config
        self.dropout = 0.0
        self.transformer, self.lm_head, self.blocks = gpt.transformer, gpt.lm_head, gpt.blocks

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
        # Here, because the library is there only where torch was built for a GPU.
        from streamer.models.gpu.triton_kernels import add_and_norm, attend

        dtype = self.lm_head.weight.dtype
        x = (self.embed(tokens) + self.transformer.wpe(positions)).float()  # [rows, width]
        added: Tensor | None = None
        for layer, block in enumerate(self.blocks):
            fused = block.attn.c_attn(add_and_norm(x, added, block.ln_1.weight, dtype))
            added = block.attn.c_proj(attend(fused, cache, layer, slots, positions))
            wide = block.mlp.c_fc(add_and_norm(x, added, block.ln_2.weight, dtype))
            added = block.mlp.c_proj(functional.gelu(wide))
        logits: Tensor = self.lm_head(add_and_norm(x, added, self.transformer.ln_f.weight, dtype))
        return logits.float()


def fused_where_it_agrees(gpt: CausalGpt) -> CausalGpt:
    """`gpt` with fused steps if its device runs them and they make what `gpt` itself makes; else `gpt`."""
    if importlib.util.find_spec("triton") is None:
        return gpt
    fused = FusedGpt(gpt)
    try:
        difference = _difference(gpt, fused)
    except Exception as error:  # a compiler may fail in any way, and the plain step is there
        logger.warning(
            "fused decode steps do not run here; plain ones are used", extra={"reason": repr(error)}
        )
        return gpt
    if not difference <= TOLERANCE:
        logger.warning("fused decode steps differ; plain ones are used", extra={"difference": difference})
        return gpt
    return fused


@torch.inference_mode()
def _difference(gpt: CausalGpt, fused: FusedGpt) -> float:
    """How much the logits of two decode steps after a prefill differ, relative to their spread."""
    device = gpt.lm_head.weight.device
    length = min(CHECKED_LENGTH, gpt.config.block_size - 2)
    vocabulary = min(gpt.config.input_vocab_size, gpt.config.output_vocab_size)
    tokens = torch.arange(CHECKED_ROWS * (length + 2), device=device).view(CHECKED_ROWS, -1) * 7 % vocabulary
    slots = torch.arange(CHECKED_ROWS, device=device).flip(0)
    largest = 0.0
    caches = [KvCache(gpt.config, CHECKED_ROWS, network.cache_dtype, device) for network in (gpt, fused)]
    for cache in caches:
        gpt.prefill(gpt.embed(tokens[:, :length]), cache, slots)
    for step in range(2):
        # Rows at different places: the prefill's last positions are written anew by some.
        positions = length + step - torch.arange(CHECKED_ROWS, device=device) * (length // CHECKED_ROWS)
        plain, other = (
            network.decode(tokens[:, length + step], positions, cache, slots, length=length + 2)
            for network, cache in zip((gpt, fused), caches, strict=True)
        )
        largest = max(largest, float((plain - other).square().mean().sqrt() / plain.std()))
    return largest
