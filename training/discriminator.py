"""Judges whether sound is the teacher's or the decoder's; `train_decoder --adversarial` sets one against the other."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

COMPRESSION, MAGNITUDE_FLOOR = 0.3, 1e-3


class Discriminator(nn.Module):
    """Tells the teacher's sound from the decoder's, by convolutions over compressed spectrograms of three sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.windows = (512, 1024, 2048)
        self.towers = nn.ModuleList(self.tower() for _ in self.windows)
        for window in self.windows:
            self.register_buffer(f"hann_{window}", torch.hann_window(window))

    @staticmethod
    def tower() -> nn.ModuleList:
        sizes = (2, 8, 16, 16, 16)  # twice the width costs a CPU three times as much
        layers = [
            nn.utils.parametrizations.weight_norm(nn.Conv2d(a, b, (3, 7), (1, 2), (1, 3)))
            for a, b in pairwise(sizes)
        ]
        return nn.ModuleList(
            [*layers, nn.utils.parametrizations.weight_norm(nn.Conv2d(sizes[-1], 1, 3, padding=1))]
        )

    def forward(self, sound: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return a score map per resolution, and the layers' outputs, for sound [rows, samples]."""
        scores, features = [], []
        for window, tower in zip(self.windows, self.towers, strict=True):
            spectrum = torch.stft(
                sound, window, window // 4, window=getattr(self, f"hann_{window}"), return_complex=True
            )
            # Without compression the judge would see nothing but the loudest harmonics.
            spectrum = spectrum * (spectrum.abs() + MAGNITUDE_FLOOR) ** (COMPRESSION - 1)
            x = torch.view_as_real(spectrum).permute(0, 3, 2, 1)
            for layer in tower[:-1]:
                x = functional.leaky_relu(layer(x), 0.2)
                features.append(x)
            scores.append(tower[-1](x))
        return scores, features
