"""Simulates a client without a buffer: when each sample plays, where playback stalls, and what is audible."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import opuslib_next

from streamer.loadtest.client import Recording

ENCODINGS: Final = ("opus", "pcm_s16le")
"""The encodings that can be decoded here; the first is the default."""
AUDIBLE_DBFS: Final = -45.0
WINDOW_MS: Final = 10
"""The length of the windows over which loudness, a root mean square, is measured."""
_HEADER: Final = struct.Struct("!BBHIi")
"""The header in docs/protocol.md, with a signed timestamp, because the first one may be negative."""
_TICKS_HZ: Final = 48_000
Decoded = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet as received; `position_s` is where its audio begins, from the first sample after the pre-skip."""

    arrived_s: float
    position_s: float
    payload: bytes


@dataclass(frozen=True, slots=True)
class Playout:
    """Playback that starts with the first packet, without a buffer: it stalls if a packet is late, and continues."""

    first_s: float
    """The time at which the first sample plays: its packet's arrival."""
    gaps: tuple[tuple[float, float], ...]
    """The (position in the audio, length) of each stall, in seconds."""

    def plays_s(self, position_s: float) -> float:
        """Return the time at which a position of the audio is heard."""
        return self.first_s + position_s + sum(length for at, length in self.gaps if at <= position_s)

    @property
    def longest_gap_s(self) -> float:
        return max((length for _, length in self.gaps), default=0.0)

    @property
    def stopped_s(self) -> float:
        """The length of all stalls together: a buffer of that length would have prevented each of them."""
        return sum(length for _, length in self.gaps)


def packets_of(recording: Recording) -> list[Packet]:
    """Return the packets that contain audio, in the order of the stream."""
    packets = []
    for arrived_s, frame in recording.frames:
        if len(frame) > _HEADER.size:
            timestamp = _HEADER.unpack_from(frame)[4]  # signed: Opus begins before the sound does
            packets.append(Packet(arrived_s, max(timestamp, 0) / _TICKS_HZ, frame[_HEADER.size :]))
    return packets


def play(packets: Sequence[Packet]) -> Playout:
    """Play one or more packets without a buffer."""
    first_s = packets[0].arrived_s
    delay_s = first_s - packets[0].position_s
    gaps = []
    for packet in packets:
        late_s = packet.arrived_s - (packet.position_s + delay_s)
        if late_s > 0:
            gaps.append((packet.position_s, late_s))
            delay_s += late_s
    return Playout(first_s, tuple(gaps))


def leading_silence_s(packets: Sequence[Packet], started: dict[str, Any]) -> float | None:
    """Return the seconds before the first window as loud as `AUDIBLE_DBFS`, or None if there is no such window."""
    rate_hz = int(started["sample_rate"])
    size = rate_hz * WINDOW_MS // 1000
    threshold = 10 ** (AUDIBLE_DBFS / 20)
    skipped = int(started["pre_skip"]) * rate_hz // _TICKS_HZ
    rest, num_before = np.zeros(0, np.float32), 0
    for piece in _decoded(packets, started):
        new, skipped = piece[skipped:], max(0, skipped - len(piece))
        rest = np.concatenate([rest, new])
        num_windows = len(rest) // size
        windows = rest[: num_windows * size].reshape(num_windows, size)
        loud = np.flatnonzero(np.sqrt(np.mean(windows**2, axis=1)) >= threshold)
        if loud.size:
            return float(num_before + loud[0] * size) / rate_hz
        rest, num_before = rest[num_windows * size :], num_before + num_windows * size
    return None


def _decoded(packets: Sequence[Packet], started: dict[str, Any]) -> Iterator[Decoded]:
    """Yield each packet's samples, float32 [num_samples], pre-skip included."""
    rate_hz = int(started["sample_rate"])
    if started["encoding"] == "pcm_s16le":
        for packet in packets:
            yield np.frombuffer(packet.payload, "<i2").astype(np.float32) / np.float32(32768)
        return
    decoder = opuslib_next.Decoder(rate_hz, 1)
    frame_size = rate_hz * int(started["frame_ms"]) // 1000
    for packet in packets:
        yield np.frombuffer(decoder.decode_float(packet.payload, frame_size), np.float32)
