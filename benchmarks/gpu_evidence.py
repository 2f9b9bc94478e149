"""What can only a GPU show? Everything in one command of less than ten minutes; results are written as they come.

    python -m benchmarks.gpu_evidence --output benchmarks/results/gpu

On a machine that has torch but reaches no registry, install first what `make wheels` fetched elsewhere:

    pip install --no-index --find-links wheels/libraries --find-links wheels/compiler -r benchmarks/gpu_wheels.txt numba
    pip install --no-index --no-deps --no-build-isolation -e .

It runs the GPU's tests, then first audio, capacity, the stages beside their floors, and transformers beside us, with
random weights of the small and the large shape. Each part has its own time limit, at which it ends with all processes
that it started, and a part that fails does not keep the others from running. `--rehearse` does the same with tiny
shapes on any machine, to see that it works.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
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
from streamer.loadtest.environment import environment, write_result

TAIL_CHARS = 3000
TOTAL_S = 590.0
"""The time limit of the whole command, in seconds, including the making of the weights; the last part may get less
than its own limit."""


def parts(models: dict[str, Path], output: Path, *, is_rehearsal: bool) -> list[tuple[str, list[str], float]]:
    """Return the name, `python -m` arguments and time limit in seconds of each part, the most important first."""
    device = [] if is_rehearsal else ["--device", "cuda"]
    step = ["--seconds", "2", "--utterances", "4"] if is_rehearsal else ["--seconds", "15"]

    def size(shape: str) -> str:
        return "tiny" if is_rehearsal else shape

    def first_audio(shape: str) -> list[str]:
        return ["first_audio", "--model", str(models[shape]), "--others", "0", "--repeats", "3"]

    def capacity(shape: str, rate_hz: float) -> list[str]:
        model = ["--model", str(models[shape]), "--count-silence"]
        return ["capacity", *model, "--rate", f"{rate_hz:g}", "--warm-up", "2", *step]

    def stages(shape: str) -> list[str]:
        return ["stages", "--size", size(shape), *device]

    seconds = "1" if is_rehearsal else "5"
    commands: dict[str, tuple[list[str], float]] = {
        "first-audio-large": (first_audio("large"), 50.0),
        "capacity-large": (capacity("large", 4), 140.0),
        "stages-large": (stages("large"), 40.0),
        "compare-small": (
            ["compare_transformers", "--size", size("small"), "--seconds", seconds, *device],
            95.0,
        ),
        "first-audio-small": (first_audio("small"), 40.0),
        "capacity-small": (capacity("small", 8), 110.0),
        "stages-small": (stages("small"), 35.0),
    }
    measured = [
        (name, [f"benchmarks.{module}", *more, "--output", str(output / f"{name}.json")], limit_s)
        for name, ((module, *more), limit_s) in commands.items()
    ]
    return [("tests", ["pytest", "-q", "tests/gpu"], 60.0), *measured]


def run(name: str, arguments: list[str], limit_s: float, output: Path) -> dict[str, Any]:
    """Run one part; its output goes to a file beside the results as it comes, and stays there if the part is ended."""
    begin_s = time.monotonic()
    path = output / f"{name}.txt"
    with path.open("w") as printed:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", *arguments],
            stdout=printed,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},  # also for the processes that it starts
            start_new_session=True,
        )
        try:
            status = process.wait(max(0.0, limit_s))
        except subprocess.TimeoutExpired:
            status = None
            printed.write(f"\nstopped after {limit_s:.0f} s\n")
        finally:  # a server that outlives its part would keep the GPU's memory
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    tail = path.read_text(errors="replace")[-TAIL_CHARS:]
    return {"part": name, "status": status, "seconds": time.monotonic() - begin_s, "tail": tail}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("--only", nargs="+", help="names of parts to run")
    parser.add_argument("--rehearse", action="store_true")
    arguments = parser.parse_args()
    ends_s = time.monotonic() + TOTAL_S
    arguments.output.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    summary = {"benchmark": "gpu_evidence", **environment(), "parts": rows}
    with tempfile.TemporaryDirectory() as folder:
        models = {shape: Path(folder) / shape for shape in ("small", "large")}
        wanted = [
            part
            for part in parts(models, arguments.output.resolve(), is_rehearsal=arguments.rehearse)
            if arguments.only is None or part[0] in arguments.only
        ]
        for shape, directory in models.items():
            if any(str(directory) in command for _, command, _ in wanted):
                make_weights("tiny" if arguments.rehearse else shape, directory)
                make_voice(directory)
        for name, command, limit_s in track(wanted, "measuring"):
            rows.append(run(name, command, min(limit_s, ends_s - time.monotonic()), arguments.output))
            write_result(arguments.output / "summary.json", summary)
    table = Table()
    for column in ("part", "status", "seconds"):
        table.add_column(column)
    for row in rows:
        table.add_row(row["part"], str(row["status"]), f"{row['seconds']:.0f}")
    Console().print(table)
    sys.exit(any(row["status"] for row in rows) or (not arguments.rehearse and not _has_tested(rows)))


def _has_tested(rows: list[dict[str, Any]]) -> bool:
    """Return whether the tests ran, if they were requested: a run that skips all of them looks like a success."""
    return all(re.search(r"\b\d+ passed", row["tail"]) for row in rows if row["part"] == "tests")


if __name__ == "__main__":
    main()
