"""EnCodec's causal layers, which can continue where they stopped: `forward` is for wholes, `step` for pieces.

Every `step` takes the layer's state of all slots, works on the rows `slots` [rows] of it, and returns what
`forward` of the whole sequence returns at these places. `first` restarts the rows from any state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(slots=True)
class ConvState:
    """`tail` [slots, channels, padding]: the last inputs, which the next step's first outputs read."""

    tail: Tensor


@dataclass(slots=True)
class TransposedConvState:
    """`overlap` [slots, channels, stride]: the second half of the last output, to be added to the next."""

    overlap: Tensor


@dataclass(slots=True)
class LstmState:
    """`hidden` and `cell`, each [layers, slots, width]."""

    hidden: Tensor
    cell: Tensor


@dataclass(slots=True)
class ResidualState:
    """The state of the convolution over time inside a residual block."""

    conv: ConvState


@dataclass(slots=True)
class RowState:
    """`values` [slots, numbers]: all that a layer remembers, in an order of its own."""

    values: Tensor


LayerState = ConvState | TransposedConvState | LstmState | ResidualState | RowState
State = TypeVar("State", bound=LayerState)


class StreamingLayer(nn.Module, Generic[State]):
    """A layer that can continue where it stopped."""

    def initial_state(self, num_slots: int) -> State:
        """Return the state of `num_slots` slots."""
        raise NotImplementedError

    def step(self, x: Tensor, state: State, slots: Tensor, *, first: bool) -> Tensor:
        """Map the next piece `x` [rows, in_channels, length] of the sequences in `slots`."""
        raise NotImplementedError


class StreamingConv(StreamingLayer[ConvState]):
    """A convolution of stride 1 that sees only the past; the input's reflection stands before its start."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, kernel_size, dilation=dilation)
        self.padding = (kernel_size - 1) * dilation

    def initial_state(self, num_slots: int) -> ConvState:
        return ConvState(self.conv.weight.new_zeros(num_slots, self.conv.in_channels, self.padding))

    def forward(self, x: Tensor) -> Tensor:
        """Map [rows, in_channels, length] to [rows, out_channels, length]."""
        convolved: Tensor = self.conv(reflect(x, self.padding))
        return convolved

    def step(self, x: Tensor, state: ConvState, slots: Tensor, *, first: bool) -> Tensor:
        if not self.padding:
            return self.forward(x)
        padded = reflect(x, self.padding) if first else torch.cat([state.tail[slots], x], dim=2)
        state.tail[slots] = padded[:, :, -self.padding :]
        convolved: Tensor = self.conv(padded)
        return convolved


class StreamingTransposedConv(StreamingLayer[TransposedConvState]):
    """A transposed convolution: each input makes 2 * stride outputs, half of which overlap the next input's."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose1d(in_channels, out_channels, 2 * stride, stride)
        self.stride = stride

    def initial_state(self, num_slots: int) -> TransposedConvState:
        return TransposedConvState(self.conv.weight.new_zeros(num_slots, self.conv.out_channels, self.stride))

    def forward(self, x: Tensor) -> Tensor:
        """Map [rows, in_channels, length] to [rows, out_channels, length * stride]."""
        upsampled: Tensor = self.conv(x)
        return upsampled[:, :, : -self.stride]

    def step(self, x: Tensor, state: TransposedConvState, slots: Tensor, *, first: bool) -> Tensor:
        upsampled = self.conv(x)
        if not first:
            upsampled[:, :, : self.stride] += state.overlap[slots]
        assert self.conv.bias is not None
        # The next step's output has the bias already.
        state.overlap[slots] = upsampled[:, :, -self.stride :] - self.conv.bias[:, None]
        finished: Tensor = upsampled[:, :, : -self.stride]
        return finished


class StreamingLstm(StreamingLayer[LstmState]):
    """An LSTM over time with a skip connection around it."""

    def __init__(self, width: int, num_layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, num_layers)

    def initial_state(self, num_slots: int) -> LstmState:
        shape = (self.lstm.num_layers, num_slots, self.lstm.hidden_size)
        weight: Tensor = self.lstm.get_parameter("weight_ih_l0")
        return LstmState(weight.new_zeros(shape), weight.new_zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        """Map [rows, width, length] to the same shape."""
        remembered: Tensor = self.lstm(x.permute(2, 0, 1))[0]
        return x + remembered.permute(1, 2, 0)

    def step(self, x: Tensor, state: LstmState, slots: Tensor, *, first: bool) -> Tensor:
        before = None if first else (state.hidden[:, slots], state.cell[:, slots])
        remembered, (hidden, cell) = self.lstm(x.permute(2, 0, 1), before)
        state.hidden[:, slots] = hidden
        state.cell[:, slots] = cell
        joined: Tensor = x + remembered.permute(1, 2, 0)
        return joined


class StreamingResidualBlock(StreamingLayer[ResidualState]):
    """A narrow pair of convolutions beside a shortcut; numbered as in EnCodec, ELUs included."""

    def __init__(self, channels: int, kernel_size: int, dilation: int, compress: int) -> None:
        super().__init__()
        over_time = StreamingConv(channels, channels // compress, kernel_size, dilation)
        pointwise = StreamingConv(channels // compress, channels, 1)
        self.block = nn.Sequential(nn.ELU(), over_time, nn.ELU(), pointwise)
        self.shortcut = StreamingConv(channels, channels, 1)

    def initial_state(self, num_slots: int) -> ResidualState:
        return ResidualState(self._over_time.initial_state(num_slots))

    def forward(self, x: Tensor) -> Tensor:
        """Map [rows, channels, length] to the same shape."""
        joined: Tensor = self.shortcut(x) + self.block(x)
        return joined

    def step(self, x: Tensor, state: ResidualState, slots: Tensor, *, first: bool) -> Tensor:
        inner = self._over_time.step(self.block[0](x), state.conv, slots, first=first)
        joined: Tensor = self.shortcut(x) + self.block[2:](inner)
        return joined

    @property
    def _over_time(self) -> StreamingConv:
        over_time = self.block[1]
        assert isinstance(over_time, StreamingConv)
        return over_time


def reflect(x: Tensor, padding: int) -> Tensor:
    """Put `padding` reflected samples before [rows, channels, length].

    An input that is too short to be reflected is extended with zeros for it, as in EnCodec.
    """
    if not padding:
        return x
    missing = max(0, padding + 1 - x.shape[2])
    padded = functional.pad(functional.pad(x, (0, missing)), (padding, 0), mode="reflect")
    return padded[:, :, : padded.shape[2] - missing]
