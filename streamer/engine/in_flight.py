"""Steps that were launched and whose results are not known yet, in their order; the engine's thread only."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic

from streamer.engine.out_of_memory import fail_requests_on_oom
from streamer.engine.request import WorkT
from streamer.engine.scheduler import Batch
from streamer.engine.stage import Pending


class InFlight(Generic[WorkT]):
    """Launched steps, the oldest first."""

    def __init__(self) -> None:
        self._steps: deque[tuple[Batch[WorkT], Pending, float]] = deque()
        self._settled_s = 0.0

    def add(self, tick: Batch[WorkT], pending: Pending, launched_s: float) -> None:
        self._steps.append((tick, pending, launched_s))

    def finish(self, clock: Callable[[], float], *, at_most: int) -> Iterator[tuple[Batch[WorkT], float]]:
        """Yield the steps whose results are known now, each with the seconds that it took the device.

        Waits for the oldest where more than `at_most` are under way, but for no second one: their successors
        may make it possible to launch something.
        """
        has_settled = False
        while self._steps:
            tick, pending, launched_s = self._steps[0]
            if not pending.is_done() and (has_settled or len(self._steps) <= at_most):
                return
            with fail_requests_on_oom(tick.requests, tick.stage.name):
                pending.finish()
            self._steps.popleft()
            has_settled = True
            # One step after the other: it began when it was launched, or when the one before it was done.
            began_s, self._settled_s = max(launched_s, self._settled_s), clock()
            yield tick, self._settled_s - began_s

    def clear(self) -> None:
        self._steps.clear()
