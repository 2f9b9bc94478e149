"""The 12-byte header before each packet of sound, in network order; `docs/protocol.md` gives its fields."""

from __future__ import annotations

import struct

VERSION = 1
FIRST_OF_SENTENCE = 1
END_OF_UTTERANCE = 2
_HEADER = struct.Struct("!BBHII")
HEADER_BYTES = _HEADER.size


def audio_frame(flags: int, stream: int, sequence: int, timestamp: int, payload: bytes) -> bytes:
    """One binary message. `timestamp`: samples at 48 kHz after pre-skip; sent modulo 2^32."""
    header = _HEADER.pack(VERSION, flags, stream, sequence & 0xFFFFFFFF, timestamp & 0xFFFFFFFF)
    return header + payload
