"""Judges whether sound is the teacher's or the decoder's; `train_decoder --adversarial` sets one against the other.

It sees magnitudes alone: the codes do not tell the phases, so the decoder cannot be asked for the teacher's.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

WINDOWS = (128, 512, 1024, 2048)
"""The shortest sees the single pulses of a voice, the longest its harmonics."""
COMPRESSION, MAGNITUDE_FLOOR = 0.3, 1e-3
SIZES = (1, 8, 16, 16, 16)  # twice the width costs a CPU three times as much


class Discriminator(nn.Module):
    """Tells the teacher's sound from the decoder's by convolutions over spectrograms (after arXiv:2210.13438)."""

    def __init__(self) -> None:
        super().__init__()
        self.towers = nn.ModuleList(self.tower() for _ in WINDOWS)
        for window in WINDOWS:
            self.register_buffer(f"hann_{window}", torch.hann_window(window))

    @staticmethod
    def tower() -> nn.ModuleList:
        layers = [weight_norm(nn.Conv2d(a, b, (3, 7), (1, 2), (1, 3))) for a, b in pairwise(SIZES)]
        return nn.ModuleList([*layers, weight_norm(nn.Conv2d(SIZES[-1], 1, 3, padding=1))])

    def forward(self, sound: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return a score map per resolution, and the layers' outputs, for sound [rows, samples]."""
        scores, features = [], []
        for window, tower in zip(WINDOWS, self.towers, strict=True):
            hann = getattr(self, f"hann_{window}")
            spectrum = torch.stft(sound, window, window // 4, window=hann, return_complex=True)
            power = spectrum.real.square() + spectrum.imag.square() + MAGNITUDE_FLOOR**2
            # Without compression the judge would see nothing but the loudest harmonics.
            x = power.pow(COMPRESSION / 2).transpose(1, 2)[:, None]
            for layer in tower[:-1]:
                x = functional.leaky_relu(layer(x), 0.2)
                features.append(x)
            scores.append(tower[-1](x))
        return scores, features
