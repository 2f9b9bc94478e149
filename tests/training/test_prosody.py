"""The semantic model also learns from what the teacher would say, of which no sound was made."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from training import features, prosody, teacher
from training.features import NUM_PITCH_LEVELS, PHONES, Floats
from training.recipe import NUM_CODEBOOKS
from training.sentences import Line
from training.spoken import read_prosody
from training.teacher import FRAME_SAMPLES, Kokoro, loudness_only

WORDS = {"ha": "HH AA1", "bat": "B AE1 T"}
LOUD_ENERGY, SILENT_ENERGY = 7.0, -6.0
PITCH_HZ = 100.0


def kokoro() -> Kokoro:
    """Kokoro whose signs take eight frames each, loud but for the marks."""
    ids = {sign: number + 1 for number, sign in enumerate("hɑˈætb.,T ")}
    marks = {0, ids["."], ids[","], ids[" "]}

    def graph(given: Sequence[int], _: Floats) -> tuple[Floats, Floats, Floats]:
        durations = np.full(len(given), 8, np.float32)
        energy = np.repeat([SILENT_ENERGY if id_ in marks else LOUD_ENERGY for id_ in given], 16)
        # The lengths are late by 2.1 frames.
        energy = np.roll(energy, -4)
        return loudness_only(energy.astype(np.float32)), durations, np.full(len(energy), PITCH_HZ, np.float32)

    return Kokoro(graph, ids, dict.fromkeys(teacher.VOICES, np.zeros((510, 1, 256), np.float32)))


@pytest.mark.parametrize("energy", [-8.0, -5.0, 0.0, 4.0, 8.0])
def test_energy_becomes_loudness(energy: float) -> None:
    """Each value of energy stands for half a frame, and more of it is louder; its peak is above its mean."""
    sound = loudness_only(np.array([energy, energy + 1], np.float32)).reshape(2, -1)
    assert sound.shape == (2, FRAME_SAMPLES // 2)
    loudness, peak = np.sqrt(np.square(sound).mean(axis=1)), sound.max(axis=1)
    assert loudness[1] > loudness[0] and (peak > 1.2 * loudness).all()
    is_heard = peak > teacher.LOUD
    assert is_heard[0] == (energy >= 4)


def test_tokens_follow_without_a_sound() -> None:
    """The phones of a line come in order, with the pause at its mark and the speaker's level of pitch."""
    lines = [Line("Ha, bat.", 0), Line("Bat.", 0)]
    arrays, rows = prosody.prosody_shard(kokoro(), "kumo", lines, WORDS, str)
    assert [set(row) for row in rows] == [{"text", "voice", "pieces"}] * 2
    first = arrays["semantic"][: arrays["tokens"][0]]
    said = [PHONES[phone] for phone, _ in groupby((first // NUM_PITCH_LEVELS).tolist())]
    assert [sign for sign in said if sign != "^"] == ["h", "ˈɑ", ",", "b", "ˈæ", "t", "."]
    level = int(np.searchsorted(features.PITCH_BORDERS_HZ["kumo"], PITCH_HZ))
    assert set((first % NUM_PITCH_LEVELS).tolist()) == {level}
    assert len(arrays["places"]) == len(arrays["semantic"]) == arrays["tokens"].sum()


def test_made_shards_are_read_beside_the_spoken_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made is read with its text and signs, has no codes, and is not made a second time."""
    monkeypatch.setattr(prosody, "_teacher", lambda: (kokoro(), WORDS, str))
    folder = tmp_path / "prosody"
    folder.mkdir()
    prosody.say(160, [Line("Ha, bat.", 0), Line("Bat.", 0)], folder=folder)
    prosody.say(160, [Line("Ha.", 0)], folder=folder)
    items = read_prosody(tmp_path)
    assert [item.text for item in items] == ["Ha, bat.", "Bat."]
    assert {item.speaker for item in items} == {teacher.voice_of(160)}
    for item in items:
        assert len(item.semantic) == len(item.places) > 0
        assert item.codes.shape == (NUM_CODEBOOKS, 0)
        num_signs = sum(len(sign) for piece in item.pieces for sign in piece)
        assert 0 <= item.places.min() <= item.places.max() < num_signs
    assert read_prosody(tmp_path / "nowhere") == []
