"""Bark's fine transformer: not causal, it fills in one codebook of a window of frames per pass.

Parameter names are those of suno-ai/bark `model_fine.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from streamer.models.config import TransformerConfig
from streamer.models.gpt import Block, Layer, LayerNorm, blocks_of, embedding, initialize, run_layer


class FineTransformer(nn.Module):
    """An embedding per codebook, layers and the last norm: the part that a checkpoint keeps under `transformer.`."""

    def __init__(self, config: TransformerConfig, num_codebooks: int, *, dropout: float) -> None:
        super().__init__()
        self.wtes = nn.ModuleList(
            embedding(config.input_vocab_size, config.width) for _ in range(num_codebooks)
        )
        self.wpe = embedding(config.block_size, config.width)
        self.h = nn.ModuleList(
            Block(config, norm_bias=True, dropout=dropout) for _ in range(config.num_layers)
        )
        self.ln_f = LayerNorm(config.width, bias=True)


FinePass = Callable[["FineGpt", Tensor, int, int | None], Tensor]
"""A way to run all layers over [rows, frames, width], the last for the frames from a first to an end alone."""


class FineGpt(nn.Module):
    """A transformer that predicts codebook n of every frame from codebooks 0..n. `dropout` is for training only.

    Head i shares its weights with embedding i + 1, as in Bark.
    """

    def __init__(
        self,
        config: TransformerConfig,
        num_codebooks: int = 8,
        num_codebooks_given: int = 1,
        *,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.config = config
        self.num_codebooks = num_codebooks
        self.num_codebooks_given = num_codebooks_given
        self.dropout = dropout
        self.transformer = FineTransformer(config, num_codebooks, dropout=dropout)
        self.lm_heads = nn.ModuleList(
            nn.Linear(config.width, config.output_vocab_size, bias=False)
            for _ in range(num_codebooks_given, num_codebooks)
        )
        self.blocks: Sequence[Layer] = blocks_of(self.transformer.h)
        self.fine_pass: FinePass = FineGpt.run_blocks
        self.tie_weights()
        initialize(self, config.num_layers)

    def tie_weights(self) -> None:
        """Share each head's weights with its embedding; call it again after parameters have been replaced."""
        for head, shared in zip(self.lm_heads, list(self.transformer.wtes)[1:], strict=False):
            head.weight = shared.weight

    def forward(
        self, codebook: int, codes: Tensor, *, first_column: int = 0, end_column: int | None = None
    ) -> Tensor:
        """Map codes [rows, num_codebooks, frames] to float32 logits of `codebook`, [rows, frames, vocab].

        There are no logits but those of frames `first_column` to `end_column`. The codebooks 0..`codebook` are
        read, the predicted one included (its unknown codes are the pad token), and no later one. `codebook` is at
        least `num_codebooks_given`; there are at most `block_size` frames.
        """
        x = self.transformer.wpe.weight[: codes.shape[2]].float()
        for number in range(codebook + 1):
            x = x + self.transformer.wtes[number](codes[:, number])
        x = nn.functional.dropout(x, self.dropout, self.training)
        x = self.fine_pass(self, x, first_column, end_column)
        logits: Tensor = self.lm_heads[codebook - self.num_codebooks_given](self.transformer.ln_f(x))
        return logits.float()

    def run_blocks(self, x: Tensor, first_column: int, end_column: int | None) -> Tensor:
        """Run all layers over [rows, frames, width], the last for some columns; training compiles this method."""
        for block in self.blocks[:-1]:
            x = run_layer(block, x, is_causal=False)
        return run_layer(self.blocks[-1], x, is_causal=False, first=first_column, end=end_column)
