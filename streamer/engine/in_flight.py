"""Steps that were launched and whose results are not known yet, in their order; the engine's thread only."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic

from streamer.engine.request import WorkT
from streamer.engine.scheduler import Tick
from streamer.engine.stage import Pending


class InFlight(Generic[WorkT]):
    """Launched steps, the oldest first."""

    def __init__(self) -> None:
        self._steps: deque[tuple[Tick[WorkT], Pending]] = deque()

    def add(self, tick: Tick[WorkT], pending: Pending) -> None:
        self._steps.append((tick, pending))

    def settle(self, *, at_most: int) -> Iterator[Tick[WorkT]]:
        """Yield the steps whose results are known now.

        Waits for the oldest where more than `at_most` are under way, but for no second one: their successors
        may make it possible to launch something.
        """
        has_settled = False
        while self._steps:
            tick, pending = self._steps[0]
            if not pending.is_done() and (has_settled or len(self._steps) <= at_most):
                return
            pending.settle()
            self._steps.popleft()
            has_settled = True
            yield tick

    def clear(self) -> None:
        self._steps.clear()
