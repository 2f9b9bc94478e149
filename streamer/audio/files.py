"""Writes MP3, AAC and FLAC while the sound is being made: FFmpeg's encoders and file formats, through PyAV."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import av
import numpy as np
import numpy.typing as npt

from streamer.errors import AudioEncodeError


@dataclass(frozen=True, slots=True)
class _Kind:
    """The names by which FFmpeg knows a file format and its encoder, and the format's options."""

    container: str
    codec: str
    options: dict[str, str] = field(default_factory=dict)


_KINDS: Final = {
    # Neither a tag in front nor LAME's frame of facts, which could only be written at the end.
    "mp3": _Kind("mp3", "libmp3lame", {"write_xing": "0", "id3v2_version": "0"}),
    "aac": _Kind("adts", "aac"),
    "flac": _Kind("flac", "flac", {"metadata_header_padding": "0"}),
}
"""What each of `formats.FILE_ENCODINGS` is."""
_AT_ONCE: Final = {"flush_packets": "1"}
"""Without this FFmpeg keeps 32 KiB back, which are seconds of speech."""


class _Buffer:
    """What FFmpeg writes to: it takes bytes, and cannot go back."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def write(self, data: bytes) -> int:
        self._bytes += data
        return len(data)

    def take(self) -> bytes:
        """Return what was written since the last call."""
        taken = bytes(self._bytes)
        self._bytes.clear()
        return taken


class FileStream:
    """Writes one mono file. Raises `AudioEncodeError` if FFmpeg refuses."""

    def __init__(self, encoding: str, sample_rate_hz: int, bitrate: int) -> None:
        kind = _KINDS[encoding]
        self.num_encoded = 0
        """Samples in the frames that were given out, the encoder's delay included."""
        self._buffer = _Buffer()
        self._sample_rate_hz = sample_rate_hz
        try:
            self._container = av.open(
                self._buffer, "w", format=kind.container, options=kind.options | _AT_ONCE
            )
            stream = self._container.add_stream(kind.codec, rate=sample_rate_hz, layout="mono")
        except av.FFmpegError as error:
            raise AudioEncodeError(f"FFmpeg refused to write {encoding}: {error}") from error
        assert isinstance(stream, av.AudioStream)
        self._stream = stream
        if encoding != "flac":
            stream.bit_rate = bitrate

    def write(self, numbers: npt.NDArray[np.int16]) -> bytes:
        """Add sound, int16 [num_samples], and return what is complete with it: often nothing."""
        frame = av.AudioFrame.from_ndarray(numbers[np.newaxis], format="s16", layout="mono")
        frame.sample_rate = self._sample_rate_hz
        self._encode(frame)
        return self._buffer.take()

    def close(self) -> bytes:
        """Return the rest of the file. Call it once, after sound was written."""
        self._encode(None)
        self._container.close()
        return self._buffer.take()

    def _encode(self, frame: av.AudioFrame | None) -> None:
        try:
            for packet in self._stream.encode(frame):
                self.num_encoded += packet.duration or 0
                self._container.mux(packet)
        except av.FFmpegError as error:
            raise AudioEncodeError(f"FFmpeg could not encode a frame: {error}") from error
