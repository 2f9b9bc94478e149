"""Encodes sound as packets with timestamps, in every encoding of `formats`; an utterance has one encoder.

Timestamps and durations are in samples at 48 kHz whatever the encoding, as in RFC 7587.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from streamer.audio.containers import OggOpusPages, wav_header
from streamer.audio.formats import DEFAULT_RATE_HZ, FILE_ENCODINGS, AudioFormat
from streamer.audio.opus import OpusFrames
from streamer.audio.pcm import checked, to_alaw, to_float32, to_int16, to_mulaw
from streamer.audio.resampling import Resampler
from streamer.audio.samples import Samples

TIMESTAMP_HZ: Final = 48_000
INPUT_HZ: Final = DEFAULT_RATE_HZ
"""The sampling rate of every Bark-shaped model, and so of all sound that comes in."""
_PACKETS_PER_PAGE: Final = 10


@dataclass(frozen=True, slots=True)
class Packet:
    """A piece of the sound, encoded.

    `timestamp` is the position of its first sample, counted from the first one after pre-skip, so that Opus begins at
    -pre_skip. `duration`: the last packet's ends with the sound; its padding is not counted. The pipeline sets the
    flags: `is_first` if a sentence begins in the packet, `is_last` if the utterance ends with it, in which case the
    payload may be empty.
    """

    payload: bytes
    timestamp: int
    duration: int
    is_first: bool = False
    is_last: bool = False


class PacketEncoder(Protocol):
    """Encodes the sound of one utterance, with all of its sentences."""

    @property
    def sample_rate_hz(self) -> int:
        """The sampling rate of the encoded sound."""
        ...

    @property
    def pre_skip(self) -> int:
        """How many samples at 48 kHz a decoder gives before the sound begins; a player drops them."""
        ...

    def encode(self, samples: Samples) -> list[Packet]:
        """Return the packets that are complete with these samples, which are at 24 kHz.

        What is beyond [-1, 1] saturates. Raises `AudioEncodeError` for what is not a number.
        """
        ...

    def finish(self) -> list[Packet]:
        """Return the last packets, with which every sample has come out. Call this once."""
        ...


def create_encoder(audio_format: AudioFormat) -> PacketEncoder:
    """Return an encoder for one utterance. Raises `AudioEncodeError` if libopus or FFmpeg refuses its settings."""
    framer = _Framer(audio_format.sample_rate_hz, audio_format.frame_ms)
    encoder: PacketEncoder
    if audio_format.encoding in _SAMPLE_FORMATS:
        encoder = _SampleEncoder(framer, audio_format.encoding)
    elif audio_format.encoding in FILE_ENCODINGS:
        encoder = _FileEncoder(framer, audio_format)
    else:
        opus = _OpusEncoder(framer, audio_format.bitrate)
        encoder = opus if audio_format.encoding == "opus" else _OggOpusEncoder(opus)
    return encoder if audio_format.gain == 1.0 else _GainEncoder(encoder, audio_format.gain)


class _Framer:
    """Resamples sound and cuts it into frames."""

    def __init__(self, sample_rate_hz: int, frame_ms: int) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.frame_size = sample_rate_hz * frame_ms // 1000
        self.num_samples = 0  # at the output's rate
        self._resampler = Resampler(INPUT_HZ, sample_rate_hz)
        self._rest = np.zeros(0, np.float32)

    def push(self, samples: Samples) -> list[Samples]:
        """Return the frames that are full now."""
        return self._cut(self._resampler.push(checked(samples)))

    def finish(self) -> tuple[list[Samples], Samples]:
        """Return the last full frames, and the rest, which is shorter than a frame or empty."""
        frames = self._cut(self._resampler.finish())
        return frames, self._rest

    def ticks(self, num_samples: int) -> int:
        """Convert samples of the output to samples at 48 kHz."""
        return num_samples * TIMESTAMP_HZ // self.sample_rate_hz

    def _cut(self, samples: Samples) -> list[Samples]:
        self.num_samples += len(samples)
        if self._rest.size:
            samples = np.concatenate([self._rest, samples])
        num_whole = len(samples) // self.frame_size * self.frame_size
        self._rest = samples[num_whole:]
        return [samples[start : start + self.frame_size] for start in range(0, num_whole, self.frame_size)]


class _OpusEncoder:
    def __init__(self, framer: _Framer, bitrate: int) -> None:
        self._framer = framer
        self._opus = OpusFrames(framer.sample_rate_hz, bitrate)
        self.sample_rate_hz = framer.sample_rate_hz
        self.pre_skip = framer.ticks(self._opus.lookahead)
        self._next_timestamp = -self.pre_skip

    def encode(self, samples: Samples) -> list[Packet]:
        return [self._packet(frame) for frame in self._framer.push(samples)]

    def finish(self) -> list[Packet]:
        """Pad with silence until the decoder, which lags behind, will have given the last sample."""
        frames, rest = self._framer.finish()
        num_samples = self._framer.num_samples
        if not num_samples:
            return []
        size = self._framer.frame_size
        num_padded = -(-(len(rest) + self._opus.lookahead) // size) * size
        padded = np.concatenate([rest, np.zeros(num_padded - len(rest), np.float32)])
        frames += [padded[start : start + size] for start in range(0, num_padded, size)]
        packets = [self._packet(frame) for frame in frames]
        last = packets[-1]
        length = self._framer.ticks(num_samples)
        return [*packets[:-1], Packet(last.payload, last.timestamp, length - last.timestamp)]

    def _packet(self, frame: Samples) -> Packet:
        packet = Packet(self._opus.encode(frame), self._next_timestamp, self._framer.ticks(len(frame)))
        self._next_timestamp += packet.duration
        return packet


class _OggOpusEncoder:
    """Puts the packets of one call into one page: there is no delay, and less overhead than with a page for each."""

    def __init__(self, opus: _OpusEncoder) -> None:
        self._opus = opus
        self.sample_rate_hz = opus.sample_rate_hz
        self.pre_skip = opus.pre_skip
        self._pages = OggOpusPages(
            serial=secrets.randbits(32), pre_skip=opus.pre_skip, input_rate_hz=opus.sample_rate_hz
        )
        self._unsent_headers = self._pages.headers()

    def encode(self, samples: Samples) -> list[Packet]:
        return self._paged(self._opus.encode(samples), is_end=False)

    def finish(self) -> list[Packet]:
        packets = self._opus.finish()
        if not packets:
            page = self._pages.page([], 0, is_last=True)
            return [Packet(self._unsent_headers + page, timestamp=-self.pre_skip, duration=0)]
        return self._paged(packets, is_end=True)

    def _paged(self, packets: list[Packet], *, is_end: bool) -> list[Packet]:
        pages = []
        for start in range(0, len(packets), _PACKETS_PER_PAGE):
            group = packets[start : start + _PACKETS_PER_PAGE]
            end = group[-1].timestamp + group[-1].duration
            is_last = is_end and start + _PACKETS_PER_PAGE >= len(packets)
            page = self._pages.page([p.payload for p in group], end + self.pre_skip, is_last=is_last)
            pages.append(Packet(self._unsent_headers + page, group[0].timestamp, end - group[0].timestamp))
            self._unsent_headers = b""
        return pages


_SAMPLE_FORMATS: Final[dict[str, Callable[[Samples], npt.NDArray[np.number]]]] = {
    "pcm_f32le": to_float32,
    "pcm_s16le": to_int16,
    "wav": to_int16,
    "mulaw": to_mulaw,
    "alaw": to_alaw,
}
"""The encodings that write every sample by itself."""


class _SampleEncoder:
    pre_skip = 0

    def __init__(self, framer: _Framer, encoding: str) -> None:
        self._framer = framer
        self.sample_rate_hz = framer.sample_rate_hz
        self._to_numbers = _SAMPLE_FORMATS[encoding]
        self._unsent_header = wav_header(framer.sample_rate_hz) if encoding == "wav" else b""
        self._num_samples = 0  # in packets so far

    def encode(self, samples: Samples) -> list[Packet]:
        return [self._packet(frame) for frame in self._framer.push(samples)]

    def finish(self) -> list[Packet]:
        frames, rest = self._framer.finish()
        if rest.size or self._unsent_header:
            frames.append(rest)
        return [self._packet(frame) for frame in frames]

    def _packet(self, frame: Samples) -> Packet:
        payload = self._unsent_header + self._to_numbers(frame).tobytes()
        self._unsent_header = b""
        start = self._framer.ticks(self._num_samples)
        self._num_samples += len(frame)
        return Packet(payload, start, self._framer.ticks(self._num_samples) - start)


class _FileEncoder:
    """A packet holds the frames that became complete at once; they lag behind by the encoder's delay."""

    pre_skip = 0

    def __init__(self, framer: _Framer, audio_format: AudioFormat) -> None:
        from streamer.audio.files import (
            FileStream,
        )  # FFmpeg takes 20 MB and 0.1 s, and most utterances are Opus

        self._framer = framer
        self.sample_rate_hz = framer.sample_rate_hz
        self._file = FileStream(audio_format.encoding, framer.sample_rate_hz, audio_format.bitrate)
        self._next_timestamp = 0

    def encode(self, samples: Samples) -> list[Packet]:
        payload = b"".join(self._file.write(to_int16(frame)) for frame in self._framer.push(samples))
        return self._packets(payload, min(self._file.num_encoded, self._framer.num_samples))

    def finish(self) -> list[Packet]:
        frames, rest = self._framer.finish()
        if not self._framer.num_samples:
            return []
        payload = b"".join(self._file.write(to_int16(frame)) for frame in (*frames, rest) if frame.size)
        return self._packets(payload + self._file.close(), self._framer.num_samples)

    def _packets(self, payload: bytes, end: int) -> list[Packet]:
        """`end`: samples from the beginning of the sound to the end of the packet."""
        if not payload:
            return []
        packet = Packet(payload, self._next_timestamp, self._framer.ticks(end) - self._next_timestamp)
        self._next_timestamp += packet.duration
        return [packet]


class _GainEncoder:
    """Encodes the sound louder or softer."""

    def __init__(self, encoder: PacketEncoder, gain: float) -> None:
        self._encoder = encoder
        self._gain = np.float32(gain)
        self.sample_rate_hz = encoder.sample_rate_hz
        self.pre_skip = encoder.pre_skip

    def encode(self, samples: Samples) -> list[Packet]:
        return self._encoder.encode(samples * self._gain)

    def finish(self) -> list[Packet]:
        return self._encoder.finish()
