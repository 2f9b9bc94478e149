"""How good does the built-in voice sound? Words, naturalness, likeness, pitch and joins, beside the teacher's speech.

The sentences are some that no training saw (`--work` is the folder of the training), each in the voice of its speaker;
with `--unseen` they are WordNet's, with rare words, as `training.unseen` has had them read.
They are spoken as streamed, whole (with even windows of the fine model), and in float32. `--sentences FILE` judges
without a teacher. It needs the packages of the training, `speechmos`, `resemblyzer` and `setuptools<81`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track
from rich.table import Table

from streamer.api import SpeechOptions, speak_into_memory
from streamer.assembly import BUILTIN_MODEL, build_synthesizer
from streamer.config import EngineConfig
from streamer.loadtest.environment import environment, write_result
from streamer.synthesis import SentenceRequest

Floats = npt.NDArray[np.float32]
WAYS = ("streamed", "whole", "streamed, float32")
RUN_OF_WORDS = 2
"""The number of words in a row that, if missing or too many, are a skip or babble; fewer may be the judge's mistake."""
JOIN_WINDOW_S = 0.01
NEAR_BY_S = (-0.13, -0.09, -0.05, 0.05, 0.09, 0.13)
TEACHER_HZ = 24_000
LOWEST_PITCH_HZ = 60.0
MIN_PITCH_S = 3.2 / LOWEST_PITCH_HZ
"""The shortest sound in seconds that has a pitch: the tracker looks at three periods of the lowest pitch."""


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence and its voice; `teacher` is the teacher's reading of it, [num_samples] at 24 kHz."""

    text: str
    voice: str
    teacher: Floats | None = None


@dataclass(frozen=True, slots=True)
class Sound:
    """The sound of one line, [num_samples] at `sample_rate_hz`."""

    line: Line
    samples: Floats
    sample_rate_hz: int


