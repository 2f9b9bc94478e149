"""Makes sound faster or slower at the same pitch, piece by piece: FFmpeg's `atempo` (WSOLA), through PyAV.

`speech/assembler` gives each sentence a filter of its own, so that the pauses between them stay what they are.
"""

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
_PADDING_S: Final = 0.2
"""The silence behind the sound that pushes its last moments out of `atempo`, which keeps up to 0.1 s for each step."""


class TempoFilter:
    """Changes the tempo of one sound, which then lasts exactly as long as it did, divided by `tempo`.

    It holds back less than a tenth of a second, for each step, until `finish`. How the sound is cut into pieces makes
    no difference. Raises `AudioEncodeError` if FFmpeg cannot do it.
    """

    def __init__(self, sample_rate_hz: int, tempo: float) -> None:
        self._sample_rate_hz = sample_rate_hz
        self._tempo = tempo
        self._frame_size = sample_rate_hz // _FRAMES_PER_S
        self._num_in = 0  # samples of the sound
        self._num_pushed = 0  # with those of the padding
        self._num_out = 0
        self._rest = np.zeros(0, np.float32)
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
        except (av.FFmpegError, ValueError) as error:  # the latter from a build of FFmpeg without the filter
            raise AudioEncodeError(f"FFmpeg refused the tempo {tempo:g}: {error}") from error

    def push(self, samples: Samples) -> Samples:
        """Add sound and return what is ready. float32 [num_samples]"""
        self._push(samples)
        self._num_in += len(samples)
        return self._counted(self._pull())

    def finish(self) -> Samples:
        """Return the rest. Call it once."""
        num_left = round(self._num_in / self._tempo) - self._num_out
        if num_left <= 0:
            return np.zeros(0, np.float32)
        self._push(np.zeros(round(_PADDING_S * self._sample_rate_hz * max(1.0, self._tempo)), np.float32))
        self._graph.push(None)
        rest = self._pull()[:num_left]
        return self._counted(np.concatenate([rest, np.zeros(num_left - len(rest), np.float32)]))

    def _push(self, samples: Samples) -> None:
        """Push whole frames: `atempo` gives other samples, by a little, for frames of other lengths."""
        samples = np.concatenate([self._rest, samples])
        end = len(samples) - len(samples) % self._frame_size
        self._rest = samples[end:]
        for start in range(0, end, self._frame_size):
            piece = samples[start : start + self._frame_size]
            frame = av.AudioFrame.from_ndarray(piece[np.newaxis], format="flt", layout="mono")
            frame.sample_rate = self._sample_rate_hz
            frame.pts = self._num_pushed
            self._num_pushed += len(piece)
            self._graph.push(frame)

    def _pull(self) -> Samples:
        pieces = [np.zeros(0, np.float32)]
        try:
            while True:
                pieces.append(self._graph.pull().to_ndarray()[0])
        except (av.BlockingIOError, av.EOFError):  # it wants more, or there is no more
            return np.concatenate(pieces)
        except av.FFmpegError as error:
            raise AudioEncodeError(f"FFmpeg could not change the tempo: {error}") from error

    def _counted(self, samples: Samples) -> Samples:
        self._num_out += len(samples)
        return samples
