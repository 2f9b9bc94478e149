"""How the threads of a compiled function share out its work; `decode_step` runs on them.

A function consists of phases. Each thread runs all of it, takes pieces of a phase's work until none is left, and waits
for the others before it enters the next phase. Threads are woken once per call instead of once per phase.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import config, get_num_threads, set_num_threads

from streamer.models.cpu.llvm_intrinsics import add_atomically, yield_thread
from streamer.models.cpu.numba_math import kernel

Counters = npt.NDArray[np.int64]

_LINE = 8
"""The int64 numbers in a line of the processor's cache; counters that share no line do not slow each other down."""
_SPINS = 2000
"""The number of looks at a counter before a waiting thread offers its core to others."""

# Numba's other layers share OpenMP with torch and would change its number of threads. This one gives each of the
# `num_threads` pieces of a loop a thread of its own, which is what they need to wait for each other.
config.THREADING_LAYER = "workqueue"  # type: ignore[attr-defined]

_pool = threading.Lock()
"""Held while numba's threads are in use: numba ends the process if two models share out work at once."""


class Team(NamedTuple):
    """A thread's view of the threads that share out work: each has its own `phase`, and all the same `counters`."""

    num_threads: int
    counters: Counters
    phase: npt.NDArray[np.int64]
    """The number of the current phase, from 1, in an array of one so that it can change."""


def new_counters(num_phases: int) -> Counters:
    """Make a call's counters, one per line: of meetings, and then of each phase's pieces of work that were taken."""
    return np.zeros((1 + num_phases) * _LINE, np.int64)


@contextmanager
def sharing_threads(num_threads: int) -> Iterator[int]:
    """Hold numba's threads for a parallel call; yields how many of `num_threads` this machine has."""
    with _pool:
        set_num_threads(min(num_threads, config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
        yield get_num_threads()


@kernel
def take(team):
    """Return the number of the phase's next piece of work that no thread has begun."""
    return add_atomically(team.counters[team.phase[0] * _LINE :].ctypes.data, 1)


@kernel
def meet(team):
    """Wait until all threads have finished the phase, and enter the next one."""
    num_met = team.counters.ctypes.data
    add_atomically(num_met, 1)
    looks = 0
    while add_atomically(num_met, 0) < team.phase[0] * team.num_threads:
        looks += 1
        if looks > _SPINS:
            yield_thread()
    team.phase[0] += 1
