#!/usr/bin/env bash
# FFmpeg's atempo, as PyAV carries it, makes a sound of another length than asked, and of a short one nothing at all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet av==18.1.0 numpy==2.3.5
"$folder/venv/bin/python" - <<'PY'
import sys
from fractions import Fraction

import av
import numpy as np

RATE_HZ = 24_000
print("PyAV", av.__version__, "libavfilter", av.library_versions["libavfilter"])


def changed(num_samples, tempo, frame):
    """Push a sine through atempo in frames of `frame` samples, with the end of the stream behind it."""
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=RATE_HZ, format="flt", layout="mono", time_base=Fraction(1, RATE_HZ))
    nodes = [source, graph.add("atempo", str(tempo)), graph.add("abuffersink")]
    for before, after in zip(nodes, nodes[1:]):
        before.link_to(after)
    graph.configure()
    sound = (0.3 * np.sin(2 * np.pi * 220 * np.arange(num_samples) / RATE_HZ)).astype(np.float32)
    made = []

    def pull():
        while True:
            try:
                made.append(graph.pull().to_ndarray().ravel())
            except (av.error.BlockingIOError, av.error.EOFError):
                return

    for first in range(0, num_samples, frame):
        piece = av.AudioFrame.from_ndarray(sound[None, first : first + frame], format="flt", layout="mono")
        piece.sample_rate, piece.pts = RATE_HZ, first
        graph.push(piece)
        pull()
    graph.push(None)
    pull()
    return np.concatenate(made) if made else np.zeros(0, np.float32)


worst, vanished, differ = 0.0, 0, 0
for seconds in (1.0, 0.2, 0.1, 0.05, 0.02):
    for tempo in (0.5, 0.8, 1.25, 2.0):
        num_samples = round(seconds * RATE_HZ)
        small, large = changed(num_samples, tempo, 240), changed(num_samples, tempo, num_samples)
        off_ms = 1000 * (len(small) - num_samples / tempo) / RATE_HZ
        is_equal = len(small) == len(large) and bool(np.array_equal(small, large))
        told = f"{1000 * seconds:5.0f} ms at tempo {tempo}: {1000 * num_samples / tempo / RATE_HZ:6.1f} ms asked, "
        print(told + f"{1000 * len(small) / RATE_HZ:6.1f} ms made, frames of another length give {'the same' if is_equal else 'other'} samples")
        vanished += not len(small)
        worst = max(worst, abs(off_ms))
        differ += not is_equal
print(f"off by up to {worst:.1f} ms; {vanished} sounds became nothing; {differ} depend on how they were cut into frames")
sys.exit(not (worst > 15 and vanished >= 4 and differ >= 4))
PY
