"""Which stage steps next, and for whom: pure Python, driven by when each listener would fall silent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Generic

from streamer.engine.request import Request, WorkT
from streamer.engine.stage import Stage


@dataclass(frozen=True, slots=True)
class Tick(Generic[WorkT]):
    """One decision: `stage` takes a step for `requests`, the most urgent first."""

    stage: Stage[WorkT]
    requests: list[Request[WorkT]]


class Scheduler(Generic[WorkT]):
    """Serves listeners who have heard nothing yet first, then whoever has the least lead.

    A request whose listener's sound has piled up by more than `generate_ahead_s` is parked: it takes no part
    in any step until some was taken. The clock cancels out of the order (lead = when the listener runs dry -
    now), so none is needed. Nobody starves: who gets nothing falls silent next, and so is first.
    """

    def __init__(self, stages: Sequence[Stage[WorkT]], *, generate_ahead_s: float) -> None:
        self._stages_last_first = tuple(reversed(stages))
        self._generate_ahead_s = generate_ahead_s

    def pick(self, requests: Iterable[Request[WorkT]]) -> Tick[WorkT] | None:
        """The next step, or None where nobody can move.

        The most urgent request decides the stage: its latest ready one, which is the shortest way to
        sound. Every other request that is ready for this stage joins the batch.
        """
        by_urgency = sorted(filter(self._is_runnable, requests), key=attrgetter("urgency"))
        for request in by_urgency:
            for stage in self._stages_last_first:
                if stage.is_ready(request.work):
                    ready = [other for other in by_urgency if stage.is_ready(other.work)]
                    return Tick(stage, ready[: stage.max_rows])
        return None

    def _is_runnable(self, request: Request[WorkT]) -> bool:
        return not request.is_cancelled and request.ahead_s <= self._generate_ahead_s
