"""EnCodec's decoder (24 kHz, causal): codes to samples, whole or chunk by chunk with one state per slot.

The architecture is facebookresearch/encodec's SEANet decoder with its residual vector quantizer; weight
normalization is folded into plain weights when a checkpoint is read.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from streamer.models.config import CodecConfig
from streamer.models.streaming import (
    ConvState,
    LayerState,
    LstmState,
    ResidualState,
    RowState,
    StreamingConv,
    StreamingLayer,
    StreamingLstm,
    StreamingResidualBlock,
    StreamingTransposedConv,
    TransposedConvState,
)


@dataclass(slots=True)
class CodecState:
    """The states of the decoder's layers, in the layers' order, each with all slots."""

    layers: list[LayerState]

    @property
    def nbytes(self) -> int:
        """The bytes of all slots together."""
        return sum(tensor.nbytes for layer in self.layers for tensor in _tensors(layer))

    def reset(self, slots: Tensor) -> None:
        """Zero the given slots [rows]. Only NaN makes this necessary: a first chunk ignores the slot's state."""
        for layer in self.layers:
            match layer:
                case ConvState(tail) | ResidualState(ConvState(tail)):
                    tail[slots] = 0
                case TransposedConvState(overlap):
                    overlap[slots] = 0
                case LstmState(hidden, cell):
                    hidden[:, slots] = 0
                    cell[:, slots] = 0
                case RowState(values):
                    values[slots] = 0


def _tensors(layer: LayerState) -> tuple[Tensor, ...]:
    match layer:
        case ConvState(tail) | ResidualState(ConvState(tail)):
            return (tail,)
        case TransposedConvState(overlap):
            return (overlap,)
        case LstmState(hidden, cell):
            return (hidden, cell)
        case RowState(values):
            return (values,)


class CodecDecoder(nn.Module):
    """A network from codes [rows, codebooks, frames] to samples [rows, frames * hop], float32, about within [-1, 1]."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.codebooks = nn.Parameter(
            torch.empty(config.num_codebooks, config.codebook_size, config.dimension)
        )
        if not self.codebooks.is_meta:  # torch would load its compiler
            nn.init.normal_(self.codebooks)
        self.layers = nn.ModuleList(_layers(config))

    @property
    def min_first_frames(self) -> int:
        """The least frames of a longer sentence's first chunk: the first convolution reflects as many."""
        return self.config.kernel_size

    def initial_state(self, num_slots: int) -> CodecState:
        return CodecState(
            [layer.initial_state(num_slots) for layer in self.layers if isinstance(layer, StreamingLayer)]
        )

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Decode whole sentences; `codes` may have only the first of the model's codebooks."""
        samples: Tensor = self(self.dequantize(codes))
        return samples

    @torch.no_grad()
    def decode_chunk(self, codes: Tensor, state: CodecState, slots: Tensor, *, first: bool) -> Tensor:
        """Decode the next frames of the sentences in `slots` [rows], which are distinct.

        A sentence's chunks are together what `decode` makes of it. All rows have the same number of frames (at
        least 1) and are all at their sentence's start (`first`) or all past it. A first chunk has at least
        `min_first_frames`, or is the whole sentence.
        """
        x = self.dequantize(codes)
        states = iter(state.layers)
        for layer in self.layers:
            if isinstance(layer, StreamingLayer):
                # These layers made the states, in this order, so each layer meets its own type.
                x = layer.step(x, next(states), slots, first=first)
            else:
                x = layer(x)
        return x[:, 0]

    def dequantize(self, codes: Tensor) -> Tensor:
        """Map codes [rows, codebooks, frames] to the sum of their vectors [rows, dimension, frames]."""
        num_codebooks = codes.shape[1]
        offsets = torch.arange(num_codebooks, device=codes.device) * self.config.codebook_size
        vectors = functional.embedding(codes + offsets[:, None], self.codebooks.flatten(0, 1))
        return vectors.sum(dim=1).transpose(1, 2)

    def forward(self, vectors: Tensor) -> Tensor:
        """Map vectors [rows, dimension, frames] to samples [rows, frames * hop]."""
        x = vectors
        for layer in self.layers:
            x = layer(x)
        return x[:, 0]


def _layers(config: CodecConfig) -> list[nn.Module]:
    """Make SEANet's decoder, numbered as in EnCodec (ELUs have numbers, too)."""
    channels = config.num_filters * 2 ** len(config.ratios)
    layers: list[nn.Module] = [StreamingConv(config.dimension, channels, config.kernel_size)]
    if config.num_lstm_layers:
        layers.append(StreamingLstm(channels, config.num_lstm_layers))
    for ratio in config.ratios:
        layers += [nn.ELU(), StreamingTransposedConv(channels, channels // 2, ratio)]
        channels //= 2
        layers += [
            StreamingResidualBlock(
                channels, config.residual_kernel_size, config.dilation_base**index, config.compress
            )
            for index in range(config.num_residual_layers)
        ]
    return [*layers, nn.ELU(), StreamingConv(channels, 1, config.last_kernel_size)]
