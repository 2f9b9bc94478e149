"""The main memory that this process holds, as the operating system counts it, and how to give some of it back."""

from __future__ import annotations

import ctypes
import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
"""Where Linux tells what a process holds."""


def max_resident_bytes() -> int:
    """Return the most main memory that this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def resident_bytes() -> int:
    """Return the main memory that this process holds now; where the system does not tell, the most so far."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return max_resident_bytes()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def return_freed_memory() -> None:
    """Return to the operating system what the C library keeps of freed memory, if it is one that can (glibc).

    It keeps freed blocks of up to 32 MB, as tensors of weights are, for the next ones, wherever these fit.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
