"""What a listener without a buffer hears of a recording: when each sample plays, where it stops, what is audible."""

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
"""Those that can be decoded here."""
AUDIBLE_DBFS: Final = -45.0
WINDOW_MS: Final = 10
"""Loudness is the root of the mean square over so long a window."""
_HEADER: Final = struct.Struct("!BBHIi")
"""As `docs/protocol.md` has it; the timestamp is read as signed, for the first may be negative."""
_TICKS_HZ: Final = 48_000
Decoded = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet as it came. `position_s`: where in the sound it begins, 0 being the first sample after pre-skip."""

    arrived_s: float
    position_s: float
    payload: bytes


@dataclass(frozen=True, slots=True)
class Playout:
    """A player that starts at the first sample and keeps no buffer: it stops where a packet is late, then goes on."""

    first_s: float
    """The moment the first sample plays: its packet's arrival."""
    gaps: tuple[tuple[float, float], ...]
    """(position in the sound, length) of each stop, in seconds."""

    def plays_s(self, position_s: float) -> float:
        """The moment a position of the sound is heard."""
        return self.first_s + position_s + sum(length for at, length in self.gaps if at <= position_s)

    @property
    def longest_gap_s(self) -> float:
        return max((length for _, length in self.gaps), default=0.0)

    @property
    def stopped_s(self) -> float:
        """All stops together: as much buffer would have spared the listener every one of them."""
        return sum(length for _, length in self.gaps)


def packets_of(recording: Recording) -> list[Packet]:
    """The packets with sound, in the order of the stream."""
    packets = []
    for arrived_s, frame in recording.frames:
        if len(frame) > _HEADER.size:
            timestamp = _HEADER.unpack_from(frame)[4]  # signed: Opus begins before the sound does
            packets.append(Packet(arrived_s, max(timestamp, 0) / _TICKS_HZ, frame[_HEADER.size :]))
    return packets


def play(packets: Sequence[Packet]) -> Playout:
    """Play at least one packet without a buffer."""
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
    """Sound before the first window that is as loud as `AUDIBLE_DBFS`; None where nothing is."""
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
    """Each packet's samples: float32 [num_samples], pre-skip included."""
    rate_hz = int(started["sample_rate"])
    if started["encoding"] == "pcm_s16le":
        for packet in packets:
            yield np.frombuffer(packet.payload, "<i2").astype(np.float32) / np.float32(32768)
        return
    decoder = opuslib_next.Decoder(rate_hz, 1)
    frame_size = rate_hz * int(started["frame_ms"]) // 1000
    for packet in packets:
        yield np.frombuffer(decoder.decode_float(packet.payload, frame_size), np.float32)
