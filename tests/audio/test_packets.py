"""Every encoding, decoded by another decoder: what comes out is what went in, as long as it was."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from streamer.audio.formats import ENCODINGS, SAMPLE_RATES_HZ, UNCOMMON_RATES_HZ, AudioFormat
from streamer.audio.packets import Packet, PacketEncoder, create_encoder
from streamer.errors import AudioEncodeError, InvalidParameterError
from tests.audio.decoding import (
    correlation,
    decode_file,
    decode_numbers,
    decode_opus,
    encode_in_pieces,
    sine,
    speechlike,
)

ODD_LENGTH = 24_000 + 1_237


def encoder_for(
    encoding: str = "opus", rate_hz: int = 24_000, frame_ms: int = 20, bitrate: int = 32_000
) -> PacketEncoder:
    return create_encoder(AudioFormat(encoding, rate_hz, frame_ms, bitrate))


def joined(packets: list[Packet]) -> bytes:
    return b"".join(packet.payload for packet in packets)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("frame_ms", [10, 20, 40, 60])
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 48_000])
def test_timestamps_have_no_gap_and_end_with_the_sound(encoding: str, frame_ms: int, rate_hz: int) -> None:
    """The first packet begins at -pre_skip, every other one where the last ended, and the last one ends the sound."""
    encoder = encoder_for(encoding, rate_hz, frame_ms)
    packets = encode_in_pieces(encoder, speechlike(ODD_LENGTH / 24_000), 1_920)
    assert packets[0].timestamp == -encoder.pre_skip
    for before, after in itertools.pairwise(packets):
        assert after.timestamp == before.timestamp + before.duration
    end = packets[-1].timestamp + packets[-1].duration
    assert 2 * ODD_LENGTH <= end < 2 * ODD_LENGTH + 48_000 // rate_hz
    if encoding != "ogg_opus":
        assert {packet.duration for packet in packets[:-1]} == {48 * frame_ms}
        assert 0 < packets[-1].duration <= 48 * frame_ms
    assert encoder.sample_rate_hz == rate_hz


@pytest.mark.parametrize("encoding", [name for name in ENCODINGS if name not in ("opus", "ogg_opus")])
@pytest.mark.parametrize("frame_ms", [10, 20, 40, 60])
@pytest.mark.parametrize("rate_hz", UNCOMMON_RATES_HZ)
def test_uncommon_rates_keep_the_time(encoding: str, frame_ms: int, rate_hz: int) -> None:
    """Packets of whole samples, which are 1 in 441 too short for 10 ms at 22,050 Hz, drift from the sound nowhere."""
    encoder = encoder_for(encoding, rate_hz, frame_ms)
    packets = encode_in_pieces(encoder, speechlike(ODD_LENGTH / 24_000), 1_920)
    assert packets[0].timestamp == 0
    for before, after in itertools.pairwise(packets):
        assert after.timestamp == before.timestamp + before.duration
    end = packets[-1].timestamp + packets[-1].duration
    assert 2 * ODD_LENGTH - 1 <= end < 2 * ODD_LENGTH + 48_000 / rate_hz
    assert all(abs(packet.duration - 48 * frame_ms) <= 2 for packet in packets[:-1])
    num_samples = -(-ODD_LENGTH * rate_hz // 24_000)
    size = {"pcm_s16le": 2, "wav": 2, "pcm_f32le": 4}.get(encoding, 1)
    assert len(joined(packets)) - 44 * (encoding == "wav") == num_samples * size


@pytest.mark.parametrize("frame_ms", [10, 20, 40, 60])
@pytest.mark.parametrize("num_samples", [1, 323, 324, 325, 480, 24_000, ODD_LENGTH])
def test_exactly_enough_opus_packets_come_out(frame_ms: int, num_samples: int) -> None:
    """Another decoder gives every sample after pre-skip, and one packet less would not."""
    encoder = encoder_for(frame_ms=frame_ms)
    packets = encode_in_pieces(encoder, speechlike(2.0)[:num_samples], 1_000)
    num_decoded = len(decode_opus([packet.payload for packet in packets])) - encoder.pre_skip
    assert num_decoded >= 2 * num_samples > num_decoded - 48 * frame_ms


@pytest.mark.parametrize("frame_ms", [10, 20, 40, 60])
@pytest.mark.parametrize("rate_hz", [16_000, 24_000, 48_000])
def test_opus_sounds_like_its_input_at_the_promised_place(frame_ms: int, rate_hz: int) -> None:
    """After decoding and cutting the pre-skip, the sound is at its place, and a sine stays a sine."""
    encoder = encoder_for(rate_hz=rate_hz, frame_ms=frame_ms, bitrate=64_000)
    tone = sine(1.0, 1_000)  # lower ones are moved a little by the voice mode's high-pass filter
    packets = encode_in_pieces(encoder, tone, 777)
    decoded = decode_opus([packet.payload for packet in packets])[encoder.pre_skip :: 2][: len(tone)]
    inside = slice(2_400, -2_400)
    assert correlation(decoded[inside], tone[inside]) > 0.98
    error = decoded[inside] - tone[inside]
    assert 10 * np.log10(np.mean(tone[inside] ** 2) / np.mean(error**2)) > 14


def test_the_pre_skip_is_where_the_sound_really_begins() -> None:
    """Of all shifts the announced one fits best, to within half a millisecond."""
    encoder = encoder_for(bitrate=128_000)
    samples = speechlike(1.0)
    decoded = decode_opus([p.payload for p in encode_in_pieces(encoder, samples, 480)])[::2]
    lags = range(300)
    best = max(lags, key=lambda lag: correlation(decoded[lag : lag + 23_000], samples[:23_000]))
    assert abs(2 * best - encoder.pre_skip) <= 24


def test_pieces_do_not_matter_to_opus() -> None:
    """The packets depend on the sound alone, not on how it was cut."""
    samples = speechlike(0.5)
    whole = encode_in_pieces(encoder_for(), samples, len(samples))
    assert encode_in_pieces(encoder_for(), samples, 311) == whole


@pytest.mark.parametrize("frame_ms", [10, 20, 60])
def test_ogg_decodes_to_the_exact_length(frame_ms: int) -> None:
    """A player that knows only the file hears every sample and no padding."""
    samples = speechlike(ODD_LENGTH / 24_000)
    packets = encode_in_pieces(encoder_for("ogg_opus", frame_ms=frame_ms), samples, 1_920)
    assert packets[0].payload.startswith(b"OggS") and b"OpusHead" in packets[0].payload
    decoded, rate_hz = decode_file(joined(packets))
    assert rate_hz == 48_000 and len(decoded) == 2 * ODD_LENGTH
    assert correlation(decoded[::2], samples) > 0.8


def test_ogg_can_be_heard_while_it_is_made() -> None:
    """A second of sound leaves pages behind at once; with the pages so far a player can already play."""
    encoder = encoder_for("ogg_opus")
    packets = encoder.encode(sine(1.0))
    assert packets[-1].timestamp + packets[-1].duration == 48_000 - encoder.pre_skip
    decoded, _ = decode_file(joined(packets))
    assert len(decoded) == 48_000 - encoder.pre_skip


@pytest.mark.parametrize("rate_hz", sorted(SAMPLE_RATES_HZ + UNCOMMON_RATES_HZ))
def test_wav_and_pcm_hold_every_sample(rate_hz: int) -> None:
    """WAV of unknown length decodes to all samples; pcm_s16le is the same without the header."""
    tone = sine(0.5, rate_hz=24_000)
    wav = joined(encode_in_pieces(encoder_for("wav", rate_hz), tone, 1_000))
    pcm = joined(encode_in_pieces(encoder_for("pcm_s16le", rate_hz), tone, 1_000))
    assert wav[44:] == pcm and wav[4:8] == wav[40:44] == b"\xff\xff\xff\xff"
    decoded, decoded_rate_hz = decode_file(wav)
    assert decoded_rate_hz == rate_hz and len(decoded) == rate_hz // 2
    assert (
        correlation(
            decoded[rate_hz // 20 : -rate_hz // 20],
            sine(0.5, rate_hz=rate_hz)[rate_hz // 20 : -rate_hz // 20],
        )
        > 0.9999
    )


def test_float_samples_pass_as_they_are() -> None:
    """Nothing is rounded on the way to a caller who wants samples."""
    samples = speechlike(0.5)
    data = joined(encode_in_pieces(encoder_for("pcm_f32le"), samples, 999))
    assert np.array_equal(np.frombuffer(data, "<f4"), samples)


@pytest.mark.parametrize("gain", [0.0, 0.5, 1.5, 2.0, 4.0])
def test_gain_makes_the_sound_louder_and_no_longer(gain: float) -> None:
    """Every sample is multiplied, and saturates at full scale."""
    samples = speechlike(0.5)
    plain, louder = (
        joined(encode_in_pieces(create_encoder(audio_format), samples, 999))
        for audio_format in (
            AudioFormat("pcm_f32le"),
            AudioFormat("pcm_f32le", gain=gain),
        )
    )
    expected = np.clip(np.frombuffer(plain, "<f4") * gain, -1.0, 1.0)
    np.testing.assert_allclose(np.frombuffer(louder, "<f4"), expected, atol=1e-6)


@pytest.mark.parametrize(("encoding", "codec"), [("mulaw", "pcm_mulaw"), ("alaw", "pcm_alaw")])
def test_g711_decodes_to_the_nearest_step(encoding: str, codec: str) -> None:
    """ffmpeg hears the sound within G.711's steps: 1/16 of the value, at the least a few units."""
    samples = speechlike(0.5)
    decoded = decode_numbers(joined(encode_in_pieces(encoder_for(encoding, 24_000), samples, 999)), codec)
    expected = samples * 32_767
    assert np.all(np.abs(decoded - expected) <= np.abs(expected) / 28 + 17)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_sound_is_no_failure(encoding: str) -> None:
    """An utterance without a sample ends well, with nothing or with the container's frame alone."""
    packets = encoder_for(encoding).finish()
    assert sum(packet.duration for packet in packets) == 0
    assert bool(packets) == (encoding in ("ogg_opus", "wav"))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_is_refused(encoding: str, bad: float) -> None:
    """One NaN or infinity raises `AudioEncodeError`; nothing of it reaches a client."""
    samples = sine(0.1)
    samples[100] = bad
    with pytest.raises(AudioEncodeError):
        encoder_for(encoding).encode(samples)


