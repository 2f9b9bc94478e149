"""The losses of the decoder: how far the spectra of two sounds differ, at several resolutions at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WINDOWS = (256, 512, 1024, 2048)
NUM_MELS = {256: 20, 512: 40, 1024: 80, 2048: 100}
FLOOR = 1e-5
PULSE_WINDOW, PULSE_HOP, NUM_BANDS = 128, 16, 16
"""The window and hop in samples, and the number of bands: such a short window sees single pulses of a voice."""
MODULATION_WINDOW = 64
COMPRESSION, POWER_FLOOR = 0.15, 1e-6


def mel_matrix(num_mels: int, num_bins: int, sample_rate_hz: int) -> Tensor:
    """Return triangles [bins, mels], evenly spaced on the mel scale, each at least one bin wide and of sum 1."""
    top = 2595 * torch.log10(torch.tensor(1 + sample_rate_hz / 2 / 700))
    corners = 700 * (10 ** (torch.linspace(0, float(top), num_mels + 2) / 2595) - 1)
    bins = torch.linspace(0, sample_rate_hz / 2, num_bins)[:, None]
    low, middle, high = corners[:-2], corners[1:-1], corners[2:]
    weights = torch.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)).clamp(min=0)
    weights[(bins - middle).abs().argmin(dim=0), torch.arange(num_mels)] += 1e-3
    return weights / weights.sum(dim=0)


class SpectralLoss(nn.Module):
    """The L1 distance of log-mels and log-magnitudes, and spectral convergence, averaged over several windows."""

    def __init__(self, sample_rate_hz: int) -> None:
        super().__init__()
        for window in WINDOWS:
            self.register_buffer(f"hann_{window}", torch.hann_window(window))
            self.register_buffer(
                f"mel_{window}", mel_matrix(NUM_MELS[window], window // 2 + 1, sample_rate_hz)
            )

    def magnitude(self, sound: Tensor, window: int) -> Tensor:
        """Return the magnitudes [rows, frames, bins] of sound [rows, samples]."""
        hann = getattr(self, f"hann_{window}")
        spectrum = torch.stft(sound, window, window // 4, window=hann, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        return (power + FLOOR**2).sqrt().transpose(1, 2) / (window / 2)

    def forward(self, made: Tensor, real: Tensor) -> Tensor:
        """Both [rows, samples]."""
        loss = made.new_zeros(())
        for window in WINDOWS:
            mel = getattr(self, f"mel_{window}")
            ours, theirs = self.magnitude(made, window), self.magnitude(real, window)
            logs = (torch.log(ours @ mel + FLOOR) - torch.log(theirs @ mel + FLOOR)).abs().mean()
            fine_logs = (torch.log(ours + 1e-4) - torch.log(theirs + 1e-4)).abs().mean()
            convergence = (ours - theirs).norm() / (theirs.norm() + 1e-6)
            loss = loss + logs + 0.5 * fine_logs + 0.5 * convergence
        return loss / len(WINDOWS)


class ModulationLoss(nn.Module):
    """The difference in how the bands of two sounds rise and fall with the voice's pulses, at any phase of the pulses.

    Spectra of longer windows do not see whether the phases of the harmonics make pulses or a buzz. The codes do not say
    where the pulses are, but they do say that there are some, and how sharp they are in each band.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        super().__init__()
        self.register_buffer("pulse_hann", torch.hann_window(PULSE_WINDOW))
        self.register_buffer("modulation_hann", torch.hann_window(MODULATION_WINDOW))
        self.register_buffer("bands", mel_matrix(NUM_BANDS, PULSE_WINDOW // 2 + 1, sample_rate_hz))

    def modulation(self, sound: Tensor) -> Tensor:
        """Return magnitudes [rows * bands, modulation bins without 0, frames] of sound [rows, samples]."""
        spectrum = torch.stft(sound, PULSE_WINDOW, PULSE_HOP, window=self.pulse_hann, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        envelopes = (power.transpose(1, 2) @ self.bands + POWER_FLOOR) ** COMPRESSION  # [rows, times, bands]
        flat = envelopes.transpose(1, 2).flatten(0, 1)
        swelling = torch.stft(
            flat, MODULATION_WINDOW, MODULATION_WINDOW // 4, window=self.modulation_hann, return_complex=True
        )[:, 1:]
        return (swelling.real.square() + swelling.imag.square() + FLOOR).sqrt()

    def forward(self, made: Tensor, real: Tensor) -> Tensor:
        """Both [rows, samples]."""
        ours, theirs = self.modulation(made), self.modulation(real)
        return (ours - theirs).abs().mean() / theirs.mean()
