"""Recordings made by hand, of what a server sent and when; for the tests of the load test."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from streamer.loadtest.client import Outcome, Recording

STARTED = {"encoding": "pcm_s16le", "sample_rate": 24_000, "pre_skip": 0, "frame_ms": 20}


def frame(index: int, samples: npt.NDArray[np.float64]) -> bytes:
    """Pack a packet of the native protocol, whose position is `index` times 20 ms."""
    header = struct.pack("!BBHIi", 1, 0, 1, index, index * 960)
    return header + (samples * 32767).astype("<i2").tobytes()


def recording(
    arrivals_s: Sequence[float], *, due_s: float = 0.0, num_silent: int = 0, outcome: Outcome = "served"
) -> Recording:
    """Return a recording of packets of 20 ms that arrived at these moments, the first ones silent."""
    made = Recording(due_s, sent_s=due_s, ended_s=arrivals_s[-1], outcome=outcome, started=STARTED)
    made.frames = [
        (moment, frame(index, np.full(480, 0.0 if index < num_silent else 0.2)))
        for index, moment in enumerate(arrivals_s)
    ]
    return made
