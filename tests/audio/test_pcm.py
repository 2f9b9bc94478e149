"""Sentences become one sound: trimmed, without steps, with pauses, and the same however it was cut."""

from __future__ import annotations

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.audio.pcm import SentenceJoiner, to_alaw, to_int16, to_mulaw
from streamer.audio.samples import Samples
from streamer.errors import AudioEncodeError
from tests.audio.decoding import sine, speechlike

RATE_HZ = 24_000


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE_HZ), np.float32)


def hiss(seconds: float) -> Samples:
    """About -49 dB, its peaks below -40."""
    noise = np.random.default_rng(0).uniform(-0.006, 0.006, round(seconds * RATE_HZ))
    return noise.astype(np.float32)


def spoken(sentences: list[Samples], cuts: list[int], pause_s: float = 0.3) -> Samples:
    """The joined sound, each sentence pushed in pieces of the given sizes, again and again."""
    joiner = SentenceJoiner(RATE_HZ)
    pieces = []
    for sentence in sentences:
        start, turn = 0, 0
        while start < len(sentence):
            pieces.append(joiner.push(sentence[start : start + cuts[turn % len(cuts)]]))
            start += cuts[turn % len(cuts)]
            turn += 1
        pieces += [joiner.end_sentence(), np.zeros(round(pause_s * RATE_HZ), np.float32)]
    return np.concatenate([*pieces, joiner.end_sentence()])


SENTENCES = [
    np.concatenate([hiss(0.3), speechlike(0.1, 5)]),
    np.concatenate([silence(0.2), speechlike(0.3, 1), silence(0.15), speechlike(0.2, 2), silence(0.5)]),
    np.concatenate([speechlike(0.2, 3)]),
    silence(0.4),
    np.concatenate([silence(0.01), sine(0.1), 0.0005 * speechlike(0.4, 4)]),
]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 4_000), min_size=1, max_size=5).filter(lambda cuts: sum(cuts) > 100))
def test_cutting_changes_nothing(cuts: list[int]) -> None:
    """Chunked equals whole, to the bit."""
    assert np.array_equal(spoken(SENTENCES, cuts), spoken(SENTENCES, [10**6]))


def test_silence_at_the_borders_is_trimmed_and_the_pause_follows() -> None:
    """Half a second of hiss and silence around speech leaves a natural rest, then exactly the pause."""
    speech = speechlike(0.5)
    sentence = np.concatenate([silence(0.5), speech, 0.001 * speechlike(0.5, 1)])
    joined = spoken([sentence], [960], pause_s=0.25)
    assert 0.75 <= len(joined) / RATE_HZ <= 0.75 + 0.12
    assert not joined[-round(0.25 * RATE_HZ) :].any()


def test_nobody_waits_for_silence_at_the_beginning() -> None:
    """The first sound begins after 10 ms, that of later sentences after 50, however silent they begin."""
    joiner = SentenceJoiner(RATE_HZ)
    leads_ms = []
    for sentence in (silence(0.3), np.concatenate([silence(0.3), sine(0.2, 440.0)])) * 2:
        sound = joiner.push(sentence.copy())
        if sound.size:
            leads_ms.append(np.flatnonzero(np.abs(sound) > 0.1)[0] * 1000 / RATE_HZ)
        joiner.end_sentence()
    np.testing.assert_allclose(leads_ms, [10, 50], atol=3)


@pytest.mark.parametrize(("hiss_s", "kept_s"), [(0.06, 0.01), (0.4, 0.31)])
def test_hiss_before_the_first_sound_is_left_out_as_far_as_it_may_be_no_music(
    hiss_s: float, kept_s: float
) -> None:
    """10 of its first 100 ms are kept; what lasts longer is sound that begins softly."""
    joiner = SentenceJoiner(RATE_HZ)
    sound = joiner.push(np.concatenate([hiss(hiss_s), 0.3 + 0 * silence(0.1)]))
    assert np.flatnonzero(sound > 0.2)[0] / RATE_HZ == pytest.approx(kept_s, abs=0.001)


def test_speech_is_not_held_back() -> None:
    """While there is sound, what goes in comes out at once; only silence waits."""
    joiner = SentenceJoiner(RATE_HZ)
    tone = sine(0.5, 440.0) + 0.01
    num_in = num_out = 0
    for start in range(0, len(tone), 480):
        num_in += 480
        num_out += len(joiner.push(tone[start : start + 480]))
        assert num_in - num_out < 10
    assert joiner.push(silence(0.2)).size == 0
    assert joiner.push(tone[:480]).size >= 480 + len(silence(0.2))


