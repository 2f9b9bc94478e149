"""What can only a GPU show? The most telling first, in one command of a given number of minutes.

    python -m benchmarks.gpu_evidence --minutes 8 --output benchmarks/results/gpu

On a machine that has torch but reaches no registry, install first what `make wheels` fetched elsewhere:

    pip install --no-index --find-links wheels/libraries -r benchmarks/gpu_wheels.txt
    pip install --no-index --no-deps --no-build-isolation -e .

(and numba from wheels/compiler, if it is not there either).

First come the tests: every kernel beside the plain path, then whole sentences beside the CPU's, recorded as graphs and
not. Then, with random weights of the large and the small shape, which are made meanwhile: first audio, the stages
beside their floors, capacity, and transformers beside us. Each part is a process with a time limit, at which it ends
with all that it started; one that fails keeps no other from running. `summary.json` holds what the parts have measured
and the end of what they printed, and is written after each of them. `--rehearse` does the same with tiny shapes on any
machine, to see that it works.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from streamer.loadtest.environment import environment, write_result

TAIL_CHARS = 3000
MINUTES = 8.0
"""The usual time limit of the whole command; the limits of its parts fit into it, and change with it."""
WEIGHTS_S = 120.0
"""How long parts wait for the weights that they need, in seconds, from the beginning of the command."""
SHAPES = ("large", "small")


@dataclass(frozen=True, slots=True)
class Part:
    """A command, as arguments of `python -m`, with its time limit in seconds. `shape`: the weights that it needs."""

    name: str
    arguments: list[str]
    limit_s: float
    shape: str | None = None
    result: Path | None = None
    """The JSON file that it writes."""


def parts(folder: Path, output: Path, *, is_rehearsal: bool, minutes: float = MINUTES) -> list[Part]:
    """Return all parts, the most telling first. `folder` holds the weights, in a directory for each shape."""
    device = [] if is_rehearsal else ["--device", "cuda"]
    step = ["--seconds", "2", "--utterances", "4"] if is_rehearsal else ["--seconds", "15"]
    seconds = "1" if is_rehearsal else "5"

    def tests(name: str, directory: str, limit_s: float) -> Part:
        return Part(name, ["pytest", "-v", "-rA", "-p", "no:cacheprovider", directory], limit_s)

    def measured(name: str, limit_s: float, shape: str | None, module: str, *more: str) -> Part:
        result = output / f"{name}.json"
        arguments = [f"benchmarks.{module}", *more, "--output", str(result)]
        return Part(name, arguments, limit_s, shape, result)

    def first_audio(shape: str, limit_s: float) -> Part:
        repeats = "1" if is_rehearsal else "3"
        more = ("--model", str(folder / shape), "--others", "0", "--repeats", repeats)
        return measured(f"first-audio-{shape}", limit_s, shape, "first_audio", *more)

    def size_of(shape: str) -> str:
        return "tiny" if is_rehearsal else shape

    def stages(shape: str, limit_s: float) -> Part:
        return measured(f"stages-{shape}", limit_s, None, "stages", "--size", size_of(shape), *device)

    def capacity(shape: str, limit_s: float, rate_hz: int) -> Part:
        more = ("--model", str(folder / shape), "--count-silence", "--rate", f"{rate_hz}", "--warm-up", "2")
        return measured(f"capacity-{shape}", limit_s, shape, "capacity", *more, *step)

    compared = ("--size", size_of("small"), "--seconds", seconds, *device)
    all_parts = [
        tests("kernels", "tests/models/gpu", 50),
        tests("graphs", "tests/gpu", 50),
        first_audio("large", 45),
        stages("large", 35),
        first_audio("small", 30),
        stages("small", 25),
        capacity("large", 100, 4),
        capacity("small", 80, 8),
        measured("compare-small", 60, None, "compare_transformers", *compared),
    ]
    return [replace(part, limit_s=part.limit_s * minutes / MINUTES) for part in all_parts]


def start_making(shape: str, directory: Path, output: Path, *, is_rehearsal: bool) -> subprocess.Popen[bytes]:
    """Begin to write random weights and a voice; `directory` is there once all of it is written."""
    size = "tiny" if is_rehearsal else shape
    with (output / f"weights-{shape}.txt").open("w") as printed:
        return subprocess.Popen(
            [sys.executable, "-m", "benchmarks.gpu_evidence", "--make", size, "--output", str(directory)],
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def make(size: str, directory: Path) -> None:
    """Write random weights and a voice."""
    from benchmarks.compare_transformers import make_voice, make_weights  # imports torch

    unfinished = directory.with_name(f"{directory.name}.unfinished")
    make_weights(size, unfinished)
    make_voice(unfinished)
    unfinished.rename(directory)


def run(part: Part, limit_s: float, output: Path) -> dict[str, Any]:
    """Run one part; its output goes to a file beside the results as it comes, and stays there if the part is ended.

    `status` is the process's exit status, None at the time limit, or what kept it from running.
    """
    begin_s, path = time.monotonic(), output / f"{part.name}.txt"
    row: dict[str, Any] = {"part": part.name, "status": "not run"}
    try:
        row["status"] = _status(part, limit_s, path)
        row["tail"] = path.read_text(errors="replace")[-TAIL_CHARS:]
        if part.result is not None and part.result.exists():
            row["result"] = json.loads(part.result.read_text())
    except (
        OSError,
        ValueError,
    ) as error:  # a full disk, a file that was cut off: no reason to end the others
        failed = f"{type(error).__name__}: {error}"
        row["status"] = f"{'out of time' if row['status'] is None else row['status']}; {failed}"
    return {"tail": "", **row, "seconds": time.monotonic() - begin_s}


def _status(part: Part, limit_s: float, path: Path) -> int | None:
    with path.open("w") as printed:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", *part.arguments],
            stdout=printed,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},  # also for the processes that it starts
            start_new_session=True,
        )
        try:
            return process.wait(max(0.0, limit_s))
        except subprocess.TimeoutExpired:
            printed.write(f"\nstopped after {limit_s:.0f} s\n")
            return None
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with all that it started: a server that outlives its part would keep the GPU's memory."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_all(wanted: list[Part], folder: Path, output: Path, *, is_rehearsal: bool, minutes: float) -> bool:
    """Run the parts, write the summary after each, and return whether all went well."""
    begin_s = time.monotonic()
    rows: list[dict[str, Any]] = []
    summary = {"benchmark": "gpu_evidence", **environment(), "minutes": minutes, "parts": rows}
    with contextlib.ExitStack() as makers:
        making = {}
        for shape in dict.fromkeys(part.shape for part in wanted if part.shape):
            making[shape] = start_making(shape, folder / shape, output, is_rehearsal=is_rehearsal)
            makers.callback(end, making[shape])
        for part in track(wanted, "measuring"):
            if part.shape is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):  # the part will say what is missing
                    making[part.shape].wait(max(0.0, begin_s + WEIGHTS_S - time.monotonic()))
            left_s = begin_s + 60 * minutes - time.monotonic()
            rows.append(run(part, min(part.limit_s, left_s), output))
            write_result(output / "summary.json", summary)
    show(rows)
    return all(row["status"] == 0 for row in rows) and (is_rehearsal or has_tested(rows))


def show(rows: list[dict[str, Any]]) -> None:
    """Print how each part ended."""
    table = Table()
    for column in ("part", "status", "seconds"):
        table.add_column(column)
    for row in rows:
        table.add_row(row["part"], str(row["status"]), f"{row['seconds']:.0f}")
    Console().print(table)


def has_tested(rows: list[dict[str, Any]]) -> bool:
    """Return whether the tests ran, if they were requested: a run that skips all of them looks like a success."""
    return all(
        re.search(r"\b\d+ passed", row["tail"]) for row in rows if row["part"] in ("kernels", "graphs")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="time limit of the whole command")
    parser.add_argument("--only", nargs="+", help="names of parts to run")
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--make", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        return make(arguments.make, arguments.output)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and with it all parts
    output = arguments.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    how = {"is_rehearsal": arguments.rehearse, "minutes": arguments.minutes}
    with tempfile.TemporaryDirectory() as folder:
        every = parts(Path(folder), output, **how)
        if unknown := set(arguments.only or ()) - {part.name for part in every}:
            raise SystemExit(f"no such part: {', '.join(sorted(unknown))}")
        wanted = [part for part in every if arguments.only is None or part.name in arguments.only]
        sys.exit(not run_all(wanted, Path(folder), output, **how))


if __name__ == "__main__":
    main()
