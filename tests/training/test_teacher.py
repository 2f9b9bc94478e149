"""The teacher's shards say what was spoken, by whom, and when each phone; a stopped run loses no complete shard."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from training import teacher
from training.sentences import Line
from training.teacher import FRAME_SAMPLES, LATE_SAMPLES, Floats, Kokoro

SIGNS = "abc., "
FRAMES_OF = {0: 10, 1: 4, 2: 5, 3: 6, 4: 8, 5: 3, 6: 2}
STYLE = np.zeros((510, 1, 256), np.float32)


def graph(ids: Sequence[int], _: Floats) -> tuple[Floats, Floats, Floats]:
    """Return a tone within silence; each sign has its own length, each frame its own pitch."""
    durations = np.array([FRAMES_OF[id_] for id_ in ids], np.float32)
    num_frames = int(durations.sum())
    sound = np.zeros(num_frames * FRAME_SAMPLES, np.float32)
    sound[10 * FRAME_SAMPLES - LATE_SAMPLES : -10 * FRAME_SAMPLES] = 0.5
    pitch_hz = np.arange(2 * num_frames, dtype=np.float32) + 30
    return sound, durations, pitch_hz


def kokoro() -> Kokoro:
    ids = {sign: number + 1 for number, sign in enumerate(SIGNS)}
    return Kokoro(graph, ids, dict.fromkeys(teacher.VOICES, STYLE))


def test_phonemes_lie_where_they_are_heard() -> None:
    """The graph's lengths lose their delay; the first sign begins with the sound, and the last ends with it."""
    utterance = kokoro().speak("abc.", "kumo")
    loud = int(np.flatnonzero(utterance.sound)[0])
    assert loud == utterance.phonemes[0][1]
    assert [sign for sign, _, _ in utterance.phonemes] == ["a", "b", "c", "."]
    lengths = [length for _, _, length in utterance.phonemes]
    assert lengths[:3] == [4 * FRAME_SAMPLES, 5 * FRAME_SAMPLES, 6 * FRAME_SAMPLES]
    ends = [start + length for _, start, length in utterance.phonemes]
    assert ends == [*(start for _, start, _ in utterance.phonemes[1:]), len(utterance.sound)]


def test_most_of_the_silence_around_is_cut_and_the_pitch_with_it() -> None:
    """Each kept frame has two values of pitch, which are 0 below the lowest voice."""
    utterance = kokoro().speak("abc.", "kumo")
    loud = np.flatnonzero(utterance.sound)
    lead, trail = int(loud[0]), len(utterance.sound) - int(loud[-1]) - 1
    assert lead // FRAME_SAMPLES == teacher.LEAD_FRAMES
    assert trail // FRAME_SAMPLES == teacher.TRAIL_FRAMES
    assert len(utterance.pitch_hz) * teacher.PITCH_SAMPLES == len(utterance.sound)
    # Frame 4 of the graph is the first that is kept; its pitch is 38 Hz, below the lowest voice.
    assert utterance.pitch_hz[:4].tolist() == [0, 0, 40, 41]


@pytest.mark.parametrize(("silent_frames", "left"), [(10, 10), (16, 16), (17, 16), (40, 16)])
def test_a_long_pause_is_shortened_in_its_middle(silent_frames: int, left: int) -> None:
    """Sound, pitch and phonemes behind the pause move up together."""
    sound = np.full((20 + silent_frames, FRAME_SAMPLES), 0.5, np.float32)
    sound[10:-10] = 0
    durations = np.array([0, 10, silent_frames, 10, 0], np.float32)
    pitch_hz = np.repeat(np.arange(100, 120 + silent_frames, dtype=np.float32), 2)
    utterance = teacher.trimmed("a,b", sound.ravel(), durations, pitch_hz)
    assert len(utterance.sound) == (20 + left) * FRAME_SAMPLES
    assert utterance.pitch_hz[::2].tolist()[-10:] == [110 + silent_frames + frame for frame in range(10)]
    assert len(utterance.pitch_hz) == 2 * (20 + left)
    (_, _, before), (_, pause, _), (_, after, last) = utterance.phonemes
    assert (before, pause) == (10 * FRAME_SAMPLES - LATE_SAMPLES, 10 * FRAME_SAMPLES - LATE_SAMPLES)
    assert after == (10 + left) * FRAME_SAMPLES - LATE_SAMPLES
    assert after + last == len(utterance.sound)


