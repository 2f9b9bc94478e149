"""Kokoro's generator in torch: the network's own weights, in a third of the time that the runtime of its export takes.

The generator (iSTFTNet, arXiv:2203.02395, with StyleTTS 2's blocks, arXiv:2306.07691) turns 80 vectors a second into
sound and is nearly all of the teacher's work. Frames are kept as [frames, channels], for which convolutions are
fastest on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    import onnx

PREFIX = "/decoder/decoder/generator/"
HIDDEN, SOURCE = "/decoder/decoder/decode.3/Div_4_output_0", PREFIX + "Concat_3_output_0"
"""What the generator is given: vectors [512, 80 Hz], and the spectrum of the voice's source [22, 4,800 Hz]."""
UPSAMPLES = (10, 6)
NUM_KERNELS = 3
DILATIONS = (1, 3, 5)
BLOCKS = (*(f"noise_res.{n}" for n in range(2)), *(f"resblocks.{n}" for n in range(2 * NUM_KERNELS)))
NORM_STYLES = tuple(
    f"{PREFIX}{block}/adain{half}.{number}/fc/Gemm_output_0"
    for block in BLOCKS
    for half in (1, 2)
    for number in range(len(DILATIONS))
)
"""What the graph makes of the style, for each norm: a gain and a shift of each channel."""
WINDOW, HOP = 20, 5
EPSILON = 1e-5

Floats = npt.NDArray[np.float32]


