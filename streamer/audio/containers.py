"""Ogg pages (RFC 3533, RFC 7845) and WAV headers, for sound that is sent while it is being made."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from streamer.audio.pcm import to_int16
from streamer.audio.samples import Samples
from streamer.whole_files import write_whole

UNKNOWN_SIZE: Final = 0xFFFFFFFF
_BEGIN_OF_STREAM: Final = 2
_END_OF_STREAM: Final = 4
_CRC_POLYNOMIAL: Final = 0x04C11DB7
_VENDOR: Final = b"streamer"
_WAV_FORMATS: Final = {"pcm_s16le": (1, 2), "pcm_f32le": (3, 4), "alaw": (6, 1), "mulaw": (7, 1)}
"""The format tag and the bytes of a sample of what a WAV file may hold (RFC 2361)."""


class OggOpusPages:
    """Writes one logical Ogg stream of mono Opus packets.

    `serial` tells streams apart that are chained or multiplexed. `pre_skip` is in samples at 48 kHz.
    """

    def __init__(self, *, serial: int, pre_skip: int, input_rate_hz: int) -> None:
        self._serial = serial
        self._pre_skip = pre_skip
        self._input_rate_hz = input_rate_hz
        self._num_pages = 0

    def headers(self) -> bytes:
        """Return the two header pages, which come before any sound."""
        head = struct.pack("<8sBBHIhB", b"OpusHead", 1, 1, self._pre_skip, self._input_rate_hz, 0, 0)
        tags = struct.pack("<8sI", b"OpusTags", len(_VENDOR)) + _VENDOR + struct.pack("<I", 0)
        return self._page([head], 0, _BEGIN_OF_STREAM) + self._page([tags], 0, 0)

    def page(self, packets: Sequence[bytes], granule: int, *, is_last: bool = False) -> bytes:
        """Make one page of whole packets.

        `granule` counts samples at 48 kHz, pre-skip included, up to the end of the last packet. On the last page it is
        less, which tells how much of the padding a player has to drop.
        """
        return self._page(packets, granule, _END_OF_STREAM if is_last else 0)

    def _page(self, packets: Sequence[bytes], granule: int, flags: int) -> bytes:
        lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
        if len(lacing) > 255:
            raise ValueError(f"{len(packets)} packets do not fit into one page")
        fields = (b"OggS", 0, flags, granule, self._serial, self._num_pages, 0, len(lacing))
        page = bytearray(struct.pack("<4sBBqIIIB", *fields) + lacing + b"".join(packets))
        struct.pack_into("<I", page, 22, _crc(page))
        self._num_pages += 1
        return bytes(page)


def wav_header(sample_rate_hz: int, num_bytes: int | None = None, encoding: str = "pcm_s16le") -> bytes:
    """Make the 44 bytes before mono sound of `num_bytes`, or None if that is not known yet.

    The sizes of a live stream are 0xFFFFFFFF, which players and ffmpeg read as "until the end".
    """
    tag, sample_bytes = _WAV_FORMATS[encoding]
    riff_size, data_size = UNKNOWN_SIZE, UNKNOWN_SIZE
    if num_bytes is not None:
        riff_size, data_size = num_bytes + 36, num_bytes
    format_fields = (
        16,
        tag,
        1,
        sample_rate_hz,
        sample_rate_hz * sample_bytes,
        sample_bytes,
        8 * sample_bytes,
    )
    return (
        struct.pack("<4sI4s", b"RIFF", riff_size, b"WAVE")
        + struct.pack("<4sIHHIIHH", b"fmt ", *format_fields)
        + struct.pack("<4sI", b"data", data_size)
    )


def wav_file(samples: Samples, sample_rate_hz: int) -> bytes:
    """Return a complete WAV file with exact sizes."""
    pcm = to_int16(samples).tobytes()
    return wav_header(sample_rate_hz, len(pcm)) + pcm


def write_wav(path: Path, samples: Samples, sample_rate_hz: int) -> None:
    """Write a complete WAV file."""
    write_whole(path, wav_file(samples, sample_rate_hz))


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1) ^ (_CRC_POLYNOMIAL if value & 0x80000000 else 0)
        table.append(value & 0xFFFFFFFF)
    return tuple(table)


_CRC_TABLE: Final = _crc_table()


def _crc(page: bytes | bytearray) -> int:
    """Ogg's checksum. It is not reflected and starts from 0, so neither zlib's nor binascii's will do."""
    value = 0
    for byte in page:
        value = ((value << 8) & 0xFFFFFFFF) ^ _CRC_TABLE[(value >> 24) ^ byte]
    return value