@pytest.mark.parametrize("signs", ["xyz", "", "a" * 509, "ab?", "ä"])
def test_signs_that_cannot_be_said_are_refused(signs: str) -> None:
    """The error names the signs, or how many there may be."""
    with pytest.raises(ValueError, match=r"at most 508\), of which unknown: "):
        kokoro().speak(signs, "kumo")


def test_a_shard_is_read_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A row says who speaks its line and when; a line that cannot be spoken is left out with a warning."""
    words = {"ab": "B", "ca": "D"}
    lines = [Line("Ab.", 0), Line("Ca.", 0), Line("Ab, ab.", 1)]
    waits: list[int] = []
    arrays, rows = teacher.read_shard(kokoro(), "kumo", lines, words, str, lambda: waits.append(1))
    assert len(waits) == 3
    assert [(row["text"], row["paragraph"], row["voice"]) for row in rows] == [
        ("Ab.", 0, "kumo"),
        ("Ab, ab.", 1, "kumo"),
    ]
    assert "left out: 'Ca.'" in capsys.readouterr().out
    assert rows[0]["start"] == 0
    assert rows[1]["start"] == rows[0]["length"]
    assert len(arrays["sound"]) == rows[0]["length"] + rows[1]["length"]  # type: ignore[operator]
    assert rows[1]["pieces"] == [["b"], [", "], ["b"], ["."]]


def test_the_lines_are_split_between_the_voices() -> None:
    """The voices alternate shard by shard, so that each reads half."""
    voices = [teacher.voice_of(number) for number in range(10)]
    assert {voice: voices.count(voice) for voice in teacher.VOICES} == dict.fromkeys(teacher.VOICES, 5)


def test_a_shard_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An incomplete shard of a stopped run does not count, and an existing shard is not made again."""
    monkeypatch.setattr(teacher, "_teacher", lambda: (kokoro(), {"ab": "B"}, str))
    (tmp_path / "speech").mkdir()

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", stopped)
        with pytest.raises(KeyboardInterrupt):
            teacher.teach(3, [Line("Ab.", 0)], work=tmp_path, deadline_s=time.time() + 60)
    assert not list((tmp_path / "speech").glob("*.json"))
    teacher.teach(3, [Line("Ab.", 0)], work=tmp_path, deadline_s=time.time() + 60)
    rows = json.loads((tmp_path / "speech" / "00003.json").read_text())
    shard = np.load(tmp_path / "speech" / "00003.npz", allow_pickle=False)
    assert len(shard["sound"]) == rows[0]["length"]
    assert len(shard["pitch_hz"]) == rows[0]["length"] // teacher.PITCH_SAMPLES
    teacher.teach(3, [Line("Ab ab.", 0)], work=tmp_path, deadline_s=time.time() + 60)
    teacher.teach(4, [Line("Ab.", 0)], work=tmp_path, deadline_s=time.time() - 1)
    assert json.loads((tmp_path / "speech" / "00003.json").read_text()) == rows
    assert not (tmp_path / "speech" / "00004.json").exists()


def test_the_teacher_waits_while_it_is_paused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The teacher does not speak as long as the file `PAUSE` exists."""
    monkeypatch.setattr(teacher, "_teacher", lambda: (kokoro(), {"ab": "B"}, str))
    monkeypatch.setattr(teacher, "PAUSE_POLL_S", 0.01)
    (tmp_path / "speech").mkdir()
    (tmp_path / "PAUSE").touch()
    thread = threading.Thread(
        target=teacher.teach,
        args=(0, [Line("Ab.", 0)]),
        kwargs={"work": tmp_path, "deadline_s": time.time() + 60},
    )
    thread.start()
    thread.join(0.1)
    assert thread.is_alive() and not (tmp_path / "speech" / "00000.json").exists()
    (tmp_path / "PAUSE").unlink()
    thread.join(10)
    assert (tmp_path / "speech" / "00000.json").exists()
