"""How loud a sound is over time, measured while it is being made."""

from __future__ import annotations

from typing import Final

import numpy as np

from streamer.audio.samples import Samples

FRAMES_PER_S: Final = 100
"""The loudness is measured in steps of 10 ms."""
QUIET: Final = 0.02
"""What is quieter than this part of the loudest moment (-34 dB) may be a pause: it holds breath and a model's hiss."""


class LevelMeter:
    """Measures one sound piece by piece; it may be cut anywhere."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._frame_size = sample_rate_hz // FRAMES_PER_S
        self._rest: Samples = np.zeros(0, np.float32)
        self._peaks: list[Samples] = []

    def add(self, samples: Samples) -> None:
        """Take the next piece of the sound."""
        sound = np.concatenate([self._rest, samples])
        end = len(sound) - len(sound) % self._frame_size
        self._rest = sound[end:].copy()
        if end:
            self._peaks.append(np.abs(sound[:end].reshape(-1, self._frame_size)).max(axis=1))

    def peaks(self) -> Samples:
        """The largest value of every whole frame so far. [num_frames]"""
        return np.concatenate([np.zeros(0, np.float32), *self._peaks])

    def is_loud(self, floor: float = 0.0) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Whether each whole frame is louder than a pause of this sound, and than `floor`. [num_frames]"""
        peaks = self.peaks()
        loud: np.ndarray[tuple[int], np.dtype[np.bool_]] = peaks > max(floor, QUIET * peaks.max(initial=0.0))
        return loud
