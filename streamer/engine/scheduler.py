"""Which stage steps next, and for whom: pure Python, driven by when each listener would fall silent."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

from streamer.engine.playback import PlaybackState
from streamer.engine.request import Request, WorkT
from streamer.engine.stage import Stage
from streamer.engine.step_costs import StepCosts

SPARE_SHARE = 0.02
"""Of the time until the most urgent listener falls silent, what others may add to his step."""
LATE_SHARE = 0.06
"""Of the time that he has been silent: a little more he hardly notices, and where many are late sharing catches up."""
LIGHT_SAVES = 0.5
"""What a row that joins saves, in steps' fixed costs: a step of its own, and time later is worth less than now."""
LONGEST_STEP_S, LONGEST_STEP = 0.25, 4.0
"""Nobody joins beyond this, or so many times the first one's own step where that is longer: a step is also how long a
newcomer and a cancelled one wait."""
HEAVY_SAVES = 8.0
"""The same of a heavy row: it begins a series of light steps, and only who has begun can share them."""


@dataclass(frozen=True, slots=True)
class Batch(Generic[WorkT]):
    """One decision: `stage` takes a step for `requests`, the most urgent first; `num_heavy`: see `Stage.is_prefill`."""

    stage: Stage[WorkT]
    requests: list[Request[WorkT]]
    num_prefills: int


class Scheduler(Generic[WorkT]):
    """Serves whoever falls silent first; who has heard nothing yet is silent since he asked.

    The most urgent request decides the stage: its latest ready one, which is the shortest way to sound. Whoever
    else is ready for this stage joins, in the order of urgency, where his row costs no more than it saves, or else
    as far as the first one can spare the difference, and none where the step would become very long: so decode steps
    are shared by many where a row costs little beside the step, and whole passes by few unless there is time. Who has
    heard nothing spares nothing, so that those who begin together are mostly served one after the other, and each
    begins with a lead. A request whose listener's sound has piled up by more than `generate_ahead_s` is parked: it
    takes no part until some was taken. Nobody starves: who gets nothing is silent for longer than those who come
    later, and so is first.

    Requests are kept in order; whoever changes what a listener has must `refresh` his.
    """

    def __init__(self, stages: Sequence[Stage[WorkT]], *, generate_ahead_s: float) -> None:
        self.costs = {stage.name: StepCosts() for stage in stages}
        self._stages_last_first = tuple(reversed(stages))
        self._generate_ahead_s = generate_ahead_s
        self._numbers = itertools.count()
        self._places: dict[Request[WorkT], tuple[float, int] | None] = {}  # None: parked
        self._order: list[tuple[tuple[float, int], Request[WorkT]]] = []
        self._requests: defaultdict[PlaybackState, dict[Request[WorkT], int]] = defaultdict(dict)

    def add(self, request: Request[WorkT]) -> None:
        """From now on the request may be picked."""
        self._requests[request.listener][request] = next(self._numbers)
        self._places[request] = None
        self._place(request)

    def remove(self, request: Request[WorkT]) -> None:
        """It is over."""
        self._take_out(request)
        del self._places[request]
        of_listener = self._requests[request.listener]
        del of_listener[request]
        if not of_listener:
            del self._requests[request.listener]

    def refresh(self, listener: PlaybackState) -> None:
        """Something about what he has heard or asked for has changed."""
        if listener in self._requests:
            for request in self._requests[listener]:
                self._take_out(request)
                self._place(request)

    def reset_costs(self) -> None:
        """What was learnt so far is not how it will be."""
        self.costs = {name: StepCosts() for name in self.costs}

    def update_costs(self, tick: Batch[WorkT], took_s: float) -> None:
        """A step that was picked here took so long."""
        self.costs[tick.stage.name].observe(len(tick.requests) - tick.num_prefills, tick.num_prefills, took_s)

    def schedule(self, now_s: float) -> Batch[WorkT] | None:
        """The next step, or None where nobody can move."""
        for place, (_, first) in enumerate(self._order):
            for stage in self._stages_last_first:
                if stage.is_ready(first.work):
                    return self._tick(stage, place, now_s)
        return None

    def _tick(self, stage: Stage[WorkT], place: int, now_s: float) -> Batch[WorkT]:
        first = self._order[place][1]
        costs, is_ready, is_prefill = self.costs[stage.name], stage.is_ready, stage.is_prefill
        decode_row_s = max(0.0, costs.decode_row_s - LIGHT_SAVES * costs.fixed_s)
        prefill_row_s = max(0.0, costs.prefill_row_s - HEAVY_SAVES * costs.fixed_s)
        spare_s = self._spare_s(first, now_s)
        batch, num_prefills = [first], int(is_prefill(first.work))
        own_s = costs.fixed_s + (costs.prefill_row_s if num_prefills else costs.decode_row_s)
        room_s = max(LONGEST_STEP_S, LONGEST_STEP * own_s) - own_s if own_s < math.inf else 0.0
        for _, other in itertools.islice(self._order, place + 1, None):
            if len(batch) == stage.max_rows or spare_s < min(decode_row_s, prefill_row_s):
                break
            if is_ready(other.work):
                heavy = is_prefill(other.work)
                price_s = prefill_row_s if heavy else decode_row_s
                cost_s = costs.prefill_row_s if heavy else costs.decode_row_s
                if price_s <= spare_s and cost_s <= room_s:
                    spare_s -= price_s
                    room_s -= cost_s
                    num_prefills += heavy
                    batch.append(other)
        return Batch(stage, batch, num_prefills)

    def _spare_s(self, first: Request[WorkT], now_s: float) -> float:
        """What others may add to the most urgent one's step beyond what they save."""
        lead_s = first.deadline_s - now_s
        if lead_s > 0:
            return SPARE_SHARE * min(lead_s, self._generate_ahead_s)
        return LATE_SHARE * -lead_s if first.listener.has_begun else 0.0

    def _place(self, request: Request[WorkT]) -> None:
        """Put it where it belongs now: into the order, or among the parked."""
        if request.buffered_s <= self._generate_ahead_s:
            key = (request.deadline_s, self._requests[request.listener][request])
            self._places[request] = key
            insort(self._order, (key, request), key=_key)

    def _take_out(self, request: Request[WorkT]) -> None:
        key = self._places[request]
        if key is not None:
            del self._order[bisect_left(self._order, key, key=_key)]
            self._places[request] = None


def _key(item: tuple[tuple[float, int], object]) -> tuple[float, int]:
    return item[0]
