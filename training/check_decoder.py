"""How well does the codec copy speech that it has not seen? Words, DNSMOS, PESQ and mel distance to the original."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from streamer.audio.containers import write_wav
from streamer.models.codec import CodecDecoder
from training.features import HOP, SAMPLE_RATE_HZ, Floats
from training.judge import heard, naturalness, perceived_quality, word_error_rate
from training.recipe import shards
from training.spectra import WINDOWS, SpectralLoss
from training.train_decoder import new_decoder, sentence_starts


def trained_decoder(work: Path) -> CodecDecoder:
    """Return the decoder of the newest checkpoint."""
    decoder = new_decoder(np.load(work / "codebooks.npy"))
    decoder.load_state_dict(torch.load(work / "decoder.pt", weights_only=True)["decoder"])
    return decoder.eval()


def held_out_copies(work: Path, each: int) -> list[tuple[str, Floats, Floats]]:
    """Yield (text, original, copy) of the first sentences of each shard that no training saw."""
    decoder, found = trained_decoder(work), []
    for name in shards(work, held_out=True):
        rows = json.loads((work / "speech" / f"{name}.json").read_text())[:each]
        speech = np.load(work / "speech" / f"{name}.npz")["sound"].astype(np.float32) / 32768
        frames = np.load(work / "features" / f"{name}.npz")["frames"]
        codes = np.load(work / "codes" / f"{name}.npy").astype(np.int64)
        parts = np.split(codes, np.cumsum(frames)[:-1], axis=1)
        for row, part, start in zip(rows, parts, sentence_starts(work, name), strict=False):
            original = speech[start : start + part.shape[1] * HOP]
            copy = decoder.decode(torch.from_numpy(part)[None])[0].clamp(-1, 1).numpy()
            found.append((row["text"], original, copy))
    return found


def mel_distance(one: Floats, other: Floats) -> float:
    """Return the mean difference of log-mels, in nepers, over windows of 256 to 2,048 samples."""
    spectra = SpectralLoss(SAMPLE_RATE_HZ)
    distances = []
    for window in WINDOWS:
        mel = getattr(spectra, f"mel_{window}")
        ours, theirs = (
            torch.log(spectra.magnitude(torch.from_numpy(sound)[None], window) @ mel + 1e-5)
            for sound in (one, other)
        )
        distances.append(float((ours - theirs).abs().mean()))
    return float(np.mean(distances))


def draw(original: Floats, copy: Floats, path: Path) -> None:
    """Draw both spectrograms, one above the other."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, both = plt.subplots(2, 1, sharex=True, figsize=(9, 6))
    for axes, sound, name in zip(
        both, (original, copy), ("the teacher", "its copy by the codec"), strict=True
    ):
        axes.specgram(sound + 1e-5, NFFT=512, Fs=SAMPLE_RATE_HZ, noverlap=384, vmin=-130, vmax=-40)
        axes.set_ylabel(f"{name}, Hz")
    both[1].set_xlabel("seconds")
    figure.tight_layout()
    figure.savefig(path, dpi=70)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--each", type=int, default=8, help="sentences of each held-out shard")
    parser.add_argument("--save", type=Path, help="folder for the first copies, as WAV files")
    parser.add_argument("--picture", type=Path, help="PNG file for two spectrograms")
    arguments = parser.parse_args()
    copies = held_out_copies(arguments.work, arguments.each)
    texts = [text for text, _, _ in copies]
    for name, sounds in (
        ("original", [original for _, original, _ in copies]),
        ("copy", [copy for _, _, copy in copies]),
    ):
        hearings = [heard(sound, SAMPLE_RATE_HZ) for sound in sounds]
        score = np.mean([naturalness(sound, SAMPLE_RATE_HZ) for sound in sounds])
        rate = word_error_rate(zip(texts, hearings, strict=True))
        print(f"{name}: word error rate {rate:.3f}, DNSMOS {score:.2f}", flush=True)
    quality = [perceived_quality(original, copy, SAMPLE_RATE_HZ) for _, original, copy in copies]
    distance = np.mean([mel_distance(original, copy) for _, original, copy in copies])
    print(f"copy beside original: PESQ {np.mean(quality):.2f}, log-mel distance {distance:.3f}")
    if arguments.save:
        arguments.save.mkdir(parents=True, exist_ok=True)
        for number, (_, original, copy) in enumerate(copies[:5]):
            write_wav(arguments.save / f"{number}-original.wav", original, SAMPLE_RATE_HZ)
            write_wav(arguments.save / f"{number}-copy.wav", copy, SAMPLE_RATE_HZ)
    if arguments.picture:
        draw(*copies[0][1:], arguments.picture)


if __name__ == "__main__":
    main()
