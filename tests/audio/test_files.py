"""MP3, AAC and FLAC, decoded by FFmpeg's decoders: the whole sound is in the file, and leaves while it is made."""

from __future__ import annotations

import gc
import itertools

import numpy as np
import pytest

from streamer.audio.formats import FILE_ENCODINGS, SAMPLE_RATES_HZ, UNCOMMON_RATES_HZ
from streamer.errors import AudioEncodeError
from tests.audio.decoding import decode_file, dominant_hz, encode_in_pieces, sine, speechlike
from tests.audio.test_packets import encoder_for, joined


@pytest.mark.parametrize("encoding", FILE_ENCODINGS)
@pytest.mark.parametrize("rate_hz", sorted(SAMPLE_RATES_HZ + UNCOMMON_RATES_HZ))
def test_a_file_encoding_holds_the_whole_sound(encoding: str, rate_hz: int) -> None:
    """Another decoder hears a sine of the right pitch; FLAC is exact, the others add their frames' padding alone."""
    packets = encode_in_pieces(encoder_for(encoding, rate_hz, bitrate=64_000), sine(2.0, 1_000), 1_000)
    decoded, decoded_rate_hz = decode_file(joined(packets))
    assert decoded_rate_hz == rate_hz
    padding = len(decoded) - 2 * rate_hz
    assert padding == 0 if encoding == "flac" else 0 <= padding < 3 * 1_024
    assert dominant_hz(decoded, rate_hz) == pytest.approx(1_000, abs=2)
    inside = decoded[rate_hz // 2 : -rate_hz // 2]
    assert np.sqrt(np.mean(inside**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.06)  # LAME is 5% quieter
    if encoding == "flac":
        pcm = joined(encode_in_pieces(encoder_for("pcm_s16le", rate_hz), sine(2.0, 1_000), 1_000))
        assert np.array_equal(np.rint(decoded * 32_768), np.frombuffer(pcm, "<i2"))


@pytest.mark.parametrize("encoding", FILE_ENCODINGS)
def test_a_file_encoding_leaves_as_it_is_made(encoding: str) -> None:
    """A fifth of a second leaves bytes behind that decode; timestamps have no gap and end with the sound."""
    encoder = encoder_for(encoding, bitrate=64_000)
    packets = encoder.encode(sine(0.2))
    assert len(decode_file(joined(packets))[0]) > 0
    for _ in range(20):
        packets += encoder.encode(sine(0.1))
    packets += encoder.finish()
    assert packets[0].timestamp == 0 and len(packets) > 8
    for before, after in itertools.pairwise(packets):
        assert after.timestamp == before.timestamp + before.duration
    assert packets[-1].timestamp + packets[-1].duration == round(2.2 * 48_000)


@pytest.mark.parametrize("encoding", FILE_ENCODINGS)
def test_a_file_that_is_given_up_leaves_nothing_behind(encoding: str) -> None:
    """A cancelled utterance drops its encoder unfinished, and one without sound has no packet."""
    encoder = encoder_for(encoding, bitrate=64_000)
    encoder.encode(sine(0.5))
    del encoder
    gc.collect()
    assert encoder_for(encoding).finish() == []
    samples = sine(0.1)
    samples[100] = np.nan
    with pytest.raises(AudioEncodeError):
        encoder_for(encoding).encode(samples)


@pytest.mark.parametrize("bitrate", [32_000, 48_000, 64_000])
@pytest.mark.parametrize("encoding", ["mp3", "aac"])
def test_the_bitrate_of_files_is_kept(encoding: str, bitrate: int) -> None:
    """To within a quarter, as Opus keeps it."""
    data = joined(encode_in_pieces(encoder_for(encoding, bitrate=bitrate), speechlike(3.0), 2_400))
    assert 0.75 < len(data) * 8 / 3 / bitrate < 1.25
