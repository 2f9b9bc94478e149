"""How much memory does a process with a model take, and how soon is it ready? This checkout, and another beside it.

Each run is a process of its own, which loads the model, warms up and speaks a sentence; the checkouts take turns. The
peak is the kernel's own figure (`VmHWM`), and time is the processor's, so that other work on the machine hardly counts.
`--transformers` runs transformers' Bark in float32 on the same weights, which must be in Hugging Face's layout.

    python -m benchmarks.memory --make small /tmp/bark
    python -m benchmarks.memory --model /tmp/bark --baseline ../before --transformers
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from streamer.loadtest.environment import commit, environment, write_result

SOURCES = Path(__file__).parents[1]
TEXT = "The quick brown fox jumps over the lazy dog."
FIGURES = ("peak_mb", "loaded_mb", "ready_mb", "loaded_cpu_s", "ready_cpu_s", "spoken_cpu_s")


def status_mb(name: str) -> float:
    """Return a figure of this process, as Linux counts it, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) / 1e6 for line in lines if line.startswith(f"{name}:"))


def run_streamer(model: Path | None, seconds: float) -> dict[str, Any]:
    """Load, warm up and speak in this process; only what older commits have, too, is used of the program."""
    from streamer.assembly import build_synthesizer
    from streamer.config import EngineConfig
    from streamer.errors import StreamerError
    from streamer.synthesis import SentenceRequest

    told: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == "memory":
                told.append(str(vars(record).get("whole_process")))

    logging.getLogger("streamer").setLevel(logging.INFO)
    logging.getLogger("streamer").addHandler(Kept())
    settings: dict[str, Any] = {"model": model, "max_load": None, "hang_limit_s": 600.0}
    settings["chunk_schedule"] = "latency"
    known = EngineConfig.__dataclass_fields__
    synthesizer = build_synthesizer(
        EngineConfig(**{name: settings[name] for name in settings if name in known})
    )
    figures = {"loaded_mb": status_mb("VmRSS"), "loaded_cpu_s": time.process_time()}

    async def speak() -> None:
        await synthesizer.start()
        figures.update(ready_mb=status_mb("VmRSS"), ready_cpu_s=time.process_time())
        info = synthesizer.info
        params = dataclasses.replace(info.default_params, seed=5, max_gen_duration_s=seconds)
        request = SentenceRequest("sentence", TEXT, info.default_voice, params)
        try:
            samples = [len(chunk.samples) async for chunk in synthesizer.synthesize(request)]
        except (
            StreamerError
        ) as error:  # an older commit may take a slow step on a busy machine for one that hangs
            told.append(str(error))
            return
        figures.update(spoken_cpu_s=time.process_time(), sound_s=sum(samples) / info.sample_rate_hz)
        await synthesizer.close()

    asyncio.run(speak())
    return {**figures, "peak_mb": status_mb("VmHWM"), "told": told}


def run_transformers(model: Path, seconds: float) -> dict[str, Any]:
    """Load and speak with transformers' Bark in float32."""
    from benchmarks.compare_transformers import SEMANTIC_HZ
    from benchmarks.compare_transformers import run_transformers as run

    run(model, "float32", "cpu", round(seconds * SEMANTIC_HZ))
    return {"peak_mb": status_mb("VmHWM"), "spoken_cpu_s": time.process_time()}


def child(name: str, sources: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one process with the program of `sources`."""
    given = [] if arguments.model is None else ["--model", str(arguments.model)]
    done = subprocess.run(
        [sys.executable, str(Path(__file__)), "--run", name, *given, "--seconds", str(arguments.seconds)],
        env={**os.environ, "PYTHONPATH": str(sources)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {"run": name, "commit": commit(sources), **row}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="model directory; none: the built-in voice")
    parser.add_argument("--baseline", type=Path, help="another checkout of this program")
    parser.add_argument("--transformers", action="store_true", help="run transformers' Bark, too")
    parser.add_argument("--runs", type=int, default=2, help="how often each is run")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of the sentence at most")
    parser.add_argument("--make", nargs=2, metavar=("SIZE", "DIRECTORY"), help="write random weights and end")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        run = run_transformers if arguments.run == "transformers" else run_streamer
        print(json.dumps(run(arguments.model, arguments.seconds)), flush=True)
        os._exit(0)  # an engine that was given up is not waited for
    if arguments.make:
        from benchmarks.gpu_evidence import make

        return make(arguments.make[0], Path(arguments.make[1]))
    turns = [("streamer", SOURCES)]
    turns += [("baseline", arguments.baseline.resolve())] if arguments.baseline else []
    rows: list[dict[str, Any]] = []
    result = {
        "benchmark": "memory",
        **environment(),
        "model": str(arguments.model or "built-in"),
        "rows": rows,
    }
    turns = turns * arguments.runs + ([("transformers", SOURCES)] if arguments.transformers else [])
    for name, sources in turns:
        rows.append(child(name, sources, arguments))
        if arguments.output:
            write_result(arguments.output, result)
    show(rows)


def show(rows: list[dict[str, Any]]) -> None:
    """Print each run."""
    table = Table()
    for column in ("run", "commit", *FIGURES):
        table.add_column(column.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(
            row["run"], row["commit"], *(f"{row[name]:.1f}" if name in row else "" for name in FIGURES)
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
