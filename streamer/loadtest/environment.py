"""Describes the machine and the versions with which a figure was measured; it is written beside each figure."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

SOURCES: Final = Path(__file__).parents[2]
"""The checkout, if the package is used from one."""
RESULTS: Final = "benchmarks/results"
DIRTY: Final = "-dirty"
_COMMAND_TIMEOUT_S: Final = 10.0


def environment() -> dict[str, Any]:
    """Return the hardware, versions and commit of this machine and program; what cannot be found out is None.

    Warns on standard error if the figures will belong to no commit.
    """
    now_at = commit()
    if now_at is not None and now_at.endswith(DIRTY):
        print(
            f"warning: these figures belong to no commit, because the checkout is {now_at}",
            file=sys.stderr,
        )
    gpus = _output_of("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines()
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": os.getloadavg()[0],
        "gpu": gpus[0] if gpus else None,
        "python": platform.python_version(),
        "torch": _version("torch"),
        "version": _version("bark-streamer"),
        "commit": now_at,
    }


def commit(sources: Path = SOURCES) -> str | None:
    """Return the checkout's commit, with `DIRTY` if files differ from it; None if the package is installed alone.

    Recorded results do not count, because the first of a series would make all others dirty.
    """
    top = _output_of("git", "-C", str(sources), "rev-parse", "--show-toplevel")
    if not top or Path(top) != sources.resolve():  # installed below a checkout of something else
        return None
    name = _output_of("git", "-C", str(sources), "describe", "--always")
    changes = _output_of(
        *("git", "-C", str(sources), "status", "--porcelain", "--untracked-files=no"),
        *("--", ".", f":(exclude){RESULTS}"),
    )
    return name + DIRTY if changes else name


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write JSON that every reader accepts: a missing figure is null, never `NaN` or `Infinity`."""
    path.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _cpu() -> str:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _output_of(*command: str) -> str:
    """Return what a command prints, or nothing if it is missing, fails, or takes too long."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_COMMAND_TIMEOUT_S)
        return done.stdout.strip()
    return ""
