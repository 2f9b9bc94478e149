"""Everything that only a GPU can show, in one command of less than ten minutes; results are written as they come.

    python -m benchmarks.gpu_evidence --output benchmarks/results/gpu

Runs the GPU's tests, then the stages beside their floors, first audio, capacity and transformers beside us, with
random weights of the small and the large shape. Each part has its own time limit, and a part that fails does not
keep the others from running. `--rehearse` does the same with tiny shapes on whatever is there, to see that it works.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.compare_transformers import make_voice, make_weights
from streamer.bench.surroundings import surroundings

TAIL_CHARS = 3000


def parts(models: dict[str, Path], output: Path, *, is_rehearsal: bool) -> list[tuple[str, list[str], float]]:
    """Name, arguments of `python -m`, and seconds allowed, the most telling ones first."""
    small, large = ("tiny", "tiny") if is_rehearsal else ("small", "large")
    device = [] if is_rehearsal else ["--device", "cuda"]
    seconds = "2" if is_rehearsal else "15"
    model = ["--model", str(models[large])]
    commands: dict[str, tuple[list[str], float]] = {
        "stages-large": (["stages", "--size", large, *device], 60.0),
        "stages-small": (["stages", "--size", small, *device], 60.0),
        "first-audio-large": (["first_audio", *model, "--others", "0", "--repeats", "3"], 90.0),
        "capacity-large": (
            ["capacity", *model, "--count-silence", "--rate", "2", "--seconds", seconds],
            150.0,
        ),
        "compare-small": (["compare_transformers", "--size", small, "--seconds", seconds, *device], 120.0),
    }
    measured = [
        (name, [f"benchmarks.{module}", *more, "--output", str(output / f"{name}.json")], limit_s)
        for name, ((module, *more), limit_s) in commands.items()
    ]
    return [("tests", ["pytest", "-q", "tests/gpu"], 120.0), *measured]


def run(name: str, arguments: list[str], limit_s: float, output: Path) -> dict[str, Any]:
    """One part; its output goes to a file beside the results."""
    begin_s = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", *arguments], capture_output=True, text=True, timeout=limit_s, check=False
        )
        status, text = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired as error:
        status, text = None, f"stopped after {limit_s:g} s\n{(error.stdout or b'').decode(errors='replace')}"
    (output / f"{name}.txt").write_text(text)
    return {"part": name, "status": status, "seconds": time.monotonic() - begin_s, "tail": text[-TAIL_CHARS:]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("--only", nargs="+", help="names of parts to run")
    parser.add_argument("--rehearse", action="store_true")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        sizes = ("tiny",) if arguments.rehearse else ("small", "large")
        models = {size: Path(folder) / size for size in sizes}
        for size, directory in models.items():
            make_weights(size, directory)
            make_voice(directory)
        wanted = parts(models, arguments.output.resolve(), is_rehearsal=arguments.rehearse)
        for name, command, limit_s in track(wanted, "measuring"):
            if arguments.only is None or name in arguments.only:
                rows.append(run(name, command, limit_s, arguments.output))
                summary = {"benchmark": "gpu_evidence", **surroundings(), "parts": rows}
                (arguments.output / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    table = Table()
    for column in ("part", "status", "seconds"):
        table.add_column(column)
    for row in rows:
        table.add_row(row["part"], str(row["status"]), f"{row['seconds']:.0f}")
    Console().print(table)
    sys.exit(
        any(row["status"] not in (0, 5) for row in rows)
    )  # 5: no test was collected, or all were skipped


if __name__ == "__main__":
    main()
