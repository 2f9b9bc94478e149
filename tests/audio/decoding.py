"""An independent decoder (ffmpeg's, by PyAV), and how two sounds are compared."""

from __future__ import annotations

import io
from collections.abc import Sequence

import av
import numpy as np
import numpy.typing as npt

from streamer.audio.packets import Packet, PacketEncoder
from streamer.audio.samples import Samples

Decoded = npt.NDArray[np.float64]


def sine(seconds: float, pitch_hz: float = 440.0, rate_hz: int = 24_000, level: float = 0.5) -> Samples:
    """float32 [seconds * rate_hz]"""
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    return (level * np.sin(2 * np.pi * pitch_hz * times)).astype(np.float32)


def speechlike(seconds: float, seed: int = 0) -> Samples:
    """Low-passed noise with a slow envelope: no two places are alike, so a shift would show. float32"""
    noise = np.random.default_rng(seed).standard_normal(round(seconds * 24_000))
    smooth = np.convolve(noise, np.hanning(24), mode="same")
    envelope = 0.6 + 0.4 * np.sin(np.arange(len(smooth)) / 900)
    return (0.5 * smooth * envelope / np.abs(smooth).max()).astype(np.float32)


def encode_in_pieces(encoder: PacketEncoder, samples: Samples, size: int) -> list[Packet]:
    """All packets of the samples, given `size` at a time."""
    packets = []
    for start in range(0, len(samples), size):
        packets += encoder.encode(samples[start : start + size])
    return packets + encoder.finish()


def decode_opus(payloads: Sequence[bytes]) -> Decoded:
    """Raw packets to samples at 48 kHz, nothing skipped. [num_samples]"""
    decoder = av.CodecContext.create("opus", "r")
    decoder.sample_rate = 48_000
    decoder.layout = "mono"
    frames = [frame for payload in payloads for frame in decoder.decode(av.Packet(payload))]
    frames += decoder.decode(None)
    return _joined(frames)


def decode_file(data: bytes) -> tuple[Decoded, int]:
    """A container's sound and its rate. [num_samples]"""
    with av.open(io.BytesIO(data)) as container:
        frames = list(container.decode(audio=0))
        return _joined(frames), frames[0].sample_rate if frames else 0


def decode_numbers(data: bytes, codec: str) -> npt.NDArray[np.int16]:
    """G.711 bytes to 16-bit numbers."""
    decoder = av.CodecContext.create(codec, "r")
    decoder.sample_rate = 8_000
    decoder.layout = "mono"
    frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.int16)


def correlation(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """1 for the same shape, whatever the level."""
    return float(np.corrcoef(np.asarray(a, np.float64), np.asarray(b, np.float64))[0, 1])


def dominant_hz(samples: npt.ArrayLike, rate_hz: int) -> float:
    """The pitch of the strongest partial."""
    sound = np.asarray(samples, np.float64)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(spectrum.argmax() * rate_hz / len(sound))


def _joined(frames: Sequence[av.AudioFrame]) -> Decoded:
    arrays = [frame.to_ndarray()[0].astype(np.float64) for frame in frames]
    joined = np.concatenate(arrays) if arrays else np.zeros(0)
    return joined / 32_768 if frames and frames[0].format.name.startswith("s16") else joined