@pytest.mark.parametrize("is_within_phrase", [True, False])
@pytest.mark.parametrize("quiet", [silence(0.5), silence(0.06), silence(0.1)])
def test_words_that_nothing_parts_stay_together(quiet: Samples, is_within_phrase: bool) -> None:
    """At a join within a phrase there is hardly any silence; only there."""
    joiner = SentenceJoiner(RATE_HZ)
    sentence = np.concatenate([quiet, sine(0.2, 440.0), quiet])
    parts = [joiner.push(sentence.copy()), joiner.end_sentence(is_within_phrase=is_within_phrase)]
    parts += [joiner.push(sentence.copy()), joiner.end_sentence()]
    loud = np.flatnonzero(np.abs(np.concatenate(parts)) > 0.05)
    gap_s = np.diff(loud).max() / RATE_HZ
    assert (gap_s < 0.05) if is_within_phrase else (0.1 < gap_s < 0.13)
    assert len(parts[-1]) / RATE_HZ > 0.05


@pytest.mark.parametrize("cuts", [[10**6], [960], [7, 300], [2_400]])
@pytest.mark.parametrize("quiet_s", [0.0, 0.02, 0.2, 1.0])
def test_what_is_left_out_at_a_beginning_is_counted(quiet_s: float, cuts: list[int]) -> None:
    """The place of a sample in the sentence is its place in what was kept, and what was left out before."""
    joiner = SentenceJoiner(RATE_HZ)
    for kept_s in (0.01, 0.05):
        sentence = np.concatenate([silence(quiet_s), sine(0.2, 440.0)])
        pieces = np.split(sentence, np.cumsum(cuts * 200)[np.cumsum(cuts * 200) < len(sentence)])
        kept = np.concatenate([joiner.push(piece.copy()) for piece in pieces])
        assert joiner.num_left_out == len(sentence) - len(kept)
        assert joiner.num_left_out == pytest.approx(max(0.0, quiet_s - kept_s) * RATE_HZ, abs=3)
        joiner.end_sentence()


def test_a_pause_inside_a_sentence_stays() -> None:
    """Silence between two words is given back as long as it was."""
    parts = [sine(0.2), silence(0.6), sine(0.2)]
    assert abs(len(spoken([np.concatenate(parts)], [700], pause_s=0.0)) - RATE_HZ) < 0.01 * RATE_HZ


def test_there_is_no_step_at_a_join() -> None:
    """Sentences that begin and end in full voice meet without a jump that the voice itself has not."""
    tone = sine(0.3025, 440.0, level=0.8)[50:]
    joined = spoken([tone, tone], [480], pause_s=0.1)
    inside = np.abs(np.diff(tone)).max()
    assert np.abs(np.diff(np.concatenate([[0.0], joined, [0.0]]))).max() <= inside * 1.05


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_a_number_is_refused(bad: float) -> None:
    """It raises `AudioEncodeError` rather than being taken for silence."""
    with pytest.raises(AudioEncodeError):
        SentenceJoiner(RATE_HZ).push(np.array([0.1, bad, 0.1], np.float32))


def test_a_silent_sentence_is_only_its_pause() -> None:
    """Nothing but silence leaves the pause alone; no sentence leaves nothing."""
    assert len(spoken([silence(1.0)], [100], pause_s=0.2)) == round(0.2 * RATE_HZ)
    assert SentenceJoiner(RATE_HZ).end_sentence().size == 0


@pytest.mark.parametrize(("encode", "codec"), [(to_mulaw, "pcm_mulaw"), (to_alaw, "pcm_alaw")])
def test_g711_matches_ffmpeg_for_every_code(encode: object, codec: str) -> None:
    """Every code decodes (by ffmpeg) to a value that we encode to that code again."""
    decoder = av.CodecContext.create(codec, "r")
    decoder.sample_rate = 8_000
    decoder.layout = "mono"
    frames = [*decoder.decode(av.Packet(bytes(range(256)))), *decoder.decode(None)]
    values = np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float64)
    encoded = encode((values / 32_767).astype(np.float32))  # type: ignore[operator]
    is_same = encoded == np.arange(256)
    assert is_same[values != 0].all()


def test_16_bit_numbers_saturate() -> None:
    """The loudest is 32767 either way, and more is the same."""
    assert to_int16(np.array([-2, -1, 0, 1, 2], np.float32)).tolist() == [-32767, -32767, 0, 32767, 32767]
