"""How a compiled call has a thread that has nothing else to do take part in it; `engine/device/cpu_stream` has two.

Such a call consists of phases whose pieces of work are taken by whichever thread comes (`numba_threads`), so that
another one may join it at any time, and what comes of it is the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from streamer.models.cpu.numba_threads import Counters, abandon

Join = Callable[[], float]
"""Takes part in a call until that is over, and returns for how many seconds; it raises nothing. Made later, it returns
at once."""


class _Place(threading.local):
    take: Callable[[Join], None] | None = None


_place = _Place()


def taker() -> Callable[[Join], None] | None:
    """What is told of this thread's calls, or None."""
    return _place.take


@contextmanager
def offering(take: Callable[[Join], None] | None) -> Iterator[None]:
    """Have `take` told of the calls that this thread makes meanwhile."""
    before, _place.take = _place.take, take
    try:
        yield
    finally:
        _place.take = before


def run_joined(work: Callable[[], None], counters: Counters) -> None:
    """Do `work`, whose threads share these counters, and let others take part in it, if anybody is told of it.

    Raises what it raised, in this thread or in another one, when no thread is in it any more.
    """
    if _place.take is None:
        work()
        return
    call = _Call(work, counters)
    _place.take(call.join)
    call.lead()


class _Call:
    """A call that is under way or over."""

    def __init__(self, work: Callable[[], None], counters: Counters) -> None:
        self._work, self._counters = work, counters
        self._changed = threading.Condition()
        self._num_inside = 0
        self._is_over = False
        self._error: BaseException | None = None

    def lead(self) -> None:
        """Do the work to its end."""
        self._take_part()
        with self._changed:
            self._is_over = True
            if self._error is not None:
                self._changed.wait_for(lambda: not self._num_inside)
                raise self._error

    def join(self) -> float:
        with self._changed:
            if self._is_over:
                return 0.0
            self._num_inside += 1
        began_s = time.monotonic()
        self._take_part()
        with self._changed:
            self._num_inside -= 1
            self._changed.notify()
        return time.monotonic() - began_s

    def _take_part(self) -> None:
        try:
            self._work()
        except BaseException as error:  # whatever it is, others wait for what this thread has begun
            self._error = self._error or error
            abandon(self._counters)
