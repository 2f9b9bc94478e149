"""Which stage steps next, and for whom: pure Python, driven by when each listener would fall silent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic

from streamer.engine.request import Request, WorkT
from streamer.engine.stage import Stage


@dataclass(frozen=True, slots=True)
class Tick(Generic[WorkT]):
    """One decision: `stage` takes a step for `requests`, the most urgent first."""

    stage: Stage[WorkT]
    requests: list[Request[WorkT]]


PRESSING_S = 0.3
"""A listener who falls silent within so long should not wait for much that others need."""


class Scheduler(Generic[WorkT]):
    """Serves listeners who have heard nothing yet first, then whoever has the least lead.

    A request whose listener's sound has piled up by more than `generate_ahead_s` is parked: it takes no part
    in any step until some was taken. Nobody starves: who gets nothing falls silent next, and so is first.
    """

    def __init__(self, stages: Sequence[Stage[WorkT]], *, generate_ahead_s: float) -> None:
        self._stages_last_first = tuple(reversed(stages))
        self._generate_ahead_s = generate_ahead_s

    def pick(self, requests: Iterable[Request[WorkT]], now_s: float) -> Tick[WorkT] | None:
        """The next step, or None where nobody can move.

        The most urgent request decides the stage: its latest ready one, which is the shortest way to sound.
        Whoever else is ready for this stage joins, for one more row costs little. Where it costs much
        (`Stage.is_heavy`) only one joins as long as the first one's listener presses.
        """
        runnable = [
            (request.urgency, place, request)
            for place, request in enumerate(requests)
            if self._is_runnable(request)
        ]
        by_urgency = [request for _, _, request in sorted(runnable)]
        for first in by_urgency:
            for stage in self._stages_last_first:
                if stage.is_ready(first.work):
                    ready = [other for other in by_urgency if stage.is_ready(other.work)]
                    if first.is_pressing(now_s + PRESSING_S):
                        ready = self._with_one_heavy(stage, ready)
                    return Tick(stage, ready[: stage.max_rows])
        return None

    def _with_one_heavy(self, stage: Stage[WorkT], ready: list[Request[WorkT]]) -> list[Request[WorkT]]:
        """The first, the next one whose step is heavy, and all whose steps are light."""
        heavy = [request for request in ready[1:] if stage.is_heavy(request.work)]
        left_out = set(map(id, heavy[1:]))
        return [request for request in ready if id(request) not in left_out]

    def _is_runnable(self, request: Request[WorkT]) -> bool:
        return not request.is_cancelled and request.ahead_s <= self._generate_ahead_s
