"""EnCodec's decoder (24 kHz, causal): codes to samples, whole or chunk by chunk with one state per slot.

The architecture is facebookresearch/encodec's SEANet decoder with its residual vector quantizer; weight
normalization is folded into plain weights when a checkpoint is read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from streamer.models.pulse_source import PulseSource, PulseSourceState, SourceMix, with_past
from streamer.models.streaming import (
    ConvState,
    LayerState,
    LstmState,
    ResidualState,
    StreamingConv,
    StreamingLayer,
    StreamingLstm,
    StreamingResidualBlock,
    StreamingTransposedConv,
    TransposedConvState,
)
from streamer.models.vocabulary import CodecConfig


@dataclass(slots=True)
class CodecState:
    """The states of the decoder's layers in their order, and of its source, each holding all slots."""

    layers: list[LayerState]
    source: PulseSourceState | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all slots."""
        return sum(tensor.nbytes for layer in [*self.layers, self.source] for tensor in _tensors(layer))

    def reset(self, slots: Tensor) -> None:
        """Zero the given slots [rows]; needed only after values that are not numbers, `first` starts anew."""
        for layer in self.layers:
            match layer:
                case ConvState(tail) | ResidualState(ConvState(tail)):
                    tail[slots] = 0
                case TransposedConvState(overlap):
                    overlap[slots] = 0
                case LstmState(hidden, cell):
                    hidden[:, slots] = 0
                    cell[:, slots] = 0
        # The source's state is written anew by a first chunk, whatever it held.


def _tensors(layer: LayerState | PulseSourceState | None) -> tuple[Tensor, ...]:
    match layer:
        case None:
            return ()
        case PulseSourceState(control, phase, place, tail):
            return (control, phase, place, tail)
        case ConvState(tail) | ResidualState(ConvState(tail)):
            return (tail,)
        case TransposedConvState(overlap):
            return (overlap,)
        case LstmState(hidden, cell):
            return (hidden, cell)


class CodecDecoder(nn.Module):
    """Codes [rows, codebooks, frames] to samples [rows, frames * hop], float32 and about within [-1, 1]."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.codebooks = nn.Parameter(
            torch.randn(config.num_codebooks, config.codebook_size, config.dimension)
        )
        self.layers = nn.ModuleList(_layers(config))
        self.source = PulseSource(config) if config.num_source_layers else None
        self.mixes = nn.ModuleDict(_mixes(config, self.layers))

    @property
    def min_first_frames(self) -> int:
        """Frames the first chunk of a longer sentence must have: what the first convolution reflects."""
        return self.config.kernel_size

    def initial_state(self, num_slots: int) -> CodecState:
        return CodecState(
            [layer.initial_state(num_slots) for layer in self.layers if isinstance(layer, StreamingLayer)],
            self.source.initial_state(num_slots) if self.source else None,
        )

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Decode whole sentences; fewer codebooks than the model's are allowed (the first ones)."""
        samples: Tensor = self(self.dequantize(codes))
        return samples

    @torch.no_grad()
    def decode_chunk(self, codes: Tensor, state: CodecState, slots: Tensor, *, first: bool) -> Tensor:
        """Decode the next frames of the sentences in `slots` [rows], which differ; all chunks equal `decode`.

        All rows have the same number of frames (at least 1) and are all at their sentence's start (`first`)
        or all past it. A first chunk has `min_first_frames` or is the whole sentence.
        """
        x = self.dequantize(codes)
        source = None
        if self.source and state.source:
            source = self.source.step(x, state.source, slots, first=first)
        states = iter(state.layers)
        for number, layer in enumerate(self.layers):
            if isinstance(layer, StreamingLayer):
                # The states were made by these layers in this order, so each finds its own kind.
                x = layer.step(x, next(states), slots, first=first)  # type: ignore[arg-type]
            else:
                x = layer(x)
            x = self._mixed(number, x, source)
        return x[:, 0]

    def dequantize(self, codes: Tensor) -> Tensor:
        """Codes [rows, codebooks, frames] to the sum of their vectors [rows, dimension, frames]."""
        num_codebooks = codes.shape[1]
        offsets = torch.arange(num_codebooks, device=codes.device) * self.config.codebook_size
        vectors = functional.embedding(codes + offsets[:, None], self.codebooks.flatten(0, 1))
        return vectors.sum(dim=1).transpose(1, 2)

    def forward(self, vectors: Tensor, source: Tensor | None = None) -> Tensor:
        """Vectors [rows, dimension, frames] to samples [rows, frames * hop].

        `source` [rows, 2, frames * hop] stands in for what the codec's own source makes of the vectors.
        """
        if source is None and self.source:
            source = self.source(vectors)
        source = None if source is None else with_past(source)
        x = vectors
        for number, layer in enumerate(self.layers):
            x = self._mixed(number, layer(x), source)
        return x[:, 0]

    def _mixed(self, number: int, x: Tensor, source: Tensor | None) -> Tensor:
        """What leaves layer `number`, with the source mixed in where this codec does that."""
        if source is None or str(number) not in self.mixes:
            return x
        mixed: Tensor = self.mixes[str(number)](x, source)
        return mixed


def _layers(config: CodecConfig) -> list[nn.Module]:
    """SEANet's decoder, numbered as EnCodec numbers it (its ELUs count)."""
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


def _mixes(config: CodecConfig, layers: Iterable[nn.Module]) -> dict[str, SourceMix]:
    """For each of the last upsamplings, by its layer's number, how the source is mixed into what it makes."""
    found: dict[str, SourceMix] = {}
    samples = config.hop_samples  # of the source, for one of the layer's
    deaf = len(config.ratios) - config.num_source_layers
    for number, layer in enumerate(layers):
        if isinstance(layer, StreamingTransposedConv):
            samples //= layer.stride
            deaf -= 1
            if deaf < 0:
                found[str(number)] = SourceMix(layer.conv.out_channels, samples)
    return found
