"""How the threads of a compiled function share out its work; `decode_step` and `layer_kernels` run on them.

A function consists of phases, and a phase of pieces of work. Each thread runs all of the function, takes pieces of a
phase until none is left, and enters the next one when all pieces are finished. So a thread may come at any time, and is
woken once per call instead of once per phase.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import config, get_num_threads, set_num_threads

from streamer.models.cpu.llvm_intrinsics import add_atomically, read_atomically, yield_thread
from streamer.models.cpu.numba_math import kernel

Counters = npt.NDArray[np.int64]

_LINE = 8
"""The int64 numbers in a line of the processor's cache; counters that share no line do not slow each other down."""
_NEVER = 1 << 40
"""More than any number of phases or pieces."""
_SPINS = 2000
"""The number of looks at a counter before a waiting thread offers its core to others."""

# Numba's other layers share OpenMP with torch and would change its number of threads. This one gives each of the
# `num_threads` pieces of a loop a thread of its own, which is what they need to wait for each other.
config.THREADING_LAYER = "workqueue"  # type: ignore[attr-defined]

_pool = threading.Lock()
"""Held while numba's threads are in use: numba ends the process if two models share out work at once."""


class Team(NamedTuple):
    """A thread's view of the threads that share out work: each has its `own` state, and all the same `counters`."""

    counters: Counters
    own: npt.NDArray[np.int64]
    """The number of the current phase, from 1; how many pieces of it this thread has asked for; and the last answer."""


def new_counters(num_phases: int) -> Counters:
    """Make a call's counters, in a line of the cache for each phase, behind one for the phases that have begun."""
    return np.zeros((1 + num_phases) * _LINE, np.int64)


def abandon(counters: Counters) -> None:
    """Have all threads of a call go through it without beginning anything more, as one of them has failed."""
    counters[::_LINE] = _NEVER


@contextmanager
def sharing_threads(num_threads: int) -> Iterator[int]:
    """Hold numba's threads for a parallel call; yields how many of `num_threads` this machine has."""
    with _pool:
        set_num_threads(min(num_threads, config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
        yield get_num_threads()


@kernel
def new_team(counters):
    """Return a thread's view of the threads of a call, which may join it at any time."""
    team = Team(counters, np.zeros(3, np.int64))
    team.own[0] = 1
    return team


@kernel
def take(team):
    """Return the number of the phase's next piece of work that no thread has begun.

    The piece that this thread took before is finished then. In each phase a thread takes pieces until there are none.
    """
    team.own[1] += 1
    team.own[2] = add_atomically(team.counters[team.own[0] * _LINE :].ctypes.data, 1)
    return team.own[2]


@kernel
def is_last(team, num_pieces):
    """Whether this thread has finished the last of the phase's pieces, and may do what must be done before the next."""
    num_finished = team.own[1] - 1
    if num_finished == 0:
        return num_pieces == 0 and team.own[2] == 0
    before = add_atomically(team.counters[team.own[0] * _LINE + 1 :].ctypes.data, num_finished)
    return before + num_finished == num_pieces


@kernel
def open_next(team):
    """Let all threads enter the next phase. The last thread of a phase must."""
    add_atomically(team.counters.ctypes.data, 1)


@kernel
def enter_next(team):
    """Wait for the next phase, and enter it."""
    num_opened, looks = team.counters.ctypes.data, 0
    while read_atomically(num_opened) < team.own[0]:
        looks += 1
        if looks > _SPINS:
            yield_thread()
    team.own[0] += 1
    team.own[1] = 0


@kernel
def meet(team, num_pieces):
    """Enter the next phase when all pieces of this one are finished."""
    if is_last(team, num_pieces):
        open_next(team)
    enter_next(team)


@kernel
def takes_alone(team):
    """Whether this thread is the one that does what a phase of a single piece consists of; then they `meet`."""
    is_mine = take(team) == 0
    if is_mine:
        take(team)
    return is_mine
