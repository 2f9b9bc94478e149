"""The codec's decoder on a CPU as one compiled function (`codec_kernels`), put in the place of torch's modules.

Torch's own take four times as long, and oneDNN compiles its convolutions for each length. Each of their calls would
also take Python's lock again, for which the engine's other threads wait.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from streamer.models.codec import CodecDecoder
from streamer.models.config import CodecConfig
from streamer.models.cpu.codec_kernels import (
    NUM_BUFFERS,
    TILE_FRAMES,
    DecoderRoom,
    DecoderWeights,
    decode,
    new_decoder_counters,
)
from streamer.models.cpu.convolution_kernels import CONVOLUTION, LANES, MOST_ROWS, PAIR, ROW_GROUP
from streamer.models.cpu.joining import run_joined
from streamer.models.cpu.scratch import scratch
from streamer.models.streaming import (
    RowState,
    StreamingConv,
    StreamingLayer,
    StreamingLstm,
    StreamingResidualBlock,
    StreamingTransposedConv,
)


def compile_codec(codec: CodecDecoder) -> None:
    """Replace the layers of `codec`, float32 on the CPU, by a single compiled one: this may take seconds.

    Such a codec cannot be saved.
    """
    codec.eval().requires_grad_(False)
    codec.layers = nn.ModuleList([CompiledDecoder(codec.config, codec.layers)])
    codec.decode(torch.zeros(1, codec.config.num_codebooks, 1, dtype=torch.long))


class CompiledDecoder(StreamingLayer[RowState]):
    """All layers of a decoder."""

    def __init__(self, config: CodecConfig, layers: nn.ModuleList) -> None:
        super().__init__()
        self._hop_samples = config.hop_samples
        packed = _Packed(layers)
        # As parameters they count among the network's memory.
        self.weights = nn.Parameter(torch.cat(packed.weights), requires_grad=False)
        self.recurrent = nn.Parameter(packed.recurrent, requires_grad=False)
        self._state_size = packed.state_size + 2 * self.recurrent.shape[0] * self.recurrent.shape[2]
        convolutions = np.array(packed.convolutions, CONVOLUTION)
        # A sentence's first tile is long enough to be reflected.
        tile_frames = max(TILE_FRAMES, int(convolutions["padding"].max()) + 1)
        self._tile_size = _tile_size(convolutions, tile_frames)
        self._num_channels = config.num_filters * 2 ** len(config.ratios)
        self._num_gates = int(convolutions["width"][1]) if len(self.recurrent) else 0
        self._decoder = DecoderWeights(
            self.weights.numpy(),
            self.recurrent.numpy(),
            convolutions,
            len(config.ratios),
            config.num_residual_layers,
            tile_frames,
        )

    def initial_state(self, num_slots: int) -> RowState:
        return RowState(self.weights.new_zeros(num_slots, self._state_size))

    def forward(self, x: Tensor) -> Tensor:
        """Map [rows, dimension, frames] to samples [rows, 1, frames * hop]."""
        return self.step(x, self.initial_state(len(x)), torch.arange(len(x)), first=True)

    def step(self, x: Tensor, state: RowState, slots: Tensor, *, first: bool) -> Tensor:
        num_rows, _, num_frames = x.shape
        vectors = x.detach().transpose(1, 2).contiguous().numpy()
        samples = torch.empty(num_rows, num_frames * self._hop_samples)
        room = self._room(num_rows, num_frames)
        arrays = vectors, state.values.numpy(), slots.numpy()
        work = partial(decode, tuple(self._decoder), tuple(room), *arrays, first, samples.numpy())
        run_joined(work, room.counters)
        return samples[:, None]

    def _room(self, num_rows: int, num_frames: int) -> DecoderRoom:
        """Return memory of this thread's for so many rows and frames."""
        num_vectors = num_rows * num_frames + MOST_ROWS * LANES
        num_inputs, num_gates = num_vectors * self._num_channels, self._num_gates
        num_buffered = NUM_BUFFERS * self._tile_size
        sizes = num_inputs, num_inputs, num_vectors * num_gates, num_rows * num_gates, num_buffered
        room = scratch("codec", torch.float32, sum(sizes)).numpy()
        x, remembered, gates, sums, buffers = (
            room[end - size : end] for size, end in zip(sizes, accumulate(sizes), strict=True)
        )
        return DecoderRoom(
            x,
            remembered,
            gates,
            sums.reshape(num_rows, -1),
            buffers.reshape(NUM_BUFFERS, -1),
            new_decoder_counters(num_rows, num_frames, self._decoder.tile_frames),
        )


