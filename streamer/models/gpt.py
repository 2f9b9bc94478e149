"""Bark's causal transformer (text to semantic, semantic to coarse): a GPT-2 without biases, cached by slot.

Parameter names are those of suno-ai/bark `model.py`, so that its checkpoints need no renaming.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from streamer.models.attention import attend
from streamer.models.config import TransformerConfig
from streamer.models.kv_cache import KvCache


class LayerNorm(nn.LayerNorm):
    """Normalizes in float32, as Bark does under autocast, and hands on `output_dtype`, the linears' type."""

    output_dtype = torch.float32

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).to(self.output_dtype)


class Attention(nn.Module):
    """The weights of self-attention; the product itself is done by whoever holds keys and values."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.c_attn = nn.Linear(config.width, 3 * config.width, bias=False)
        self.c_proj = nn.Linear(config.width, config.width, bias=False)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[rows, length, width] to query, key and value, each [rows, heads, length, head_dim]."""
        rows, length, width = x.shape
        fused = self.c_attn(x).view(rows, length, 3, self.num_heads, width // self.num_heads)
        query, key, value = fused.permute(2, 0, 3, 1, 4).unbind(0)
        return query, key, value

    def merge(self, attended: Tensor) -> Tensor:
        """[rows, heads, length, head_dim] to [rows, length, width]."""
        merged: Tensor = self.c_proj(attended.transpose(1, 2).flatten(2))
        return merged


class Mlp(nn.Module):
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.width, 4 * config.width, bias=False)
        self.c_proj = nn.Linear(4 * config.width, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        widened: Tensor = self.c_proj(functional.gelu(self.c_fc(x)))
        return widened


class Block(nn.Module):
    """One layer, cut where attention happens: `project`, attend, `finish`. The residual stays in float32."""

    def __init__(self, config: TransformerConfig, *, norm_bias: bool, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.ln_1 = LayerNorm(config.width, bias=norm_bias)
        self.attn = Attention(config)
        self.ln_2 = LayerNorm(config.width, bias=norm_bias)
        self.mlp = Mlp(config)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.attn.project(self.ln_1(x))

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self._drop(self.attn.merge(attended))
        return x + self._drop(self.mlp(self.ln_2(x)))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool) -> Tensor:
        """Of a whole pass: `attention.attend`."""
        dropout = self.dropout if self.training else 0.0
        return attend(query, key, value, is_causal=is_causal, dropout=dropout)

    def attend_all(self, x: Tensor, *, is_causal: bool, first: int = 0) -> Tensor:
        """The whole layer over [rows, length, width], without a cache; what it gives from position `first` on."""
        query, key, value = self.project(x)
        return self.finish(x[:, first:], self.attend(query[:, :, first:], key, value, is_causal=is_causal))

    def _drop(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout) if self.training and self.dropout else x


class CausalTransformer(nn.Module):
    """What a checkpoint keeps under `transformer.`: embeddings, layers and the last norm."""

    def __init__(self, config: TransformerConfig, *, dropout: float) -> None:
        super().__init__()
        self.wte = embedding(config.input_vocab_size, config.width)
        self.wpe = embedding(config.block_size, config.width)
        self.h = nn.ModuleList(
            Block(config, norm_bias=False, dropout=dropout) for _ in range(config.num_layers)
        )
        self.ln_f = LayerNorm(config.width, bias=False)


class CausalGpt(nn.Module):
    """A causal transformer over tokens. `dropout` is for training only.

    Logits are float32. Position 0 is the first of each row; nothing is masked but the future.
    """

    def __init__(self, config: TransformerConfig, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.dropout = dropout
        self.transformer = CausalTransformer(config, dropout=dropout)
        self.lm_head = nn.Linear(config.width, config.output_vocab_size, bias=False)
        self.blocks: list[Block] = list(self.transformer.h)  # type: ignore[arg-type]
        initialize(self, config.num_layers)

    @property
    def cache_dtype(self) -> torch.dtype:
        """What keys and values are kept in: the weights' type."""
        return self.lm_head.weight.dtype

    def embed(self, tokens: Tensor) -> Tensor:
        """Token embeddings without positions: [...] to float32 [..., width]."""
        embedded: Tensor = self.transformer.wte(tokens)
        return embedded.float()

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [rows, length] to logits [rows, length, vocab], without a cache."""
        return self.forward_embeddings(self.embed(tokens))

    def forward_embeddings(self, embeddings: Tensor, *, first: int = 0) -> Tensor:
        """Embeddings (without positions) [rows, length, width] to logits [rows, length - first, vocab].

        Those of the positions from `first` on: what nobody reads is not computed.
        """
        return self.logits(self.run_blocks(self.add_positions(embeddings))[:, first:])

    def run_blocks(self, x: Tensor, *, begin: int = 0, end: int | None = None) -> Tensor:
        """Layers `begin` to `end`, or all, over [rows, length, width]; of its own so that a training can compile it."""
        for block in self.blocks[begin:end]:
            x = block.attend_all(x, is_causal=True)
        return x

    @torch.no_grad()
    def prefill(self, embeddings: Tensor, cache: KvCache, slots: Tensor) -> Tensor:
        """Fill positions 0..length-1 of `slots` [rows]; return the last position's logits [rows, vocab].

        `embeddings` (without positions) is [rows, length, width]: rows of one length only.
        """
        x = self.add_positions(embeddings)
        last_layer = len(self.blocks) - 1
        for layer, block in enumerate(self.blocks):
            query, key, value = block.project(x)
            cache.write_prefix(layer, slots, key, value)
            if layer == last_layer:  # nothing reads the other positions any more
                last = functional.scaled_dot_product_attention(query[:, :, -1:], key, value)
                x = block.finish(x[:, -1:], last)
            else:
                x = block.finish(x, block.attend(query, key, value, is_causal=True))
        return self.logits(x[:, 0])

    @torch.no_grad()
    def decode(
        self, tokens: Tensor, positions: Tensor, cache: KvCache, slots: Tensor, *, length: int | None = None
    ) -> Tensor:
        """Feed one token per row at its own position; return the next logits [rows, vocab].

        `tokens`, `positions` and `slots` are [rows]; slots are distinct, in any order. `length` (more than
        every position) fixes how much of the cache is read: see `KvCache.rows`.
        """
        x = (self.embed(tokens) + self.transformer.wpe(positions))[:, None]
        rows = cache.rows(slots, positions, length)
        for layer, block in enumerate(self.blocks):
            query, key, value = block.project(x)
            keys, values = rows.append(layer, key, value)
            attended = functional.scaled_dot_product_attention(
                query.to(keys.dtype), keys, values, attn_mask=rows.mask
            )
            x = block.finish(x, attended.to(query.dtype))
        return self.logits(x[:, 0])

    def add_positions(self, embeddings: Tensor) -> Tensor:
        """What the first layer reads: embeddings [rows, length, width] and their places."""
        x = embeddings + self.transformer.wpe.weight[: embeddings.shape[1]]
        return functional.dropout(x, self.dropout) if self.training and self.dropout else x

    def logits(self, x: Tensor) -> Tensor:
        """What the last layer made, [..., width], to float32 logits [..., vocab]."""
        logits: Tensor = self.lm_head(self.transformer.ln_f(x))
        return logits.float()


def embedding(num_tokens: int, width: int) -> nn.Embedding:
    """An embedding whose numbers are still to come; torch's own start would load its compiler on a meta device."""
    made: nn.Embedding = nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call]
        torch.empty(num_tokens, width), freeze=False
    )
    return made


def initialize(module: nn.Module, num_layers: int) -> None:
    """GPT-2's start for training: std 0.02, and less where `num_layers` layers add to the residual."""
    for name, parameter in module.named_parameters():
        if parameter.dim() < 2 or parameter.is_meta:
            continue
        std = 0.02 / math.sqrt(2 * num_layers) if name.endswith("c_proj.weight") else 0.02
        nn.init.normal_(parameter, std=std)


def set_dtype(module: nn.Module, dtype: torch.dtype) -> None:
    """Turn the linears and embeddings of `module` to `dtype`, in place; norms keep computing in float32."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            part.to(dtype)
        elif isinstance(part, LayerNorm):
            part.output_dtype = dtype
