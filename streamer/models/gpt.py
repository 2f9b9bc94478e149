"""Bark's causal transformer (text to semantic, semantic to coarse): a GPT-2 without biases, cached by slot.

Parameter names are those of suno-ai/bark `model.py`, so that its checkpoints need no renaming. How a network computes
is composed: `CausalGpt` holds its layers, its prefill and its decode step, and `cpu` and `gpu` bring faster ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from streamer.models.attention import attend
from streamer.models.config import TransformerConfig
from streamer.models.kv_cache import KvCache, SlotCache


class LayerNorm(nn.LayerNorm):
    """Layer norm in float32, as Bark computes it under autocast; the result has the linears' type."""

    output_dtype = torch.float32

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).to(self.output_dtype)


class Attention(nn.Module):
    """The weights of self-attention; the caller, which holds keys and values, computes the attention itself."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.c_attn = nn.Linear(config.width, 3 * config.width, bias=False)
        self.c_proj = nn.Linear(config.width, config.width, bias=False)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map [rows, length, width] to query, key and value, each [rows, heads, length, head_dim]."""
        rows, length, width = x.shape
        fused = self.c_attn(x).view(rows, length, 3, self.num_heads, width // self.num_heads)
        query, key, value = fused.permute(2, 0, 3, 1, 4).unbind(0)
        return query, key, value

    def merge(self, attended: Tensor) -> Tensor:
        """Map [rows, heads, length, head_dim] to [rows, length, width]."""
        merged: Tensor = self.c_proj(attended.transpose(1, 2).flatten(2))
        return merged


class Mlp(nn.Module):
    """Two linear layers with a GELU between them, four times as wide inside."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.width, 4 * config.width, bias=False)
        self.c_proj = nn.Linear(4 * config.width, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        narrowed: Tensor = self.c_proj(functional.gelu(self.c_fc(x)))
        return narrowed


class Layer(Protocol):
    """A transformer's layer, cut where attention happens: a `Block`, or one in int8 (`cpu.int8_forward`)."""

    def project(self, x: Tensor, *, first: int = 0, end: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Map the residual [rows, length, width] to query, key and value, each [rows, heads, length, head_dim].

        There are no queries but those of positions `first` to `end`.
        """

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool) -> Tensor:
        """Attend from every query to every key, or to those up to its own position; shaped as the queries."""

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Return the next residual [rows, length, width], given this one and what attention made of it."""


def run_layer(layer: Layer, x: Tensor, *, is_causal: bool, first: int = 0, end: int | None = None) -> Tensor:
    """Run a whole layer without a cache: [rows, length, width] to the positions from `first` to `end`."""
    query, key, value = layer.project(x, first=first, end=end)
    return layer.finish(x[:, first:end], layer.attend(query, key, value, is_causal=is_causal))


class Block(nn.Module):
    """A `Layer` in torch's own operations. The residual stays in float32; `dropout` is for training only."""

    def __init__(self, config: TransformerConfig, *, norm_bias: bool, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.ln_1 = LayerNorm(config.width, bias=norm_bias)
        self.attn = Attention(config)
        self.ln_2 = LayerNorm(config.width, bias=norm_bias)
        self.mlp = Mlp(config)

    def project(self, x: Tensor, *, first: int = 0, end: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = self.attn.project(self.ln_1(x))
        return query[:, :, first:end], key, value

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self._drop(self.attn.merge(attended))
        return x + self._drop(self.mlp(self.ln_2(x)))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        return attend(query, key, value, is_causal=is_causal, dropout=dropout)

    def _drop(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout) if self.training and self.dropout else x


class CausalTransformer(nn.Module):
    """Embeddings, layers and the last norm: the part that a checkpoint keeps under `transformer.`."""

    def __init__(self, config: TransformerConfig, *, dropout: float) -> None:
        super().__init__()
        self.wte = embedding(config.input_vocab_size, config.width)
        self.wpe = embedding(config.block_size, config.width)
        self.h = nn.ModuleList(
            Block(config, norm_bias=False, dropout=dropout) for _ in range(config.num_layers)
        )
        self.ln_f = LayerNorm(config.width, bias=False)


Prefill = Callable[["CausalGpt", Tensor, SlotCache, Tensor, int], Tensor]
"""A way to compute `CausalGpt.prefill`, given the network and that method's arguments."""
Rows = tuple[Tensor, Tensor, Tensor]
"""The token, the position and the slot of each row of a decode step, int64 [rows] each."""


class DecodeStep(Protocol):
    """A way to compute `CausalGpt.decode`, given the network and that method's arguments."""

    def new_cache(self, gpt: CausalGpt, num_slots: int, device: torch.device | str) -> SlotCache:
        """Make room for keys and values in the form that this step reads."""

    @property
    def nbytes(self) -> int:
        """Bytes of the weights that the step holds beside the network's own."""

    @property
    def steps_at_once(self) -> int:
        """The steps that a lone row may take in a row, as each is so short; several rows take fewer."""

    def __call__(self, gpt: CausalGpt, rows: Rows, cache: SlotCache, length: int | None, /) -> Tensor: ...


class CausalGpt(nn.Module):
    """A causal transformer over tokens. `dropout` is for training only.

    Logits are float32. Position 0 is the first of each row; only the future is masked.
    """

    def __init__(self, config: TransformerConfig, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.dropout = dropout
        self.transformer = CausalTransformer(config, dropout=dropout)
        self.lm_head = nn.Linear(config.width, config.output_vocab_size, bias=False)
        self.blocks: Sequence[Layer] = blocks_of(self.transformer.h)
        self.prefill_pass: Prefill = prefill
        self.prefills_in_parts = False
        """Whether `prefill` can fill a slot's first positions, and later the others."""
        self.decode_step: DecodeStep = PlainDecodeStep()
        initialize(self, config.num_layers)

    def new_cache(self, num_slots: int, device: torch.device | str = "cpu") -> SlotCache:
        """Make room for the keys and values of `num_slots` sentences, in the form that the network reads."""
        return self.decode_step.new_cache(self, num_slots, device)

    def embed(self, tokens: Tensor) -> Tensor:
        """Return token embeddings without positions: [...] to float32 [..., width]."""
        embedded: Tensor = self.transformer.wte(tokens)
        return embedded.float()

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [rows, length] to logits [rows, length, vocab], without a cache."""
        return self.forward_embeddings(self.embed(tokens))

    def forward_embeddings(self, embeddings: Tensor, *, first: int = 0) -> Tensor:
        """Map embeddings (without positions) [rows, length, width] to logits [rows, length - first, vocab].

        The logits of positions before `first` are not computed.
        """
        return self.logits(self.run_blocks(self.add_positions(embeddings))[:, first:])

    def run_blocks(self, x: Tensor, *, begin: int = 0, end: int | None = None) -> Tensor:
        """Run layers `begin` to `end`, or all, over [rows, length, width]; training compiles this method."""
        for block in self.blocks[begin:end]:
            x = run_layer(block, x, is_causal=True)
        return x

    @torch.no_grad()
    def prefill(self, embeddings: Tensor, cache: SlotCache, slots: Tensor, *, start: int = 0) -> Tensor:
        """Fill positions `start`..start+length-1 of `slots` [rows]; return the last position's logits [rows, vocab].

        `embeddings` (without positions) is [rows, length, width]: all rows have the same length. A network that
        `prefills_in_parts` may begin at a multiple of `PARTS_UNIT`, behind what prefills have filled: what it then
        makes is what it would have made of all positions at once, to the last bit.
        """
        return self.prefill_pass(self, embeddings, cache, slots, start)

    @torch.no_grad()
    def decode(
        self, tokens: Tensor, positions: Tensor, cache: SlotCache, slots: Tensor, *, length: int | None = None
    ) -> Tensor:
        """Feed one token per row at its own position; return the next logits [rows, vocab].

        `tokens`, `positions` and `slots` are [rows]; slots are distinct, in any order. `length` (more than
        every position) fixes how much of the cache a plain step reads: see `KvCache.rows`.
        """
        return self.decode_step(self, (tokens, positions, slots), cache, length)

    def add_positions(self, embeddings: Tensor, start: int = 0) -> Tensor:
        """Return the first layer's input: embeddings [rows, length, width] plus those of their positions."""
        x = embeddings + self.transformer.wpe.weight[start : start + embeddings.shape[1]]
        return functional.dropout(x, self.dropout) if self.training and self.dropout else x

    def logits(self, x: Tensor) -> Tensor:
        """Map the last layer's output [..., width] to float32 logits [..., vocab]."""
        logits: Tensor = self.lm_head(self.transformer.ln_f(x))
        return logits.float()


def prefill(gpt: CausalGpt, embeddings: Tensor, cache: SlotCache, slots: Tensor, start: int = 0) -> Tensor:
    """Run all rows through each layer together: the plain `Prefill`, which begins at position 0."""
    assert start == 0
    x = gpt.add_positions(embeddings)
    last_layer = len(gpt.blocks) - 1
    for layer, block in enumerate(gpt.blocks):
        # Nothing reads what the last layer makes of the positions before the last.
        first = x.shape[1] - 1 if layer == last_layer else 0
        query, key, value = block.project(x, first=first)
        cache.write_prefix(layer, slots, key, value)
        if layer == last_layer:
            attended = functional.scaled_dot_product_attention(query, key, value)
        else:
            attended = block.attend(query, key, value, is_causal=True)
        x = block.finish(x[:, first:], attended)
    return gpt.logits(x[:, 0])


class PlainDecodeStep:
    """The `DecodeStep` in torch's own operations, on any device."""

    nbytes = 0
    steps_at_once = 1

    def new_cache(self, gpt: CausalGpt, num_slots: int, device: torch.device | str) -> KvCache:
        """Make a cache of the weights' type."""
        return KvCache(gpt.config, num_slots, gpt.lm_head.weight.dtype, device)

    def __call__(self, gpt: CausalGpt, rows: Rows, cache: SlotCache, length: int | None) -> Tensor:
        assert isinstance(cache, KvCache)
        tokens, positions, slots = rows
        x = (gpt.embed(tokens) + gpt.transformer.wpe(positions))[:, None]
        past = cache.rows(slots, positions, length)
        for layer, block in enumerate(gpt.blocks):
            query, key, value = block.project(x)
            keys, values = past.append(layer, key, value)
            attended = functional.scaled_dot_product_attention(
                query.to(keys.dtype), keys, values, attn_mask=past.mask
            )
            x = block.finish(x, attended.to(query.dtype))
        return gpt.logits(x[:, 0])


def blocks_of(layers: nn.ModuleList) -> list[Block]:
    """Return the blocks of a transformer's `h`."""
    return [layer for layer in layers if isinstance(layer, Block)]


def embedding(num_tokens: int, width: int) -> nn.Embedding:
    """Make an embedding without initial values; torch's initialization would load its compiler on a meta device."""
    made: nn.Embedding = nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call]
        torch.empty(num_tokens, width), freeze=False
    )
    return made


def initialize(module: nn.Module, num_layers: int) -> None:
    """Initialize for training like GPT-2: std 0.02, and less for weights whose output adds to the residual."""
    for name, parameter in module.named_parameters():
        if parameter.dim() < 2 or parameter.is_meta:
            continue
        std = 0.02 / math.sqrt(2 * num_layers) if name.endswith("c_proj.weight") else 0.02
        nn.init.normal_(parameter, std=std)


def set_dtype(module: nn.Module, dtype: torch.dtype) -> None:
    """Convert the linears and embeddings of `module` to `dtype`, in place; norms still compute in float32."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            part.to(dtype)
        elif isinstance(part, LayerNorm):
            part.output_dtype = dtype
