"""How well the codec copies speech it has not seen: word error rate and mel distance beside the original's."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from streamer.audio.containers import write_wav
from training.features import HOP, SAMPLE_RATE_HZ, log_mel
from training.judge import heard, word_error_rate
from training.recipe import shards
from training.train_decoder import new_decoder, sentence_starts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sentences", type=int, default=30)
    parser.add_argument("--save", type=Path, help="folder for the first copies, as WAV files")
    arguments = parser.parse_args()
    work = arguments.work
    decoder = new_decoder(np.load(work / "codebooks.npy"))
    decoder.load_state_dict(torch.load(work / "decoder.pt", weights_only=True)["decoder"])
    decoder.eval()
    name = shards(work, held_out=True)[0]
    rows = json.loads((work / "speech" / f"{name}.json").read_text())[: arguments.sentences]
    speech = np.load(work / "speech" / f"{name}.npz")["sound"].astype(np.float32) / 32768
    frames = np.load(work / "features" / f"{name}.npz")["frames"]
    codes = np.split(np.load(work / "codes" / f"{name}.npy").astype(np.int64), np.cumsum(frames)[:-1], axis=1)
    originals, copies, distances = [], [], []
    for number, (row, start) in enumerate(zip(rows, sentence_starts(work, name), strict=False)):
        count = frames[number]
        original = speech[start : start + count * HOP]
        copy = decoder.decode(torch.from_numpy(codes[number])[None])[0].numpy()
        distances.append(np.abs(log_mel(original, count) - log_mel(copy, count)).mean())
        originals.append((row["text"], heard(original, SAMPLE_RATE_HZ)))
        copies.append((row["text"], heard(copy, SAMPLE_RATE_HZ)))
        if arguments.save and number < 5:
            arguments.save.mkdir(parents=True, exist_ok=True)
            write_wav(arguments.save / f"{number}-original.wav", original, SAMPLE_RATE_HZ)
            write_wav(arguments.save / f"{number}-copy.wav", copy, SAMPLE_RATE_HZ)
    print(
        f"word error rate: original {word_error_rate(originals):.3f}, copy {word_error_rate(copies):.3f}; "
        f"log-mel distance {np.mean(distances):.3f}"
    )


if __name__ == "__main__":
    main()