@pytest.mark.parametrize("rate_hz", [8_000, 24_000, 48_000])
def test_too_loud_saturates(rate_hz: int) -> None:
    """Ten times too loud is as loud as can be, and never wraps around."""
    data = joined(encode_in_pieces(encoder_for("pcm_s16le", rate_hz), 10 * sine(0.2, 200), 500))
    numbers = np.frombuffer(data, "<i2").astype(np.int32)
    assert numbers.max() == 32_767 and numbers.min() == -32_767
    assert np.abs(np.diff(numbers)).max() < 65_534 and np.mean(np.abs(numbers) > 32_000) > 0.8


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"encoding": "vorbis"}, "encoding"),
        ({"rate_hz": 44_100}, "sample_rate"),
        ({"rate_hz": 22_050}, "sample_rate"),
        ({"encoding": "ogg_opus", "rate_hz": 32_000}, "sample_rate"),
        ({"encoding": "pcm_s16le", "rate_hz": 11_025}, "sample_rate"),
        ({"encoding": "wav", "rate_hz": 96_000}, "sample_rate"),
        ({"frame_ms": 30}, "frame_ms"),
        ({"bitrate": 5_999}, "bitrate"),
        ({"bitrate": 256_001}, "bitrate"),
    ],
)
def test_what_is_not_on_offer_is_named(change: dict[str, int], param: str) -> None:
    """A wrong encoding, rate, frame or bitrate raises `InvalidParameterError` with the parameter's name."""
    with pytest.raises(InvalidParameterError) as caught:
        encoder_for(**change)
    assert caught.value.param == param


@pytest.mark.parametrize("gain", [-0.1, 4.1, float("nan"), float("inf")])
def test_a_gain_has_bounds(gain: float) -> None:
    """It is named when it is outside of them."""
    with pytest.raises(InvalidParameterError) as caught:
        AudioFormat(gain=gain)
    assert caught.value.param == "gain"


def test_the_bitrate_is_kept() -> None:
    """Noisy sound at 24 and at 64 kbit/s comes out within a quarter of what was asked for."""
    for bitrate in (24_000, 64_000):
        data = joined(encode_in_pieces(encoder_for(bitrate=bitrate), speechlike(3.0), 2_400))
        assert 0.6 < len(data) * 8 / 3 / bitrate < 1.25
