"""Converts sound from the model's sampling rate to the one a client wants, chunk by chunk and without seams."""

from __future__ import annotations

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

    All pieces together have ceil(num_samples * output / input) samples. How the input is cut makes no difference.
    """

    def __init__(self, input_hz: int, output_hz: int) -> None:
        divisor = gcd(input_hz, output_hz)
        self._up, self._down = output_hz // divisor, input_hz // divisor
        # Each output sample sees `reach` inputs on either side; further away for a lower cutoff.
        self._reach = -(-_ZERO_CROSSINGS * max(self._up, self._down) // self._up)
        self._weights = _polyphase(self._up, self._down, self._reach)  # [up, 2 * reach + 1]
        self._inputs: npt.NDArray[np.float64] = np.zeros(self._reach)
        self._first_input = -self._reach  # position of _inputs[0] in the stream
        self._num_in = 0
        self._num_out = 0

    def push(self, samples: Samples) -> Samples:
        """Add input; returns the output that no later input can change."""
        if self._up == self._down:
            return samples
        self._num_in += len(samples)
        self._inputs = np.concatenate([self._inputs, samples])
        # Output o is settled once all it sees is there: floor(o * down / up) + reach < num_in.
        num_settled = max(0, self._num_in - self._reach)
        return self._advance(-(-num_settled * self._up // self._down))

    def finish(self) -> Samples:
        """Return the rest of the output, as if the input were followed by silence."""
        if self._up == self._down:
            return np.zeros(0, np.float32)
        self._inputs = np.concatenate([self._inputs, np.zeros(self._reach + 1)])
        return self._advance(-(-self._num_in * self._up // self._down))

    def _advance(self, num_out: int) -> Samples:
        if num_out <= self._num_out:
            return np.zeros(0, np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(self._inputs, 2 * self._reach + 1)
        outputs = np.empty(num_out - self._num_out, np.float32)
        for start in range(min(self._up, len(outputs))):
            # Every `up`-th output has the same phase, and looks `down` inputs further than the one before.
            centre, phase = divmod((self._num_out + start) * self._down, self._up)
            phase_outputs = outputs[start :: self._up]
            seen = windows[centre - self._reach - self._first_input :: self._down][: len(phase_outputs)]
            phase_outputs[:] = np.einsum("ot,t->o", seen, self._weights[phase])
        self._num_out = num_out
        next_first = num_out * self._down // self._up - self._reach
        self._inputs = self._inputs[next_first - self._first_input :]
        self._first_input = next_first
        return np.clip(outputs, -1.0, 1.0, out=outputs)  # a filter overshoots


def _polyphase(up: int, down: int, reach: int) -> npt.NDArray[np.float64]:
    """The filter's weights for each phase of the output between two inputs. [up, 2 * reach + 1]"""
    cutoff = _PASSBAND / max(up, down)  # of the Nyquist frequency of the rate `input * up`
    half = reach * up
    offsets = np.arange(up)[:, None] - np.arange(-reach, reach + 1)[None, :] * up
    window = np.i0(_KAISER_BETA * np.sqrt(np.clip(1 - (offsets / half) ** 2, 0, None))) / np.i0(_KAISER_BETA)
    weights = np.where(np.abs(offsets) <= half, np.sinc(cutoff * offsets) * window, 0.0)
    scaled: npt.NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return scaled
