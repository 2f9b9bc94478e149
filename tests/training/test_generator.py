"""The teacher's generator in torch makes what its network says, in eight bits where the export has eight."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from training import generator
from training.generator import BLOCKS, DILATIONS, HOP, NORM_STYLES, PREFIX, UPSAMPLES, Convolution, Generator

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN, which convolves bytes"
)
CHANNELS = (32, 16, 16)
"""Of what is given, and behind each upsampling."""
BINS = generator.WINDOW // 2 + 1
FRAMES = 7


def channels_of(block: str) -> int:
    """Return how many channels a block has: the second half of each kind comes behind the last upsampling."""
    number = int(block.partition(".")[2])
    return CHANNELS[2 if number >= (1 if block.startswith("noise") else 3) else 1]


def tiny_weights(chance: np.random.Generator) -> dict[str, np.ndarray]:
    """Return random weights of every layer, few channels each."""

    def normal(*shape: int) -> np.ndarray:
        return (chance.normal(size=shape) / np.sqrt(np.prod(shape[1:]) or 1)).astype(np.float32)

    weights = {}
    for number, factor in enumerate(UPSAMPLES):
        inner, outer = CHANNELS[number : number + 2]
        weights[f"ups.{number}.weight"] = normal(inner, outer, 2 * factor)
        weights[f"noise_convs.{number}.weight"] = normal(outer, 2 * BINS, 1 if number else 12)
    weights["conv_post.weight"] = normal(2 * BINS, CHANNELS[-1], 7)
    for block in BLOCKS:
        count = channels_of(block)
        for half in (1, 2):
            for number in range(len(DILATIONS)):
                weights[f"{block}.convs{half}.{number}.weight"] = normal(count, count, 3)
                weights[f"{block}.alpha{half}.{number}"] = np.abs(normal(1, count, 1)) + 0.5
    names = [name for name in weights if name.endswith(".weight")]
    for name in names:
        axis = 1 if name.startswith("ups") else 0
        weights[name.removesuffix("weight") + "bias"] = normal(weights[name].shape[axis])
    return weights


def styles(chance: np.random.Generator) -> list[np.ndarray]:
    counts = [channels_of(name.removeprefix(PREFIX).partition("/")[0]) for name in NORM_STYLES]
    return [0.3 * chance.normal(size=2 * count).astype(np.float32) for count in counts]


@pytest.mark.parametrize("dilation", DILATIONS)
@pytest.mark.parametrize("num_frames", [1, 4, 15, 61])
def test_a_dilated_convolution_runs_on_its_phases(dilation: int, num_frames: int) -> None:
    """It is the convolution of what the bytes stand for, whatever the length."""
    torch.manual_seed(0)
    weight, bias = torch.randn(16, 16, 5) / 9, torch.randn(16)
    levels = torch.randint(256, (num_frames, 16), dtype=torch.uint8)
    scale, zero = 0.02, 117
    made = Convolution(weight, bias, dilation)(levels, scale, zero)
    frames = (scale * (levels.float() - zero)).T[None]
    aim = functional.conv1d(frames, weight, bias, padding=2 * dilation, dilation=dilation)[0].T
    assert made.shape == aim.shape
    torch.testing.assert_close(made, aim, atol=0.03, rtol=0.01)


def test_the_whole_generator_makes_the_sound_of_its_network() -> None:
    """The sound is near that of the same layers written down plainly, and lasts 300 samples for each vector."""
    chance = np.random.default_rng(0)
    weights, given_styles = tiny_weights(chance), styles(chance)
    hidden = chance.normal(size=(CHANNELS[0], FRAMES)).astype(np.float32)
    source = chance.normal(size=(2 * BINS, FRAMES * 60 + 1)).astype(np.float32)
    sound = Generator(weights, is_compiled=False)(hidden, source, *given_styles)
    assert sound.shape == (FRAMES * 60 * HOP,)
    aim = plain_generator(weights, hidden, source, given_styles)
    assert np.corrcoef(sound, aim)[0, 1] > 0.99
    assert sound.std() == pytest.approx(aim.std(), rel=0.05)


def plain_generator(
    weights: dict[str, np.ndarray], hidden: np.ndarray, source: np.ndarray, given: list[np.ndarray]
) -> np.ndarray:
    tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
    style_of = {
        name: torch.from_numpy(style)[None, :, None] for name, style in zip(NORM_STYLES, given, strict=True)
    }

    def block(frames: Tensor, name: str) -> Tensor:
        for number, dilation in enumerate(DILATIONS):
            made = frames
            for half, width in ((1, dilation), (2, 1)):
                gain, shift = style_of[f"{PREFIX}{name}/adain{half}.{number}/fc/Gemm_output_0"].chunk(
                    2, dim=1
                )
                alpha = tensors[f"{name}.alpha{half}.{number}"]
                made = functional.instance_norm(made) * (1 + gain) + shift
                made = made + torch.sin(alpha * made) ** 2 / alpha
                layer = f"{name}.convs{half}.{number}"
                made = functional.conv1d(
                    made, tensors[f"{layer}.weight"], tensors[f"{layer}.bias"], padding=width, dilation=width
                )
            frames = frames + made
        return frames

    frames, spectrum = torch.from_numpy(hidden)[None], torch.from_numpy(source)[None]
    for number, (factor, stride, padding) in enumerate(((10, 6, 3), (6, 1, 0))):
        noise = functional.conv1d(
            spectrum,
            tensors[f"noise_convs.{number}.weight"],
            tensors[f"noise_convs.{number}.bias"],
            stride,
            padding,
        )
        frames = functional.conv_transpose1d(
            functional.leaky_relu(frames, 0.1),
            tensors[f"ups.{number}.weight"],
            tensors[f"ups.{number}.bias"],
            factor,
            factor // 2,
        )
        if number == 1:
            frames = functional.pad(frames, (1, 0), mode="reflect")
        frames = frames + block(noise, f"noise_res.{number}")
        frames = sum((block(frames, f"resblocks.{3 * number + k}") for k in range(3)), torch.zeros(())) / 3
    made = functional.conv1d(
        functional.leaky_relu(frames, 0.01), tensors["conv_post.weight"], tensors["conv_post.bias"], padding=3
    )[0]
    size, phase = made[:BINS].exp(), made[BINS:].sin()
    window = torch.hann_window(generator.WINDOW)
    waves = torch.complex(size * phase.cos(), size * phase.sin())
    return np.asarray(1.5 * torch.istft(waves, generator.WINDOW, HOP, window=window))
