"""Keeps the semantic model's place in the text, in training only: a middle layer must say which symbol comes next.

A small model that has to find out by itself how speech goes along the text now and then skips or repeats some of it.
The teacher's alignment knows the way; what this head learns is thrown away, what it asks of the layers below stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from training.recipe import CONFIG, TEXT_CONTEXT

if TYPE_CHECKING:
    from streamer.models.gpt import CausalGpt

GUIDED_LAYERS = 2
"""After so many of the four; the others then know where to read."""
GUIDE_WEIGHT = 0.5


class Guide(nn.Module):
    """Beside the logits those of the place in the text."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(CONFIG.semantic.transformer.width, TEXT_CONTEXT)

    def forward(self, model: CausalGpt, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings [rows, text_context + length, width] to logits and places, [rows, length, ...] each."""
        x = model.run_blocks(model.add_positions(embeddings), end=GUIDED_LAYERS)
        places = self.head(x[:, TEXT_CONTEXT:])
        x = model.run_blocks(x, begin=GUIDED_LAYERS)
        return model.logits(x[:, TEXT_CONTEXT:]), places
