"""Sound at another tempo: as long as it is to be, at its own pitch, and streamed."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.audio.formats import AudioFormat
from streamer.audio.packets import create_encoder
from streamer.errors import InvalidParameterError
from tests.audio.decoding import decode_file, decode_numbers, dominant_hz, encode_in_pieces, sine
from tests.audio.test_packets import joined


@pytest.mark.parametrize("encoding", ["pcm_s16le", "ogg_opus", "mp3", "mulaw"])
@pytest.mark.parametrize("tempo", [0.25, 0.5, 0.8, 1.25, 2.0, 4.0])
def test_the_tempo_changes_the_length_and_not_the_pitch(encoding: str, tempo: float) -> None:
    """A sine stays one of its pitch and level, however it is cut on its way."""
    encoder = create_encoder(AudioFormat(encoding, 24_000, bitrate=64_000, tempo=tempo))
    data = joined(encode_in_pieces(encoder, sine(4.0), 777))
    if encoding == "pcm_s16le":
        decoded, rate_hz = np.frombuffer(data, "<i2") / 32_768, 24_000
    elif encoding == "mulaw":
        decoded, rate_hz = decode_numbers(data, "pcm_mulaw") / 32_768, 24_000
    else:
        decoded, rate_hz = decode_file(data)
    assert len(decoded) / rate_hz == pytest.approx(4.0 / tempo, abs=0.1)
    assert dominant_hz(decoded, rate_hz) == pytest.approx(440, abs=3)
    assert np.sqrt(np.mean(decoded**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


def test_another_tempo_streams() -> None:
    """Sound comes out while more is pushed, and no sound is none."""
    encoder = create_encoder(AudioFormat("pcm_s16le", tempo=1.5))
    assert len(joined(encoder.encode(sine(1.0)))) > 0.5 * 2 * 24_000 / 1.5
    assert not joined(create_encoder(AudioFormat("pcm_s16le", tempo=1.5)).finish())


@pytest.mark.parametrize("tempo", [0.0, 0.24, 4.01, -1.0, np.nan, np.inf])
def test_a_tempo_out_of_range_is_named(tempo: float) -> None:
    """One beyond a quarter and four times raises `InvalidParameterError`."""
    with pytest.raises(InvalidParameterError) as caught:
        AudioFormat(tempo=tempo)
    assert caught.value.param == "tempo"