def _tile_size(c: npt.NDArray[Any], num_frames: int) -> int:
    """Return the most numbers that one of the CONVOLUTIONs reads or writes for a tile, in whole vectors."""
    num_positions = c["rate"] * num_frames
    inputs = c["channels"] * (num_positions + c["padding"] + c["fold"] * (MOST_ROWS + 2))
    outputs = c["width"] * (num_positions // c["fold"] + MOST_ROWS + 1)
    return -(-int(max(inputs.max(), outputs.max())) // LANES) * LANES


class _Packed:
    """A decoder's layers as `decode` reads them, put together one after the other."""

    def __init__(self, layers: nn.ModuleList) -> None:
        self.weights: list[Tensor] = []
        self.convolutions: list[tuple[int, ...]] = []
        self.recurrent = torch.empty(0, 0, 0, ROW_GROUP)
        self.state_size = 0
        self._size, self._rate = 0, 1
        for layer in layers:
            match layer:
                case StreamingConv():
                    self._add_conv(layer)
                case StreamingLstm():
                    self._add_lstm(layer.lstm)
                case StreamingTransposedConv():
                    self._add_transposed(layer)
                case StreamingResidualBlock():
                    self._add_block(layer)

    def _add_conv(self, layer: StreamingConv) -> None:
        assert layer.conv.bias is not None
        self._add(_with_gaps(layer.conv), layer.conv.bias)

    def _add_lstm(self, lstm: nn.LSTM) -> None:
        more = -4 * lstm.hidden_size % ROW_GROUP
        recurrent = []
        for layer in range(lstm.num_layers):
            kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            inputs, hidden, *biases = (lstm.get_parameter(f"{kind}_l{layer}").detach() for kind in kinds)
            self._add(pad(inputs, (0, 0, 0, more))[:, :, None], pad(sum(biases), (0, more)))  # type: ignore[arg-type]
            recurrent.append(_grouped(pad(hidden, (0, 0, 0, more)).T, ROW_GROUP))
        self.recurrent = torch.stack(recurrent)

    def _add_transposed(self, layer: StreamingTransposedConv) -> None:
        """An input makes the outputs of a stride together with the input before, which takes the second half."""
        assert layer.conv.bias is not None
        halves = layer.conv.weight.view(*layer.conv.weight.shape[:2], 2, layer.stride).flip(2)
        phases = halves.permute(3, 1, 0, 2).flatten(0, 1)
        self._add(phases, layer.conv.bias.repeat(layer.stride), reflects=False)
        self._rate *= layer.stride

    def _add_block(self, layer: StreamingResidualBlock) -> None:
        over_time, pointwise = layer.block[1], layer.block[3]
        assert isinstance(over_time, StreamingConv) and isinstance(pointwise, StreamingConv)
        shortcut = layer.shortcut.conv
        assert shortcut.bias is not None and pointwise.conv.bias is not None
        self._add_conv(over_time)
        self._add(shortcut.weight, shortcut.bias + pointwise.conv.bias, pointwise.conv.weight)

    def _add(
        self, weight: Tensor, bias: Tensor, more_weight: Tensor | None = None, *, reflects: bool = True
    ) -> None:
        """Add a convolution with weights [outputs, inputs, taps], and [outputs, inputs, 1] for a second input."""
        num_outputs, num_inputs, num_taps = weight.shape
        fold = LANES // math.gcd(num_outputs, LANES)
        matrix, num_more = _windows(weight, fold), 0
        width = matrix.shape[1]
        if more_weight is not None:
            num_more = more_weight.shape[1]
            matrix = torch.cat([matrix, _windows(more_weight, fold)])
        group = LANES if width % PAIR else PAIR
        biases_at = self._size + matrix.numel()
        fields = {
            "rate": self._rate,
            "padding": num_taps - 1,
            "reflects": int(reflects),
            "tail": self.state_size,
            "channels": num_inputs,
            "window": (num_taps + fold - 1) * num_inputs,
            "more_channels": num_more,
            "more_window": fold * num_more,
            "fold": fold,
            "width": width,
            "group": group,
            "weights": self._size,
            "biases": biases_at,
        }
        self.convolutions.append(tuple(fields[name] for name in CONVOLUTION.names or ()))
        self.weights += [_grouped(matrix, group).flatten(), bias.detach().float().repeat(fold)]
        self._size = biases_at + width
        self.state_size += (num_taps - 1) * num_inputs


def _with_gaps(conv: nn.Conv1d) -> Tensor:
    """Return the weights [outputs, inputs, taps] of a convolution, with zeros for what its dilation leaves out."""
    num_taps, (dilation,) = conv.kernel_size[0], conv.dilation
    weight = conv.weight.new_zeros(*conv.weight.shape[:2], (num_taps - 1) * dilation + 1)
    weight[:, :, ::dilation] = conv.weight
    return weight


def _windows(weight: Tensor, fold: int) -> Tensor:
    """Make of weights [outputs, inputs, taps] the matrix [window, fold * outputs] that makes `fold` positions."""
    num_outputs, num_inputs, num_taps = weight.shape
    matrix = torch.zeros(num_taps + fold - 1, num_inputs, fold, num_outputs)
    for position in range(fold):
        matrix[position : position + num_taps, :, position] = weight.detach().permute(2, 1, 0)
    return matrix.view(-1, fold * num_outputs)


def _grouped(matrix: Tensor, group: int) -> Tensor:
    """Put a matrix [inputs, outputs] into the order [groups, inputs, group]."""
    return matrix.view(len(matrix), -1, group).transpose(0, 1).contiguous()
