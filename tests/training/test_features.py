"""A semantic token says what is heard at its middle, and at which pitch of the speaker's range."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from training import features
from training.features import (
    MEAN_LOG_PITCH,
    NUM_MELS,
    NUM_PITCH_LEVELS,
    PHONES,
    PITCH_BORDERS_HZ,
    PITCH_WEIGHT,
    TOKEN_SAMPLES,
    VOICING_WEIGHT,
    heard_signs,
    pitch_at,
    semantic_tokens,
    shard_features,
    sign_phones,
    silent_tokens,
)
from training.pronunciation import CONSONANT_SIGNS, UNSTRESSED_SIGNS, VOWEL_SIGNS


def phonemes(*signs: tuple[str, int]) -> list[tuple[str, int, int]]:
    """Return signs with their lengths in tokens, one after the other; the silence before them is two tokens long."""
    found, start = [], 2 * TOKEN_SAMPLES
    for sign, num_tokens in signs:
        found.append((sign, start, num_tokens * TOKEN_SAMPLES))
        start += num_tokens * TOKEN_SAMPLES
    return found


def heard(said: list[tuple[str, int, int]], sound: str) -> str:
    """Return the sign of each token; `sound` has a dot for each silent one."""
    signs = heard_signs(said, np.array([token == "." for token in sound]))
    return "".join("^" if sign < 0 else said[sign][0] for sign in signs)


@pytest.mark.parametrize(
    ("signs", "sound", "expected"),
    [
        # The time of a space belongs to the next phone, that of a mark without a pause to the phone before it.
        ([("n", 2), (" ", 2), ("ɪ", 2)], "..xxxxxx", "^^nnɪɪɪɪ"),
        ([("n", 2), (",", 1), (" ", 1), ("ɪ", 2)], "..xxxxxx", "^^nnnɪɪɪ"),
        # A pause belongs to the mark, although its time was counted to the last phone or the space.
        ([("n", 6), (",", 2), (" ", 2), ("ɪ", 2)], "..xx.......xxx", "^^nn,,,,,,,ɪɪɪ"),
        # Stops are silent before they burst, also two of them between words.
        ([("s", 2), ("t", 4), ("ə", 2)], "..xx...xxx", "^^ssttttəə"),
        ([("k", 3), (" ", 2), ("d", 2)], "..x.....x", "^^kkkdddd"),
        # A pause without a mark is a long one.
        ([("n", 6), (" ", 5), ("ɪ", 2)], "..xx.........xx", "^^nn         ɪɪ"),
        # A mark at the end has no time of its own.
        ([("n", 8), (".", 0)], "..xxx.....", "^^nnn....."),
        # The first sound may be heard before its time, or after it.
        ([("n", 3), ("O", 2)], ".xxxxxx", "^^nnnOO"),
        ([("n", 3), ("O", 2)], "......x", "^^nnnOO"),
        # No phone is lost in a pause.
        ([("s", 2), ("t", 3), (",", 2), (" ", 1), ("p", 2), ("O", 1)], "..xx........x", "^^sst,,,,,,pO"),
    ],
)
def test_silence_tells_pauses_from_phones(signs: list[tuple[str, int]], sound: str, expected: str) -> None:
    """Pauses are found by their silence, because the teacher's lengths mix them with the phone before."""
    assert heard(phonemes(*signs), sound) == expected


def test_silence_is_measured_against_the_sentence() -> None:
    """A soft speaker's pauses are as silent as a loud one's."""
    sound = np.concatenate([np.ones(960), np.full(480, 0.02), np.full(480, 0.001)]).astype(np.float32)
    for loudness in (1.0, 0.01):
        assert silent_tokens(np.float32(loudness) * sound, 4).tolist() == [False, False, False, True]


def test_a_stress_mark_is_its_vowels() -> None:
    """A stress mark and its time belong to its vowel, a weak vowel has none; signs that sound alike are one phone."""
    found = sign_phones(
        phonemes(("b", 1), ("ˈ", 1), ("A", 1), ("k", 1), ("ˌ", 1), ("ə", 1), ("ᵊ", 1), ("—", 1))
    )
    assert [PHONES[phone] for phone in found] == ["b", "ˈA", "ˈA", "k", "ə", "ə", "ə", ","]


