"""Draws the pictures of docs/benchmarks.md from the results in benchmarks/results (needs the `bench` extra)."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

RESULTS, IMAGES = Path("benchmarks/results"), Path("docs/images")


def draw_simulation(result: dict[str, Any], path: Path) -> None:
    """First audio and gaps by the number of listeners."""
    rows = result["rows"]
    streams = [row["streams"] for row in rows]
    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(7, 6))
    for percent in (50, 95, 99):
        above.plot(
            streams, [row[f"first_audio_p{percent}_ms"] for row in rows], marker="o", label=f"p{percent}"
        )
    above.set_ylabel("first audio, ms")
    above.set_yscale("log")
    above.legend()
    below.plot(streams, [100 * row["share_with_gap"] for row in rows], marker="o", color="tab:red")
    below.set_ylabel("with a gap over 100 ms, %")
    below.set_xlabel("listeners at once (simulated)")
    below.set_xscale("log", base=2)
    save(figure, path)


def draw_floors(results: list[dict[str, Any]], path: Path) -> None:
    """Every step beside its floor."""
    figure, axes = plt.subplots(figsize=(8, 5))
    labels, ratios = [], []
    for result in results:
        for row in result["rows"]:
            if row["floor_ms"]:
                labels.append(f"{result['size']}: {row['step']}, {row['rows']} rows")
                ratios.append(row["ms"] / row["floor_ms"])
    axes.barh(labels[::-1], ratios[::-1])
    axes.axvline(1.5, color="tab:red", linestyle="--")
    axes.set_xlabel("times its floor (dashed: the aim)")
    save(figure, path)


def save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--images", type=Path, default=IMAGES)
    arguments = parser.parse_args()
    matplotlib.rcParams["svg.hashsalt"] = "streamer"  # the same figures give the same file
    stages = []
    for path in sorted(arguments.results.rglob("*.json")):
        result = json.loads(path.read_text())
        if result.get("benchmark") == "simulate":
            draw_simulation(result, arguments.images / f"{path.stem}.svg")
        elif result.get("benchmark") == "stages":
            stages.append(result)
    if stages:
        draw_floors(stages, arguments.images / "stages.svg")


if __name__ == "__main__":
    main()
