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
    """Draw first audio and gaps by the number of listeners."""
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
    """Draw every step beside its floor."""
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


def draw_soak(result: dict[str, Any], path: Path) -> None:
    """Draw memory, tasks and first sounds over time."""
    rows = result["rows"]
    minutes = [row["minute"] for row in rows]
    figure, (memory, tasks, first) = plt.subplots(3, 1, sharex=True, figsize=(7, 7))
    memory.plot(minutes, [row["rss_mib"] for row in rows])
    memory.set_ylim(bottom=0)
    memory.set_ylabel("memory, MiB")
    for name in ("tasks", "descriptors", "threads"):
        tasks.plot(minutes, [row[name] for row in rows], label=name)
    tasks.set_ylim(bottom=0)
    tasks.legend()
    first.plot(minutes, [row["first_sound_p99_ms"] or float("nan") for row in rows], color="tab:red")
    first.set_ylim(bottom=0)
    first.set_ylabel("first sound, p99, ms")
    first.set_xlabel("minutes")
    save(figure, path)


def draw_quality(result: dict[str, Any], path: Path) -> None:
    """Draw every way of speaking beside the teacher, and the jumps at borders beside those near them."""
    ways = result["ways"]
    names = [way["way"] for way in ways]
    figure, ((words, mos), (pitch, joins)) = plt.subplots(2, 2, figsize=(9, 7))
    words.bar(names, [100 * way["word_error_rate"] for way in ways])
    words.set_ylabel("word error rate, %")
    mos.bar(names, [way["dnsmos_overall"] for way in ways], color="tab:green")
    mos.set_ylabel("DNSMOS, 1 to 5")
    mos.set_ylim(1, 4)
    for axes in (words, mos):
        axes.tick_params("x", rotation=20)
    ranges = [
        (f"{way['way']}, {voice}", *hz)
        for way in ways
        if way["way"] in ("teacher", "streamed")
        for voice, hz in way["pitch_hz"].items()
    ]
    for row, (name, low, middle, high) in enumerate(reversed(ranges)):
        pitch.plot([low, high], [row, row], color="tab:purple", linewidth=6, alpha=0.4)
        pitch.plot(middle, row, "o", color="tab:purple")
        pitch.text(low, row + 0.15, name)
    pitch.set_yticks([])
    pitch.set_ylim(-0.5, len(ranges))
    pitch.set_xlabel("pitch, Hz: the middle, and eight tenths")
    kinds = ("level", "spectral")
    for shift, where in ((-0.2, "at_borders"), (0.2, "near_by")):
        heights = [result["joins"][f"{kind}_jump_{where}_db"] for kind in kinds]
        joins.bar([shift, 1 + shift], heights, width=0.35, label=where.replace("_", " "))
    joins.set_xticks([0, 1], ["level", "spectrum"])
    joins.set_ylabel("jump over 10 ms, dB")
    joins.legend()
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
    matplotlib.rcParams["svg.hashsalt"] = "streamer"  # so that the same figures give the same file
    stages = []
    for path in sorted(arguments.results.rglob("*.json")):
        result = json.loads(path.read_text())
        if result.get("benchmark") == "simulate":
            draw_simulation(result, arguments.images / f"{path.stem}.svg")
        elif result.get("benchmark") == "soak":
            draw_soak(result, arguments.images / f"{path.stem}.svg")
        elif result.get("benchmark") == "quality":
            draw_quality(result, arguments.images / f"{path.stem}.svg")
        elif result.get("benchmark") == "stages":
            stages.append(result)
    if stages:
        draw_floors(stages, arguments.images / "stages.svg")


if __name__ == "__main__":
    main()
