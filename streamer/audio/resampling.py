"""Converts sound from the model's sampling rate to the one a client wants, chunk by chunk and without seams."""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import Final

import numpy as np
import numpy.typing as npt

from streamer.audio.samples import Samples

_ZERO_CROSSINGS: Final = 24
"""The zero crossings of the filter on each side, which make 1 to 3 ms of delay."""
_PASSBAND: Final = 0.9
"""The filter's cutoff, as a part of the lower rate's Nyquist frequency."""
_KAISER_BETA: Final = 8.0
"""The shape of the filter's window."""


class Resampler:
    """A polyphase filter for one stream: a windowed sinc with linear phase, whose delay is taken out.

    All pieces together have ceil(num_samples * output / input) samples. How the input is cut makes no difference. Sound
    comes out in whole cycles, of 1/300 s at 44.1 kHz and 1/150 s at 22.05 kHz; at the other rates they are shorter.
    """

    def __init__(self, input_hz: int, output_hz: int) -> None:
        divisor = gcd(input_hz, output_hz)
        self._up, self._down = output_hz // divisor, input_hz // divisor
        # Each output sample sees `reach` inputs on either side; further away for a lower cutoff.
        reach = -(-_ZERO_CROSSINGS * max(self._up, self._down) // self._up)
        self._cycle = _cycle(self._up, self._down, reach)  # [down + 2 * reach + 1, up]
        self._inputs: npt.NDArray[np.float64] = np.zeros(reach)
        self._num_in = 0
        self._num_out = 0

    def push(self, samples: Samples) -> Samples:
        """Add input; returns the output that no later input can change."""
        if self._up == self._down:
            return samples
        self._num_in += len(samples)
        return self._advance(samples)

    def finish(self) -> Samples:
        """Return the rest of the output, as if the input were followed by silence."""
        if self._up == self._down:
            return np.zeros(0, np.float32)
        num_left = -(-self._num_in * self._up // self._down) - self._num_out
        return self._advance(np.zeros(len(self._cycle) + self._down, np.float32))[:num_left]

    def _advance(self, samples: Samples) -> Samples:
        self._inputs = np.concatenate([self._inputs, samples])
        num_cycles = (len(self._inputs) - len(self._cycle)) // self._down + 1
        if num_cycles <= 0:
            return np.zeros(0, np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(self._inputs, len(self._cycle))
        outputs = (windows[:: self._down][:num_cycles] @ self._cycle).reshape(-1).astype(np.float32)
        self._num_out += len(outputs)
        self._inputs = self._inputs[num_cycles * self._down :]
        return np.clip(outputs, -1.0, 1.0, out=outputs)  # a filter overshoots


@lru_cache(maxsize=32)
def _cycle(up: int, down: int, reach: int) -> npt.NDArray[np.float64]:
    """What `up` outputs are made of: the weights of `down` inputs and their neighbours. [down + 2 * reach + 1, up]

    All streams at the same rates read the same array.
    """
    phases = _polyphase(up, down, reach)
    cycle = np.zeros((down + 2 * reach + 1, up))
    for output in range(up):
        centre, phase = divmod(output * down, up)
        cycle[centre : centre + 2 * reach + 1, output] = phases[phase]
    cycle.flags.writeable = False
    return cycle


def _polyphase(up: int, down: int, reach: int) -> npt.NDArray[np.float64]:
    """The filter's weights for each phase of the output between two inputs. [up, 2 * reach + 1]"""
    cutoff = _PASSBAND / max(up, down)  # of the Nyquist frequency of the rate `input * up`
    half = reach * up
    offsets = np.arange(up)[:, None] - np.arange(-reach, reach + 1)[None, :] * up
    window = np.i0(_KAISER_BETA * np.sqrt(np.clip(1 - (offsets / half) ** 2, 0, None))) / np.i0(_KAISER_BETA)
    weights = np.where(np.abs(offsets) <= half, np.sinc(cutoff * offsets) * window, 0.0)
    scaled: npt.NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return scaled
