"""The codec's convolutions and ELUs on a CPU in compiled functions, put in the place of torch's modules.

Torch's transposed convolutions take four times as long, and oneDNN compiles its convolutions for each length.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from streamer.models.codec import CodecDecoder
from streamer.models.cpu.convolution_kernels import CHANNELS, POSITIONS, convolve, elu, interleave


def compile_codec(codec: CodecDecoder) -> None:
    """Replace the convolutions and ELUs of `codec`, float32 on the CPU, and compile them: this may take seconds.

    Such a codec cannot be saved.
    """
    codec.eval().requires_grad_(False)
    for part in list(codec.modules()):
        for name, child in list(part.named_children()):
            if isinstance(child, nn.Conv1d):
                setattr(part, name, CompiledConv(child))
            elif isinstance(child, nn.ConvTranspose1d):
                setattr(part, name, CompiledTransposedConv(child))
            elif isinstance(child, nn.ELU):
                setattr(part, name, CompiledElu())
    codec.decode(torch.zeros(1, codec.config.num_codebooks, 1, dtype=torch.long))


class CompiledConv(nn.Module):
    """A `Conv1d` of stride 1 with a bias, without padding."""

    def __init__(self, conv: nn.Conv1d) -> None:
        super().__init__()
        assert conv.bias is not None
        self.in_channels, self.out_channels = conv.in_channels, conv.out_channels
        self._taps, self._dilation = conv.kernel_size[0], conv.dilation[0]
        self.bias = conv.bias
        self.weight, self._packed = _pack(conv.weight, conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 [rows, in_channels, length] to [rows, out_channels, positions]."""
        num_positions = x.shape[2] - (self._taps - 1) * self._dilation
        return _convolved(x, self._packed, self._dilation, num_positions)[:, : self.out_channels]


class CompiledTransposedConv(nn.Module):
    """A `ConvTranspose1d` with a bias whose kernel is twice its stride: each phase of the stride has two taps."""

    def __init__(self, conv: nn.ConvTranspose1d) -> None:
        super().__init__()
        assert conv.bias is not None
        self.in_channels, self.out_channels = conv.in_channels, conv.out_channels
        (self._stride,) = conv.stride
        # [in, out, 2, stride], of which the last input takes the first half: [out * stride, in, 2].
        taps = conv.weight.detach().view(self.in_channels, self.out_channels, 2, self._stride).flip(2)
        phases = taps.permute(1, 3, 0, 2).flatten(0, 1)
        self.bias = conv.bias
        self.weight, self._packed = _pack(phases, conv.bias.repeat_interleave(self._stride))

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 [rows, in_channels, length] to [rows, out_channels, (length + 1) * stride]."""
        rows, _, length = x.shape
        phases = _convolved(pad(x, (1, 1)), self._packed, 1, length + 1)
        out = torch.empty(rows, self.out_channels, (length + 1) * self._stride)
        interleave(phases.contiguous().numpy(), out.numpy())
        return out


class CompiledElu(nn.Module):
    """An `ELU`."""

    def forward(self, x: Tensor) -> Tensor:
        out = torch.empty(x.shape)
        elu(x.contiguous().view(-1).numpy(), out.view(-1).numpy())
        return out


def _pack(weight: Tensor, bias: Tensor) -> tuple[nn.Parameter, tuple[Any, Any]]:
    """Pack weights [out, in, taps] and biases [out] as `convolve` reads them; zeros fill up the last group.

    Returns the packed weights as a parameter, and what `convolve` takes, which is the same memory.
    """
    more = -len(weight) % CHANNELS
    weight, bias = weight.detach().float(), bias.detach().float()
    groups = pad(weight, (0, 0, 0, 0, 0, more)).view(-1, CHANNELS, *weight.shape[1:])
    packed = groups.permute(0, 2, 3, 1).contiguous()
    biases = pad(bias, (0, more)).view(-1, CHANNELS).numpy()
    return nn.Parameter(packed, requires_grad=False), (packed.numpy(), biases)


def _convolved(x: Tensor, packed: tuple[Any, Any], dilation: int, num_positions: int) -> Tensor:
    """Return float32 [rows, groups * CHANNELS, num_positions] of `x` [rows, inputs, length]."""
    padding = max(0, POSITIONS - num_positions)
    x = pad(x, (0, padding)) if padding else x.contiguous()
    weights, biases = packed
    out = np.empty((len(x), biases.size, num_positions + padding), np.float32)
    convolve(x.detach().numpy(), weights, biases, dilation, out)
    return torch.from_numpy(out)[:, :, :num_positions]
