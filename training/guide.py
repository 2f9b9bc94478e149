"""Keeps the semantic model's place in the text, in training only: a middle layer must say which symbol comes next.

A small model that has to find out by itself how speech proceeds along the text sometimes skips or repeats a part.
The teacher's alignment has the answer. The head is discarded afterwards; what the layers below learnt for it stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from training.recipe import CONFIG, TEXT_CONTEXT

if TYPE_CHECKING:
    from streamer.models.gpt import CausalGpt

GUIDED_LAYERS = 2
"""The number of layers, of the four, before the head; the later layers then know where to read."""
GUIDE_WEIGHT = 0.5


class Guide(nn.Module):
    """A head that predicts the place in the text, beside the model's logits."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(CONFIG.semantic.transformer.width, TEXT_CONTEXT)

    def forward(self, model: CausalGpt, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and places, [rows, length, ...] each, for embeddings [rows, text_context + length, width]."""
        x = model.run_blocks(model.add_positions(embeddings), end=GUIDED_LAYERS)
        places = self.head(x[:, TEXT_CONTEXT:])
        x = model.run_blocks(x, begin=GUIDED_LAYERS)
        return model.logits(x[:, TEXT_CONTEXT:]), places
