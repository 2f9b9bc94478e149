"""Makes sound faster or slower at the same pitch, piece by piece: FFmpeg's `atempo` (WSOLA), through PyAV."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Final

import av
import numpy as np

from streamer.audio.samples import Samples
from streamer.errors import AudioEncodeError

_MIN_STEP: Final = 0.5
_MAX_STEP: Final = 2.0
"""What one `atempo` does without leaving anything out; beyond that two of them share it."""

_FRAMES_PER_S: Final = 50
"""How finely sound is given to `atempo`, which otherwise holds back as much as it was given at once."""


class TempoFilter:
    """Changes the tempo of one sound. It holds back less than a tenth of a second, for each step, until `finish`."""

    def __init__(self, sample_rate_hz: int, tempo: float) -> None:
        self._sample_rate_hz = sample_rate_hz
        self._frame_size = sample_rate_hz // _FRAMES_PER_S
        self._num_samples = 0
        steps = [tempo] if _MIN_STEP <= tempo <= _MAX_STEP else [tempo**0.5] * 2
        try:
            self._graph = av.filter.Graph()
            source = self._graph.add_abuffer(
                sample_rate=sample_rate_hz, format="flt", layout="mono", time_base=Fraction(1, sample_rate_hz)
            )
            filters = [source, *(self._graph.add("atempo", f"{step:.6f}") for step in steps)]
            filters.append(self._graph.add("abuffersink"))
            for before, after in itertools.pairwise(filters):
                before.link_to(after)
            self._graph.configure()
        except av.FFmpegError as error:
            raise AudioEncodeError(f"FFmpeg refused the tempo {tempo:g}: {error}") from error

    def push(self, samples: Samples) -> Samples:
        """Add sound and return what is ready. float32 [num_samples]"""
        for start in range(0, len(samples), self._frame_size):
            piece = samples[start : start + self._frame_size]
            frame = av.AudioFrame.from_ndarray(piece[np.newaxis], format="flt", layout="mono")
            frame.sample_rate = self._sample_rate_hz
            frame.pts = self._num_samples
            self._num_samples += len(piece)
            self._graph.push(frame)
        return self._pull()

    def finish(self) -> Samples:
        """Return the rest. Call it once."""
        self._graph.push(None)
        return self._pull()

    def _pull(self) -> Samples:
        pieces = [np.zeros(0, np.float32)]
        try:
            while True:
                pieces.append(self._graph.pull().to_ndarray()[0])
        except (av.BlockingIOError, av.EOFError):  # it wants more, or there is no more
            return np.concatenate(pieces)
        except av.FFmpegError as error:
            raise AudioEncodeError(f"FFmpeg could not change the tempo: {error}") from error
