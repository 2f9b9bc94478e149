"""WAV files have exact sizes; Ogg pages keep the format's rules."""

from __future__ import annotations

import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from streamer.audio.containers import OggOpusPages, wav_header, write_wav
from streamer.audio.formats import AudioFormat
from streamer.audio.packets import create_encoder
from tests.audio.decoding import correlation, decode_file, encode_in_pieces, sine, speechlike


def test_a_wav_file_is_complete(tmp_path: Path) -> None:
    """The standard library's strict reader finds every sample."""
    tone = sine(0.25)
    write_wav(tmp_path / "tone.wav", tone, 24_000)
    with wave.open(str(tmp_path / "tone.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24_000)
        numbers = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    np.testing.assert_allclose(numbers / 32_767, tone, atol=1 / 32_767)


@pytest.mark.parametrize("encoding", ["pcm_s16le", "pcm_f32le", "mulaw", "alaw"])
@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100])
def test_a_wav_header_says_what_follows(encoding: str, rate_hz: int) -> None:
    """ffmpeg reads as many samples as there are, of unknown size too, and nearly as they were."""
    samples = speechlike(0.5)
    encoder = create_encoder(AudioFormat(encoding, rate_hz))
    sound = b"".join(packet.payload for packet in encode_in_pieces(encoder, samples, 999))
    decoded, decoded_hz = decode_file(wav_header(rate_hz, encoding=encoding) + sound)
    assert decoded_hz == rate_hz and len(decoded) == rate_hz // 2
    reference = create_encoder(AudioFormat("pcm_s16le", rate_hz))
    expected = b"".join(packet.payload for packet in encode_in_pieces(reference, samples, 999))
    assert correlation(decoded, np.frombuffer(expected, "<i2").astype(np.float64)) > 0.99


def test_ogg_pages_are_numbered_and_laced() -> None:
    """Page numbers count up, flags mark both ends, and a packet of 255 or more bytes is laced right."""
    pages = OggOpusPages(serial=7, pre_skip=312, input_rate_hz=24_000)
    data = (
        pages.headers() + pages.page([b"x" * 255, b"y" * 10], 960) + pages.page([b"z"], 1_000, is_last=True)
    )
    found = []
    while data:
        magic, _, flags, granule, serial, number, _, num_segments = struct.unpack_from("<4sBBqIIIB", data)
        lacing = data[27 : 27 + num_segments]
        found.append((magic, flags, granule, serial, number, list(lacing)))
        data = data[27 + num_segments + sum(lacing) :]
    assert [page[:5] for page in found] == [
        (b"OggS", 2, 0, 7, 0),
        (b"OggS", 0, 0, 7, 1),
        (b"OggS", 0, 960, 7, 2),
        (b"OggS", 4, 1_000, 7, 3),
    ]
    assert found[2][5] == [255, 0, 10]


def test_too_many_packets_for_a_page_are_refused() -> None:
    """A page holds 255 segments; more raises `ValueError` rather than writing a broken page."""
    with pytest.raises(ValueError, match="do not fit"):
        OggOpusPages(serial=1, pre_skip=0, input_rate_hz=24_000).page([b"x"] * 256, 0)
