"""The 12-byte header before each packet of sound, in network order; `docs/protocol.md` gives its fields."""

from __future__ import annotations

import struct
from dataclasses import dataclass

VERSION = 1
FIRST_OF_SENTENCE = 1
END_OF_UTTERANCE = 2
_HEADER = struct.Struct("!BBHII")
HEADER_BYTES = _HEADER.size


@dataclass(frozen=True, slots=True)
class AudioFrame:
    """One binary message. `timestamp`: samples at 48 kHz after pre-skip; sent modulo 2^32."""

    flags: int
    stream: int
    sequence: int
    timestamp: int
    payload: bytes

    def to_bytes(self) -> bytes:
        header = _HEADER.pack(
            VERSION, self.flags, self.stream, self.sequence & 0xFFFFFFFF, self.timestamp & 0xFFFFFFFF
        )
        return header + self.payload
