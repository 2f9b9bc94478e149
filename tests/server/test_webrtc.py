"""A track's timestamps follow packets while they come, and the clock through pauses."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.audio.opus import OpusFrames
from streamer.server.webrtc import MAX_PACKETS, PacketTrack, WebRtcConnection


def packet(frame_ms: int = 20) -> bytes:
    return OpusFrames(24_000, 32_000).encode(np.zeros(24 * frame_ms, np.float32))


@pytest.mark.parametrize(
    ("sent_ms", "expected_ms"),
    [
        ([0, 0, 0], [0, 20, 40]),  # made faster than it plays
        ([0, 19, 41], [0, 20, 41]),
        ([5, 25, 45], [5, 25, 45]),
        ([0, 0, 1000, 1000], [0, 20, 1000, 1020]),  # a pause between utterances
        ([0, 500, 510], [0, 500, 520]),  # a late packet
    ],
)
async def test_timestamps_continue_and_jump_over_pauses(sent_ms: list[int], expected_ms: list[int]) -> None:
    now_s = 100.0
    track = PacketTrack(lambda: now_s)
    payload, timestamps_ms = packet(), []
    for moment_ms in sent_ms:
        now_s = 100.0 + moment_ms / 1000
        track.put(payload)
        received = await track.recv()
        assert bytes(received) == payload and received.time_base.denominator == 48_000
        timestamps_ms.append(received.pts / 48)
    assert timestamps_ms == expected_ms


@pytest.mark.parametrize("frame_ms", [10, 20, 40, 60])
async def test_a_packet_lasts_as_long_as_it_says(frame_ms: int) -> None:
    """Its length is read from the packet, whatever the client has asked for."""
    track = PacketTrack(lambda: 0.0)
    for _ in range(2):
        track.put(packet(frame_ms))
    assert [(await track.recv()).pts for _ in range(2)] == [0, 48 * frame_ms]


async def test_packets_that_nobody_takes_do_not_pile_up() -> None:
    """The latest are kept, with the time at which they are to be heard."""
    track = PacketTrack(lambda: 0.0)
    for _ in range(MAX_PACKETS + 5):
        track.put(packet())
    assert (await track.recv()).pts == 5 * 960


async def test_messages_without_a_data_channel_are_kept_and_bounded() -> None:
    """Each is returned once; the oldest of too many are dropped."""
    connection = WebRtcConnection()
    connection.try_send_all([str(number) for number in range(300)])
    kept = connection.take_kept()
    assert (kept[0], kept[-1], len(kept)) == ("44", "299", 256)
    assert connection.take_kept() == ()
    await connection.close()
