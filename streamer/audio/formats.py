"""What sound can be encoded as: the one registry of encodings, rates and packet lengths, and a choice of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from streamer.errors import InvalidParameterError

Encoding = Literal["opus", "ogg_opus", "pcm_s16le", "wav", "mulaw", "alaw", "pcm_f32le"]
SampleRate = Literal[8000, 16000, 24000, 48000]
FrameLength = Literal[10, 20, 40, 60]
FileEncoding = Literal["mp3", "aac", "flac"]
ENCODINGS: Final[tuple[str, ...]] = get_args(Encoding)
FILE_ENCODINGS: Final[tuple[str, ...]] = get_args(FileEncoding)
"""Encodings whose frames have a length and a delay of their own: for files, and for protocols that ask for them. The
native protocol, which gives every packet its time, does not offer them."""
SAMPLE_RATES_HZ: Final[tuple[int, ...]] = get_args(SampleRate)
"""The sampling rates at which Opus works, which the native protocol offers for every encoding."""
UNCOMMON_RATES_HZ: Final = (22050, 32000, 44100)
"""Sampling rates for every encoding but Opus, for protocols that ask for them. At 22,050 Hz a packet is rounded down to
whole samples."""
_OPUS: Final = ("opus", "ogg_opus")
FRAMES_MS: Final[tuple[int, ...]] = get_args(FrameLength)
MIN_BITRATE: Final = 6_000
MAX_BITRATE: Final = 256_000
"""What libopus accepts for one channel, in bits per second."""
MAX_GAIN: Final = 4.0
DEFAULT_RATE_HZ: Final = 24_000
_TELEPHONE_RATE_HZ: Final = 8_000


def default_rate_hz(encoding: str) -> int:
    """The sampling rate of a client that names none: that of telephones for G.711, otherwise the models' own."""
    return _TELEPHONE_RATE_HZ if encoding in ("mulaw", "alaw") else DEFAULT_RATE_HZ


def checked_bitrate(bitrate: int, param: str = "bitrate") -> int:
    """Return `bitrate`; raises `InvalidParameterError`, which names the field `param`, if it cannot be had."""
    if not MIN_BITRATE <= bitrate <= MAX_BITRATE:
        message = f"{param} {bitrate!r} is not from {MIN_BITRATE} to {MAX_BITRATE}"
        raise InvalidParameterError(message, param=param)
    return bitrate


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """How an utterance's sound is encoded. `frame_ms` is the length of a packet, except in file encodings.

    `bitrate` concerns Opus, MP3 and AAC. `gain` makes the sound louder, and what that drives beyond full scale
    saturates. Raises `InvalidParameterError` naming what is not offered.
    """

    encoding: str = "opus"
    sample_rate_hz: int = DEFAULT_RATE_HZ
    frame_ms: int = 20
    bitrate: int = 32_000
    gain: float = 1.0

    def __post_init__(self) -> None:
        rates_hz = SAMPLE_RATES_HZ if self.encoding in _OPUS else SAMPLE_RATES_HZ + UNCOMMON_RATES_HZ
        for name, value, offered in (
            ("encoding", self.encoding, ENCODINGS + FILE_ENCODINGS),
            ("sample_rate", self.sample_rate_hz, rates_hz),
            ("frame_ms", self.frame_ms, FRAMES_MS),
        ):
            if value not in offered:
                offers = ", ".join(map(str, offered))
                raise InvalidParameterError(f"{name} {value!r} is none of {offers}", param=name)
        checked_bitrate(self.bitrate)
        if not 0.0 <= self.gain <= MAX_GAIN:
            raise InvalidParameterError(f"gain {self.gain!r} is not from 0 to {MAX_GAIN}", param="gain")
