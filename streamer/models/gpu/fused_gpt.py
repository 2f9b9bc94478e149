"""A causal transformer's decode step on a GPU, in a few large launches per layer instead of twenty small ones."""

from __future__ import annotations

import importlib.util
import logging

import torch
from torch import Tensor
from torch.nn import functional

from streamer.models.gpt import CausalGpt, DecodeStep, PlainDecodeStep, Rows, blocks_of
from streamer.models.kv_cache import KvCache, SlotCache
from streamer.process_environment import provide_triton_cache

logger = logging.getLogger(__name__)

CHECKED_ROWS, CHECKED_LENGTH = 3, 150
"""The rows and the positions of the steps by which a fused step is compared with the plain one."""
TOLERANCE = 0.05
"""The largest root mean square of the logits' differences, relative to their spread, that bfloat16 explains."""


class FusedDecodeStep(PlainDecodeStep):
    """The `DecodeStep` in Triton's kernels and the library's products; no row reads past its own position."""

    def __call__(self, gpt: CausalGpt, rows: Rows, cache: SlotCache, _length: int | None) -> Tensor:
        # Imported here, because triton is installed only with a torch that was built for a GPU.
        from streamer.models.gpu.triton_kernels import add_and_norm, attend

        assert isinstance(cache, KvCache)
        tokens, positions, slots = rows
        dtype = gpt.lm_head.weight.dtype
        x = (gpt.embed(tokens) + gpt.transformer.wpe(positions)).float()  # [rows, width]
        added: Tensor | None = None
        for layer, block in enumerate(blocks_of(gpt.transformer.h)):
            fused = block.attn.c_attn(add_and_norm(x, added, block.ln_1.weight, dtype))
            added = block.attn.c_proj(attend(fused, cache, layer, slots, positions))
            widened = block.mlp.c_fc(add_and_norm(x, added, block.ln_2.weight, dtype))
            added = block.mlp.c_proj(functional.gelu(widened))
        logits: Tensor = gpt.lm_head(add_and_norm(x, added, gpt.transformer.ln_f.weight, dtype))
        return logits.float()


def fuse_if_it_agrees(gpt: CausalGpt) -> None:
    """Give `gpt` the fused step if its device runs it with the plain step's results; else log why not."""
    if importlib.util.find_spec("triton") is None:
        return
    provide_triton_cache()
    fused = FusedDecodeStep()
    try:
        difference = _difference(gpt, fused)
    except Exception as error:  # A compiler may fail in any way, and the plain step is there.
        logger.warning(
            "fused decode steps do not run here; plain ones are used", extra={"reason": repr(error)}
        )
        return
    if difference <= TOLERANCE:
        gpt.decode_step = fused
    else:  # NaN comes here, too.
        logger.warning("fused decode steps differ; plain ones are used", extra={"difference": difference})


@torch.inference_mode()
def _difference(gpt: CausalGpt, fused: DecodeStep) -> float:
    """Return how much the logits of two decode steps after a prefill differ, relative to their spread."""
    device = gpt.lm_head.weight.device
    length = min(CHECKED_LENGTH, gpt.config.block_size - 2)
    vocabulary = min(gpt.config.input_vocab_size, gpt.config.output_vocab_size)
    tokens = torch.arange(CHECKED_ROWS * (length + 2), device=device).view(CHECKED_ROWS, -1) * 7 % vocabulary
    slots = torch.arange(CHECKED_ROWS, device=device).flip(0)
    steps: list[tuple[DecodeStep, SlotCache]] = [
        (step, gpt.new_cache(CHECKED_ROWS, device)) for step in (PlainDecodeStep(), fused)
    ]
    for _, cache in steps:
        gpt.prefill(gpt.embed(tokens[:, :length]), cache, slots)
    differences = []
    for number in range(2):
        # The rows are at different positions: some overwrite the prefill's last ones.
        positions = length + number - torch.arange(CHECKED_ROWS, device=device) * (length // CHECKED_ROWS)
        plain, other = (
            step(gpt, (tokens[:, length + number], positions, slots), cache, length + 2)
            for step, cache in steps
        )
        differences.append((plain - other).square().mean().sqrt() / plain.std())
    return float(torch.stack(differences).max())  # NaN if any is
