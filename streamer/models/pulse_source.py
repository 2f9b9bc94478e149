"""What a small decoder need not invent: pulses at the pitch that the codes tell, and noise; `codec` mixes them in.

EnCodec has no such source, and Suno's codec uses none. A decoder whose codes say nothing of phase must otherwise make
up where a voice's pulses lie, which costs it its clearness (docs/decisions/0016). Every sample follows from the
codes so far and its place in the sentence, by sums of whole numbers: chunks are exactly the whole.

Source of the idea: Wang, Takaki, Yamagishi, "Neural source-filter waveform models" (2019).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from streamer.models.vocabulary import CodecConfig

NUM_CHANNELS = 2
"""Pulses, and noise."""
NUM_PAST = 8
"""Samples before its own that each step of a mixed-in layer hears."""
PULSE_WIDTH_HZ = 4_000.0
"""A pulse is a bell whose spectrum is a bell of this width."""
PULSE_GAIN = 3.0
LOWEST_HZ, HIGHEST_HZ = 40.0, 600.0
CYCLE = 1 << 32
"""Phases and noise are whole numbers below this."""


@dataclass(slots=True)
class PulseSourceState:
    """Of all slots: the last frame's control [slots, 2], phase and place [slots], the last samples [slots, 2, past]."""

    control: Tensor
    phase: Tensor
    place: Tensor
    tail: Tensor


class PulseSource(nn.Module):
    """Frames' vectors [rows, dimension, frames] to pulses and noise [rows, 2, frames * hop]."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.control = nn.Conv1d(config.dimension, 2, 1)  # the log of the pitch in hertz, and how voiced
        self.hop_samples = config.hop_samples
        self.sample_rate_hz = config.sample_rate_hz

    def initial_state(self, num_slots: int) -> PulseSourceState:
        numbers = self.control.weight.new_zeros(num_slots, dtype=torch.int64)
        return PulseSourceState(
            self.control.weight.new_zeros(num_slots, 2),
            numbers,
            numbers.clone(),
            self.control.weight.new_zeros(num_slots, NUM_CHANNELS, NUM_PAST),
        )

    def forward(
        self,
        x: Tensor,
        *,
        phase: Tensor | None = None,
        place: Tensor | None = None,
        bend: Tensor | None = None,
    ) -> Tensor:
        """The whole, from phase and place 0; a training may give others, and the cycles [rows, frames] to bend by."""
        hz, voiced = self.pitch(self.control(x), None)
        start = x.new_zeros(x.shape[0], dtype=torch.int64)
        phases = self._phases(hz, start if phase is None else phase, bend)
        return self._excitation(hz, voiced, phases, start if place is None else place)

    def step(self, x: Tensor, state: PulseSourceState, slots: Tensor, *, first: bool) -> Tensor:
        """The next frames, after the last `NUM_PAST` samples of those before: [rows, 2, past + frames * hop]."""
        control = self.control(x)
        if first:
            state.phase[slots], state.place[slots], state.tail[slots] = 0, 0, 0
        hz, voiced = self.pitch(control, None if first else state.control[slots])
        phases = self._phases(hz, state.phase[slots], None)
        made = self._excitation(hz, voiced, phases, state.place[slots])
        state.control[slots], state.phase[slots] = control[:, :, -1], phases[:, -1]
        state.place[slots] += made.shape[2]
        made = torch.cat([state.tail[slots], made], dim=2)
        state.tail[slots] = made[:, :, -NUM_PAST:]
        return made

    def pitch(self, control: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """Hertz and voicing from 0 to 1 of every sample, [rows, samples] each: on a line from frame to frame.

        `control` is [rows, 2, frames], `before` [rows, 2] the frame's before. Into and out of voicing the pitch stays.
        """
        first = control[:, :, :1] if before is None else before[:, :, None]
        control = torch.cat([first, control], dim=2)
        hz = control[:, 0].exp().clamp(LOWEST_HZ, HIGHEST_HZ)
        voiced = control[:, 1].clamp(0, 1)
        is_voiced = voiced > 0.5
        begin = torch.where(is_voiced[:, :-1], hz[:, :-1], hz[:, 1:])
        end = torch.where(is_voiced[:, 1:], hz[:, 1:], begin)
        return self._line(begin, end), self._line(voiced[:, :-1], voiced[:, 1:])

    def _line(self, begin: Tensor, end: Tensor) -> Tensor:
        """[rows, frames] at frames' begins and ends to [rows, samples]."""
        way = torch.arange(1, self.hop_samples + 1, device=begin.device, dtype=begin.dtype) / self.hop_samples
        return (begin[:, :, None] + (end - begin)[:, :, None] * way).flatten(1)

    def _phases(self, hz: Tensor, start: Tensor, bend: Tensor | None) -> Tensor:
        """The phase of every sample, [rows, samples] in 1 / CYCLE of a cycle: rounded once a sample, summed exactly."""
        cycles = hz / self.sample_rate_hz
        if bend is not None:
            cycles = cycles + (bend / self.hop_samples).repeat_interleave(self.hop_samples, dim=1)
        steps = (cycles * CYCLE).round().to(torch.int64)
        return (start[:, None] + steps.cumsum(dim=1)) & (CYCLE - 1)

    def _excitation(self, hz: Tensor, voiced: Tensor, phases: Tensor, place: Tensor) -> Tensor:
        half_turns = phases.to(hz.dtype) * (torch.pi / CYCLE)
        pulses = (-2 * (PULSE_WIDTH_HZ / hz).square() * half_turns.sin().square()).exp()
        places = place[:, None] + torch.arange(hz.shape[1], device=hz.device)
        return torch.stack([PULSE_GAIN * pulses * voiced, _noise(places).to(hz.dtype)], dim=1)


class SourceMix(nn.Module):
    """Adds the source to a layer's output, whose rate is the source's divided by `stride`."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(NUM_CHANNELS, channels, stride + NUM_PAST, stride)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """x [rows, channels, length]; source [rows, 2, past + length * stride], see `with_past`."""
        mixed: Tensor = x + self.conv(source)
        return mixed


def with_past(source: Tensor) -> Tensor:
    """Silence before a sentence's first sample, as `PulseSource.step` gives it."""
    return functional.pad(source, (NUM_PAST, 0))


def _noise(places: Tensor) -> Tensor:
    """White noise in [-1, 1), a function of the place alone.

    The finalizer of MurmurHash3 (A. Appleby, public domain).
    """
    x = places & (CYCLE - 1)
    x = ((x ^ (x >> 16)) * 0x85EBCA6B) & (CYCLE - 1)
    x = ((x ^ (x >> 13)) * 0xC2B2AE35) & (CYCLE - 1)
    return (x ^ (x >> 16)).double() / (CYCLE // 2) - 1