def float_weights(model: onnx.ModelProto) -> dict[str, Floats]:
    """Return the parameters of the export's generator by their names; quantized weights become numbers again."""
    from onnx import numpy_helper

    given = {entry.name: entry for entry in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    root = PREFIX[1:].replace("/", ".")
    found = {
        name.removeprefix(root): numpy_helper.to_array(entry)
        for name, entry in given.items()
        if (name.startswith(root) and name.endswith(".bias")) or ".alpha" in name
    }
    for node in model.graph.node:
        if not node.name.startswith(PREFIX) or node.op_type not in ("Conv", "ConvTranspose", "ConvInteger"):
            continue
        name = node.name.removeprefix(PREFIX).partition("/Conv")[0].replace("/", ".")
        if node.input[1] not in given:
            continue
        weight = numpy_helper.to_array(given[node.input[1]]).astype(np.float32)
        if node.op_type == "ConvInteger":
            zero = numpy_helper.to_array(given[node.input[3]]).astype(np.float32)
            # The product of the scales of the input, which is found at run time, and of the weight.
            scales = makers[f"{root}{name}.bias_scale"].input
            scale = next(given[scale] for scale in scales if scale in given)
            weight = (weight - zero) * numpy_helper.to_array(scale)
        found[f"{name}.weight"] = weight
    return found


class Convolution:
    """A convolution over [frames, channels] in eight bits: its input is quantized as a whole, as the export does it.

    oneDNN is 2.4 times as fast without a dilation, so a dilated one runs on each of its phases, as rows of a batch.
    """

    def __init__(self, weight: Tensor, bias: Tensor, dilation: int) -> None:
        """`weight` [out, in, kernel]."""
        self._scales = weight.abs().amax(dim=(1, 2)) / 127
        levels = torch.round(weight / self._scales[:, None, None]).to(torch.int8)[:, :, None]
        self._padding = [0, weight.shape[2] // 2]
        self._weight = torch.ops.onednn.qconv_prepack(
            levels, self._scales, 1.0, 0, [1, 1], self._padding, [1, 1], 1, None
        )
        self._zeros = torch.zeros(len(weight), dtype=torch.int64)
        self._bias = bias
        self._dilation = dilation

    def __call__(self, levels: Tensor, scale: float, zero: int) -> Tensor:
        """Return the convolution of `scale * (levels - zero)`, bytes [frames, channels]."""
        num_frames, num_channels = levels.shape
        phases = self._dilation
        levels = functional.pad(levels, (0, 0, 0, -num_frames % phases), value=zero)
        rows = levels.view(-1, phases, num_channels).transpose(0, 1).contiguous()
        planes = rows.permute(0, 2, 1)[:, :, None]  # [phases, channels, 1, frames], channels last
        made = torch.ops.onednn.qconv_pointwise(
            planes,
            scale,
            zero,
            self._weight,
            self._scales,
            self._zeros,
            self._bias,
            [1, 1],
            self._padding,
            [1, 1],
            1,
            1.0,
            0,
            torch.float32,
            "none",
            [],
            "",
        )
        frames = made[:, :, 0].permute(2, 0, 1)  # [frames / phases, phases, channels]
        return frames.reshape(-1, frames.shape[2])[:num_frames]


def norm_and_snake(frames: Tensor, style: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the frames with each channel normed over time, in that style, and bent by a snake (arXiv:2006.08195).

    Behind them come their least and their greatest value.
    """
    variance, mean = torch.var_mean(frames, dim=0, correction=0, keepdim=True)
    gain, shift = style.chunk(2)
    normed = (frames - mean) * (torch.rsqrt(variance + EPSILON) * (1 + gain)) + shift
    bent = normed + torch.sin(alpha * normed).square() / alpha
    return bent, bent.amin(), bent.amax()


def to_levels(frames: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """Return the frames as bytes."""
    return torch.clamp(torch.round(frames / scale) + zero, 0, 255).to(torch.uint8)


class Generator:
    """The generator with its weights."""

    def __init__(self, weights: Mapping[str, Floats], *, is_compiled: bool = True) -> None:
        self._weights = {
            name: torch.tensor(value)
            for name, value in weights.items()
            if name.endswith((".weight", ".bias")) or ".alpha" in name
        }
        self._convolutions = {
            f"{block}.convs{half}.{number}": Convolution(
                self._weights[f"{block}.convs{half}.{number}.weight"],
                self._weights[f"{block}.convs{half}.{number}.bias"],
                dilation if half == 1 else 1,
            )
            for block in BLOCKS
            for number, dilation in enumerate(DILATIONS)
            for half in (1, 2)
        }
        compiled = partial(torch.compile, dynamic=True) if is_compiled else lambda function: function
        self._norm_and_snake, self._to_levels = compiled(norm_and_snake), compiled(to_levels)

    @torch.no_grad()
    def __call__(self, hidden: Floats, source: Floats, *styles: Floats) -> Floats:
        """Return the sound for `HIDDEN` [512, n], `SOURCE` [22, m] and the values of `NORM_STYLES`."""
        style_of = {
            name: torch.from_numpy(style).ravel() for name, style in zip(NORM_STYLES, styles, strict=True)
        }
        frames, spectrum = torch.from_numpy(hidden), torch.from_numpy(source)
        for number, factor in enumerate(UPSAMPLES):
            stride = math.prod(UPSAMPLES[number + 1 :])
            weight, bias = self._parameters(f"noise_convs.{number}")
            noise = functional.conv1d(
                spectrum[None], weight, bias, stride, (weight.shape[2] - stride + 1) // 2
            )[0]
            noise = self._block(noise.T.contiguous(), f"noise_res.{number}", style_of)
            weight, bias = self._parameters(f"ups.{number}")
            padding = (weight.shape[2] - factor) // 2
            frames = functional.leaky_relu(frames, 0.1)
            frames = functional.conv_transpose1d(frames[None], weight, bias, factor, padding)[0]
            if number == len(UPSAMPLES) - 1:
                frames = torch.cat([frames[:, 1:2], frames], dim=1)
            frames = frames.T + noise
            blocks = range(NUM_KERNELS * number, NUM_KERNELS * (number + 1))
            made = [self._block(frames, f"resblocks.{block}", style_of) for block in blocks]
            frames = (sum(made[1:], made[0]) / NUM_KERNELS).T
        weight, bias = self._parameters("conv_post")
        made = functional.conv1d(functional.leaky_relu(frames, 0.01), weight, bias, padding="same")
        bins = WINDOW // 2 + 1
        waves = torch.polar(made[:bins].exp(), made[bins:].sin())
        # The export leaves the sum of the squared windows in the sound.
        return cast(Floats, (1.5 * torch.istft(waves, WINDOW, HOP, window=torch.hann_window(WINDOW))).numpy())

    def _parameters(self, name: str) -> tuple[Tensor, Tensor]:
        return self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]

    def _block(self, frames: Tensor, name: str, style_of: Mapping[str, Tensor]) -> Tensor:
        for number in range(len(DILATIONS)):
            made = frames
            for half in (1, 2):
                style = style_of[f"{PREFIX}{name}/adain{half}.{number}/fc/Gemm_output_0"]
                alpha = self._weights[f"{name}.alpha{half}.{number}"].ravel()
                made, least, greatest = self._norm_and_snake(made, style, alpha)
                least, greatest = least.clamp(max=0), greatest.clamp(min=0)
                scale = (greatest - least) / 255
                zero = torch.round(-least / scale)
                levels = self._to_levels(made, scale, zero)
                made = self._convolutions[f"{name}.convs{half}.{number}"](levels, float(scale), int(zero))
            frames = made.add_(frames)
        return frames