def test_every_sign_that_the_teacher_is_asked_for_is_a_phone() -> None:
    """Each sign has a phone, also with stress."""
    signs = {
        *CONSONANT_SIGNS.values(),
        *"".join([*VOWEL_SIGNS.values(), *UNSTRESSED_SIGNS.values()]),
        *"Tɐᵊ.,?!;:—… ",
    }
    for sign in signs:
        (phone,) = sign_phones([(sign, 0, 1)])
        assert PHONES[phone] == features.SAME_PHONES.get(sign, sign)


@pytest.mark.parametrize("voice", PITCH_BORDERS_HZ)
def test_pitch_is_counted_from_the_speakers_own(voice: str) -> None:
    """Level 0 is unvoiced or nearly so, then one for each part of the speaker's range, from the lowest up."""
    borders = PITCH_BORDERS_HZ[voice]
    assert len(borders) == NUM_PITCH_LEVELS - 1
    assert list(borders) == sorted(borders)
    said = phonemes(("t", 1), ("i", 2))
    signs = np.array([-1, 0, 1, 1, 1], np.int16)
    pitch_hz = np.array([0, borders[0] - 1, borders[0] + 1, borders[1] + 1, borders[-1] + 1], np.float32)
    tokens = semantic_tokens(said, signs, pitch_hz, voice)
    assert [PHONES[token // NUM_PITCH_LEVELS] for token in tokens] == ["^", "t", "i", "i", "i"]
    assert [token % NUM_PITCH_LEVELS for token in tokens] == [0, 0, 1, 2, NUM_PITCH_LEVELS - 1]


def test_pitch_is_read_between_two_values() -> None:
    """Pitch is interpolated if both values are voiced, else the nearest is taken, so that none is half a pitch."""
    pitch_hz = np.array([0, 100, 200, 0], np.float32)  # in the middles of samples 0 to 300, 300 to 600, ...
    places = np.array([0, 299, 301, 450, 525, 600, 750, 899, 901, 1199], np.float64)
    assert pitch_at(pitch_hz, places).tolist() == pytest.approx([0, 0, 100, 100, 125, 150, 200, 200, 0, 0])


def test_a_shard_becomes_tokens_and_frames(tmp_path: Path) -> None:
    """A shard has 50 tokens and 75 frames per second, each sentence with its own pitch; an existing one is kept."""
    said = phonemes(("ˈ", 3), ("i", 40), (".", 5))
    length = 50 * TOKEN_SAMPLES
    times = np.arange(length) / features.SAMPLE_RATE_HZ
    sound = np.sin(2 * np.pi * 100 * times) * (times > 2 / 50)
    row = {
        "text": "E.",
        "paragraph": 0,
        "voice": "kumo",
        "length": length,
        "pieces": [["ˈi"], ["."]],
        "phonemes": said,
    }
    rows = [row | {"start": 0}, row | {"start": length, "voice": "gongitsune"}]
    (tmp_path / "00000.json").write_text(json.dumps(rows))
    np.savez(
        tmp_path / "00000.npz",
        sound=(np.tile(sound, 2) * 20_000).astype(np.int16),
        pitch_hz=np.repeat(np.array([100, 200], np.float32), length // features.PITCH_SAMPLES),
    )
    folder = tmp_path / "features"
    folder.mkdir()
    shard_features(tmp_path / "00000.json", folder)
    made = np.load(folder / "00000.npz", allow_pickle=False)
    assert made["tokens"].tolist() == [50, 50]
    assert made["frames"].tolist() == [75, 75]
    extra = made["features"][:, NUM_MELS:]
    assert extra[0] == pytest.approx(
        [PITCH_WEIGHT * (np.log(100) - MEAN_LOG_PITCH), VOICING_WEIGHT], abs=0.01
    )
    assert extra[-1] == pytest.approx(
        [PITCH_WEIGHT * (np.log(200) - MEAN_LOG_PITCH), VOICING_WEIGHT], abs=0.01
    )
    phones = [PHONES[token // NUM_PITCH_LEVELS] for token in made["semantic"][:50]]
    assert phones == ["^"] * 2 + ["ˈi"] * 48
    assert made["places"][:50].tolist() == [0] * 5 + [1] * 45
    assert sorted(path.name for path in folder.iterdir()) == ["00000.npz"]
    (tmp_path / "00000.json").write_text("no rows")
    shard_features(tmp_path / "00000.json", folder)