def lines_of(folder: Path, names: Sequence[str], count: int) -> list[Line]:
    """Return the first sentences of some shards of speech, equally many of each."""
    from training.recipe import VOICE_NAMES

    lines: list[list[Line]] = []
    for name in names:
        rows = json.loads((folder / f"{name}.json").read_text())
        speech = np.load(folder / f"{name}.npz")["sound"].astype(np.float32) / 32768
        lines.append(
            [
                Line(
                    row["text"],
                    VOICE_NAMES[row["voice"]],
                    speech[row["start"] : row["start"] + row["length"]],
                )
                for row in rows
            ]
        )
    if not lines:
        raise SystemExit(f"{folder} has no speech: run python -m training.teacher or training.unseen first")
    each = -(-count // len(lines))
    return [line for shard in lines for line in shard[:each]][:count]


def lines_to_judge(work: Path, count: int, *, is_unseen: bool) -> list[Line]:
    """Return sentences that no training saw: held-out ones of the teacher's, or WordNet's."""
    from training.recipe import shards
    from training.unseen import trained_texts, unseen

    if is_unseen:
        folder = work / "unseen"
        lines = lines_of(folder, sorted(path.stem for path in folder.glob("*.json")), count)
        left = set(unseen((line.text for line in lines), trained_texts(work)))
        return [line for line in lines if line.text in left]
    return lines_of(work / "speech", shards(work, held_out=True), count)


def whole_sentence_model(folder: Path) -> Path:
    """Return the built-in model with the fine windows of Bark's own code, none of which begins early."""
    model = folder / "whole"
    shutil.copytree(BUILTIN_MODEL, model)
    config = json.loads((model / "config.json").read_text())
    step = config["fine"]["context"] - config["fine"]["history"]
    config["fine"] |= {
        "chunk_frames": [step],
        "later_chunk_frames": [step],
        "last_chunk_frames": 0,
        "joined_frames": 0,
    }
    (model / "config.json").write_text(json.dumps(config))
    return model


def speak_all(lines: Sequence[Line], engine: EngineConfig, name: str) -> list[Sound]:
    sounds = []
    for number, line in enumerate(track(lines, name)):
        audio = speak_into_memory(engine, line.text, SpeechOptions(voice=line.voice, seed=number))
        sounds.append(Sound(line, audio.samples, audio.sample_rate_hz))
    return sounds


def runs(text: str, heard: str) -> tuple[int, int]:
    """Count the runs of missing words and of extra words, by the alignment with the fewest errors."""
    if not heard:
        return 1, 0
    alignment = jiwer.process_words(text, heard).alignments[0]
    missing = sum(
        part.type == "delete" and part.ref_end_idx - part.ref_start_idx >= RUN_OF_WORDS for part in alignment
    )
    added = sum(
        part.type == "insert" and part.hyp_end_idx - part.hyp_start_idx >= RUN_OF_WORDS for part in alignment
    )
    return missing, added


def judged(sounds: Sequence[Sound], name: str) -> dict[str, Any]:
    """Return all figures of one way of speaking."""
    from training.judge import heard, naturalness, word_error_rate, words

    pairs, scores, skipped, babbled, pitches = [], [], [], [], []
    for sound in track(sounds, name):
        text = sound.line.text
        hearing = heard(sound.samples, sound.sample_rate_hz)
        pairs.append((text, hearing))
        missing, added = runs(words(text), words(hearing))
        skipped += [text] * (missing > 0)
        babbled += [text] * (added > 0)
        scores.append(naturalness(sound.samples, sound.sample_rate_hz))
        pitches.append(pitch_hz(sound))
    return {
        "way": name,
        "sentences": len(sounds),
        "word_error_rate": word_error_rate(pairs),
        "skips": len(skipped),
        "babbles": len(babbled),
        "skipped": skipped,
        "babbled": babbled,
        "dnsmos_overall": float(np.mean(scores)),
        "pitch_hz": {
            voice: np.percentile(
                np.concatenate(
                    [pitch for pitch, sound in zip(pitches, sounds, strict=True) if sound.line.voice == voice]
                ),
                [10, 50, 90],
            ).tolist()
            for voice in voices_of(sounds)
        },
    }


def voices_of(sounds: Iterable[Sound]) -> list[str]:
    return sorted({sound.line.voice for sound in sounds})


def pitch_hz(sound: Sound) -> npt.NDArray[np.float64]:
    """Return the pitch of every voiced 10 ms by Praat; faster trackers mistake the pitch of a hoarse voice."""
    import parselmouth

    whole = parselmouth.Sound(sound.samples.astype(np.float64), sound.sample_rate_hz)
    if whole.duration < MIN_PITCH_S:
        return np.zeros(0)
    track_hz = whole.to_pitch_ac(0.01, LOWEST_PITCH_HZ, pitch_ceiling=400.0).selected_array["frequency"]
    voiced: npt.NDArray[np.float64] = track_hz[track_hz > 0]
    return voiced


def likeness(sounds: Sequence[Sound]) -> dict[str, float]:
    """Return the mean cosine of the embeddings of two sentences of one voice, and of two voices."""
    from resemblyzer import VoiceEncoder, preprocess_wav

    encoder = VoiceEncoder("cpu", verbose=False)
    vectors = np.stack(
        [
            encoder.embed_utterance(preprocess_wav(sound.samples, sound.sample_rate_hz))
            for sound in track(sounds, "likeness")
        ]
    )
    cosines = vectors @ vectors.T
    names = np.array([sound.line.voice for sound in sounds])
    same = names[:, None] == names
    others = ~np.eye(len(names), dtype=bool)
    found = {"same_voice": float(cosines[same & others].mean())}
    if (~same).any():
        found |= {
            "other_voice": float(cosines[~same].mean()),
            "nearer_to_own_voice_share": nearer_share(vectors, names),
        }
    return found


def nearer_share(vectors: Floats, names: npt.NDArray[np.str_]) -> float:
    """Return the share of sentences closer to the mean of the others in their voice than to another voice's mean."""
    hits = 0
    for number, name in enumerate(names):
        means = {}
        for other in set(names):
            members = names == other
            members[number] = False
            means[other] = vectors[members].mean(axis=0)
        hits += (
            max(means, key=lambda voice: float(vectors[number] @ means[voice] / np.linalg.norm(means[voice])))
            == name
        )
    return hits / len(names)


async def joins(lines: Sequence[Line]) -> dict[str, float]:
    """Return the jumps at the borders of fine chunks and near them, in decibels of level and of the spectrum.

    Of the lines those count that are spoken in one piece.
    """
    synthesizer = build_synthesizer(EngineConfig(max_load=None, chunk_schedule="latency"))
    await synthesizer.start()
    at_border: list[tuple[float, float]] = []
    near_by: list[tuple[float, float]] = []
    rate_hz = synthesizer.info.sample_rate_hz
    longest = synthesizer.info.max_text_tokens
    whole = [line for line in lines if synthesizer.count_tokens(line.text) <= longest]
    for number, line in enumerate(track(whole, "joins")):
        # This bypasses the pipeline, which would trim silence: each piece is a chunk of the fine model.
        params = replace(synthesizer.info.default_params, seed=number)
        request = SentenceRequest(str(number), line.text, line.voice, params)
        pieces = [chunk.samples async for chunk in synthesizer.synthesize(request)]
        samples, ends = np.concatenate(pieces), np.cumsum([len(piece) for piece in pieces])
        last = len(samples) - int(JOIN_WINDOW_S * rate_hz)
        at_border += [jump(samples, end, rate_hz) for end in ends[:-1] if end <= last]
        # Near the borders there is as much speech and as much silence as at them.
        places = [end + int(offset_s * rate_hz) for end in ends[:-1] for offset_s in NEAR_BY_S]
        near_by += [jump(samples, place, rate_hz) for place in places if place <= last]
    await synthesizer.close()
    there, elsewhere = np.median(at_border, axis=0), np.median(near_by, axis=0)
    return {
        "borders": len(at_border),
        "level_jump_at_borders_db": float(there[0]),
        "level_jump_near_by_db": float(elsewhere[0]),
        "spectral_jump_at_borders_db": float(there[1]),
        "spectral_jump_near_by_db": float(elsewhere[1]),
    }


def jump(samples: Floats, place: int, sample_rate_hz: int) -> tuple[float, float]:
    """Return how much the 10 ms before and after a place differ in level and, on average, per bin, in decibels."""
    size = int(JOIN_WINDOW_S * sample_rate_hz)
    before, after = samples[place - size : place], samples[place : place + size]
    level = abs(decibels(np.sqrt(np.mean(before**2))) - decibels(np.sqrt(np.mean(after**2))))
    window = np.hanning(size)
    spectra = [decibels(np.abs(np.fft.rfft(part * window)) / size) for part in (before, after)]
    return float(level), float(np.abs(spectra[0] - spectra[1]).mean())


def decibels(amplitude: Any) -> Any:
    return 20 * np.log10(amplitude + 1e-5)


def measure(lines: list[Line], names: Sequence[str]) -> dict[str, Any]:
    ways, similar = [], {}
    if all(line.teacher is not None for line in lines):
        teacher = [Sound(line, line.teacher, TEACHER_HZ) for line in lines if line.teacher is not None]
        ways.append(judged(teacher, "teacher"))
        similar["teacher"] = likeness(teacher)
    with tempfile.TemporaryDirectory() as folder:
        engines = {
            "streamed": EngineConfig(max_load=None, chunk_schedule="latency"),
            "whole": EngineConfig(model=whole_sentence_model(Path(folder)), max_load=None),
            "streamed, float32": EngineConfig(dtype="float32", max_load=None, chunk_schedule="latency"),
        }
        for name in names:
            sounds = speak_all(lines, engines[name], name)
            ways.append(judged(sounds, name))
            if name == "streamed":
                similar[name] = likeness(sounds)
    return {
        "benchmark": "quality",
        **environment(),
        "ways": ways,
        "likeness": similar,
        "joins": asyncio.run(joins(lines)),
    }


def show(result: dict[str, Any]) -> None:
    table = Table(title="the built-in voice")
    for name in ("way", "word error rate", "skips", "babbles", "DNSMOS", "pitch Hz (10, 50, 90 %)"):
        table.add_column(name)
    for way in result["ways"]:
        pitch = "; ".join(
            f"{voice} {' '.join(f'{hz:.0f}' for hz in range_hz)}"
            for voice, range_hz in way["pitch_hz"].items()
        )
        table.add_row(
            way["way"],
            f"{way['word_error_rate']:.3f}",
            str(way["skips"]),
            str(way["babbles"]),
            f"{way['dnsmos_overall']:.2f}",
            pitch,
        )
    Console().print(table)
    print(json.dumps({name: result[name] for name in ("likeness", "joins")}, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--work", type=Path, help="the training's folder: held-out sentences, beside the teacher"
    )
    source.add_argument("--sentences", type=Path, help="a file with a sentence a line")
    parser.add_argument("--unseen", action="store_true", help="with --work: WordNet's sentences")
    parser.add_argument("--count", type=int, default=200, help="sentences, all voices together")
    parser.add_argument(
        "--ways", nargs="+", choices=WAYS, default=WAYS, help="of speaking, beside the teacher's"
    )
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    if arguments.unseen and not arguments.work:
        parser.error("--unseen needs --work, where training.unseen has put what the teacher reads")
    if arguments.work:
        lines = lines_to_judge(arguments.work, arguments.count, is_unseen=arguments.unseen)
    else:
        texts = arguments.sentences.read_text().splitlines()[: arguments.count]
        voices = sorted(path.stem for path in (BUILTIN_MODEL / "voices").glob("*.npz"))
        lines = [Line(text, voices[number % len(voices)]) for number, text in enumerate(texts)]
    result = measure(lines, arguments.ways)
    show(result)
    if arguments.output:
        write_result(arguments.output, result)


if __name__ == "__main__":
    main()
