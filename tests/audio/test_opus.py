"""A packet of Opus tells how long it lasts."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.audio.opus import OpusFrames, packet_duration


@pytest.mark.parametrize("bitrate", [6_000, 12_000, 32_000, 128_000])
@pytest.mark.parametrize("sample_rate_hz", [8_000, 16_000, 24_000, 48_000])
@pytest.mark.parametrize("frame_ms", [10, 20, 40, 60])
def test_a_packet_tells_its_length(bitrate: int, sample_rate_hz: int, frame_ms: int) -> None:
    """In every mode of the encoder, also if it takes several frames for one packet."""
    frames = OpusFrames(sample_rate_hz, bitrate)
    noise = np.random.default_rng(0).normal(0, 0.1, sample_rate_hz * frame_ms // 1000).astype(np.float32)
    for _ in range(3):
        assert packet_duration(frames.encode(noise), 48_000) == 48 * frame_ms
