"""Decides which stage steps next and for which requests, by the time left before each client's playback underruns.

Pure Python.
"""

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

LEAD_SHARE = 0.02
"""The part of the leader's remaining time before its deadline that the rows joining its step may cost."""
LATE_SHARE = 0.06
"""The part of the leader's lateness that they may cost after its deadline: a slightly longer gap is hardly noticed,
and sharing steps is how many late requests catch up."""
DECODE_CREDIT = 0.5
"""What a decode row saves by joining, in units of a step's fixed cost. It saves one whole step (1.0) of its own later,
which is worth less than time now."""
PREFILL_CREDIT = 8.0
"""What a prefill row saves by joining, in the same unit: it begins a series of decode steps, which can be shared only
once it has begun."""
MAX_STEP_S = 0.25
"""The longest step in seconds that rows may join, because it is also how long a new or a cancelled request waits.

A narrow model's steps, which are far shorter, follow one another a few at a time (`DecodeStep.steps_at_once`)."""
MAX_STEP_FACTOR = 4.0
"""The same in units of the leader's step alone; the larger of both limits holds."""
STEPS_BESIDE = 2
"""The most steps that the thread beside the engine's has at a time: one that runs, and the next one."""


@dataclass(frozen=True, slots=True)
class Batch(Generic[WorkT]):
    """One decision: `stage` takes a step for `requests`, the most urgent first.

    `num_prefills` of them take a prefill step (see `Stage.is_prefill`), the others a decode step.
    """

    stage: Stage[WorkT]
    requests: list[Request[WorkT]]
    num_prefills: int
    is_help: bool = False
    """Whether the thread beside the engine's takes the step because it has nothing else to do."""
    prepares: bool = False
    """Whether it is only a part of a later step, of a single request (`Stage.preparation`)."""
    is_prepared: bool = False
    """Whether such a part of this step is done, so that it takes less time than others."""
    is_here: bool = False
    """Whether the engine's thread takes the step of a stage that runs beside it, because it has nothing else to do."""

    @property
    def is_beside(self) -> bool:
        """Whether the thread beside the engine's takes the step."""
        return self.is_help or (self.stage.runs_beside and not self.is_here)

    @property
    def fields(self) -> dict[str, object]:
        """What the log says of it."""
        return {"stage": self.stage.name, "requests": [request.request_id for request in self.requests]}


class Scheduler(Generic[WorkT]):
    """Earliest deadline first, with batches that grow as far as their leader can afford. Times in seconds.

    **The leader.** The request with the earliest deadline (`Request.urgent_from_s`) leads, and the last stage of the
    chain that is ready for it is run, because that is the shortest way to audio. Some stages may run beside the
    engine's thread, which takes the next step at once; while that other thread has enough to do, only the
    stages before them are run. While it has nothing to do, it helps with these (`help`), and the engine's thread takes
    some of its steps while there is nothing else left for it (`_may_run_here`).

    **Who joins.** Other requests that are ready for the same stage join in the order of their deadlines. A step takes
    `fixed_s + decode_row_s * decodes + prefill_row_s * prefills` (learnt, see `StepCosts`). A row that joins makes the
    leader wait for `row_s`, but saves a step later; it joins if the difference fits the leader's budget:

        price   = max(0, row_s - CREDIT * fixed_s)
        budget  = LEAD_SHARE * min(deadline - now, generate_ahead_s)    before the deadline
                  LATE_SHARE * (now - deadline)                         after it
                  0                                                     after it, without audio so far
        joins if  sum of prices <= budget
             and  the step takes at most max(MAX_STEP_S, MAX_STEP_FACTOR * the leader's step alone)

             and  it is preferred, or the leader is not

    So decode steps are shared widely where a row costs little beside the fixed part, and whole windows only if there
    is time. New requests have no budget: several that arrive together are mostly served one after another, and each
    begins its playback with a lead.

    **Parking.** A request with more than `generate_ahead_s` of audio that was not consumed takes part in no step until
    some was.

    **Starvation** is impossible: the deadline of a request that gets nothing stands still, and becomes the earliest.

    The requests are kept in order; `refresh` must be called after a playback has changed.
    """

    def __init__(self, stages: Sequence[Stage[WorkT]], *, generate_ahead_s: float) -> None:
        self.costs = {stage.name: StepCosts() for stage in stages}
        self._stages_last_first = tuple(reversed(stages))
        self._stages_here = tuple(stage for stage in self._stages_last_first if not stage.runs_beside)
        self._stages_helped = tuple(stage for stage in self._stages_here if stage.step_beside is not None)
        self._generate_ahead_s = generate_ahead_s
        self._numbers = itertools.count()
        self._places: dict[Request[WorkT], tuple[float, int] | None] = {}  # None: parked
        self._order: list[tuple[tuple[float, int], Request[WorkT]]] = []
        self._requests: defaultdict[PlaybackState, dict[Request[WorkT], int]] = defaultdict(dict)

    def add(self, request: Request[WorkT]) -> None:
        """Let the request take part from now on."""
        self._requests[request.playback][request] = next(self._numbers)
        self._places[request] = None
        self._place(request)

    def remove(self, request: Request[WorkT]) -> None:
        """Forget a request that has ended."""
        self._take_out(request)
        del self._places[request]
        of_playback = self._requests[request.playback]
        del of_playback[request]
        if not of_playback:
            del self._requests[request.playback]

    def refresh(self, playback: PlaybackState) -> None:
        """Put the requests of this playback where they belong now that it has changed."""
        if playback in self._requests:
            for request in self._requests[playback]:
                self._take_out(request)
                self._place(request)

    def reset_costs(self) -> None:
        """Forget what was learnt about the cost of steps."""
        self.costs = {name: StepCosts() for name in self.costs}

    def update_costs(self, batch: Batch[WorkT], duration_s: float) -> None:
        """Learn from a step that was run as a whole."""
        if batch.prepares or batch.is_prepared:
            return
        num_decodes = len(batch.requests) - batch.num_prefills
        self.costs[batch.stage.name].observe(num_decodes, batch.num_prefills, duration_s)

    def schedule(self, now_s: float, beside: Sequence[Batch[WorkT]] = ()) -> Batch[WorkT] | None:
        """Return the next step, or None if no request can advance.

        `beside` is what the thread beside the engine's has to do. While that is enough, the stages that run there take
        no step.
        """
        stages = self._stages_last_first if len(beside) < STEPS_BESIDE else self._stages_here
        for place, (_, leader) in enumerate(self._order):
            for stage in stages:
                if stage.is_ready(leader.work):
                    if self._may_run_here(stage, leader, beside, now_s):
                        return Batch(stage, [leader], int(stage.is_prefill(leader.work)), is_here=True)
                    return self._fill(stage, place, now_s)
        return None

    def _may_run_here(
        self, stage: Stage[WorkT], leader: Request[WorkT], beside: Sequence[Batch[WorkT]], now_s: float
    ) -> bool:
        """Whether the engine's thread can take a request's step of a stage that runs beside it, while that one is busy.

        It must have nothing else to do, now or as soon as that thread's help is there, and nobody may wait for what it
        delivers: nobody who has heard nothing yet, or for whom it is late. It takes the step for a single request, so
        that it is soon back.
        """
        if not beside or not stage.runs_beside or stage.step_here is None:
            return False
        before = self._stages_last_first[self._stages_last_first.index(stage) :]
        return not (
            any(other.is_help for other in beside)
            or any(other.stage in before and leader in other.requests for other in beside)
            or any(own.is_ready(request.work) for _, request in self._order for own in self._stages_here)
            or not all(r.playback.has_begun and r.deadline_s > now_s for _, r in self._order)
        )

    def help(self, batch: Batch[WorkT]) -> Batch[WorkT] | None:
        """Return a step for the thread beside the engine's, which is idle, while the engine takes `batch`'s, or None.

        It is of a single request, the most urgent one that the engine does not serve or whose next window can be
        prepared, so that it is short: what the thread is for may follow at once.
        """
        if batch.is_beside:
            return None
        if batch.stage.is_joined and batch.num_prefills and self._is_first_of_all(batch.requests[0]):
            return None  # The thread takes part in the prefill itself.
        for _, leader in self._order:
            for stage in self._stages_helped:
                if stage.preparation is not None and stage.preparation.is_ready(leader.work):
                    return Batch(stage, [leader], 1, is_help=True, prepares=True)
                is_taken = stage is batch.stage and leader in batch.requests
                if not is_taken and stage.is_ready(leader.work):
                    num_prefills, is_prepared = (
                        int(stage.is_prefill(leader.work)),
                        _is_prepared(stage, [leader]),
                    )
                    return Batch(stage, [leader], num_prefills, is_help=True, is_prepared=is_prepared)
        return None

    def _is_first_of_all(self, request: Request[WorkT]) -> bool:
        """Whether there is no other request, and nothing of this one's utterance was heard yet."""
        return len(self._places) == 1 and not request.playback.has_begun

    def _fill(self, stage: Stage[WorkT], place: int, now_s: float) -> Batch[WorkT]:
        """Return the batch of the leader at `place` with all who join."""
        leader = self._order[place][1]
        costs, is_ready, is_prefill = self.costs[stage.name], stage.is_ready, stage.is_prefill
        fixed_s, decode_row_s, prefill_row_s = costs.fixed_s, costs.decode_row_s, costs.prefill_row_s
        decode_price_s = max(0.0, decode_row_s - DECODE_CREDIT * fixed_s)
        prefill_price_s = max(0.0, prefill_row_s - PREFILL_CREDIT * fixed_s)
        budget_s = self._budget_s(leader, now_s)
        batch, num_prefills = [leader], int(is_prefill(leader.work))
        own_s = fixed_s + (prefill_row_s if num_prefills else decode_row_s)
        room_s = max(MAX_STEP_S, MAX_STEP_FACTOR * own_s) - own_s if own_s < math.inf else 0.0
        for _, other in itertools.islice(self._order, place + 1, None):
            if len(batch) == stage.max_rows or budget_s < min(decode_price_s, prefill_price_s):
                break
            if is_ready(other.work) and other.is_preferred >= leader.is_preferred:
                prefills = is_prefill(other.work)
                price_s = prefill_price_s if prefills else decode_price_s
                row_s = prefill_row_s if prefills else decode_row_s
                if price_s <= budget_s and row_s <= room_s:
                    budget_s -= price_s
                    room_s -= row_s
                    num_prefills += prefills
                    batch.append(other)
        return Batch(stage, batch, num_prefills, is_prepared=_is_prepared(stage, batch))

    def _budget_s(self, leader: Request[WorkT], now_s: float) -> float:
        lead_s = leader.deadline_s - now_s
        if lead_s > 0:
            return LEAD_SHARE * min(lead_s, self._generate_ahead_s)
        return LATE_SHARE * -lead_s if leader.playback.has_begun else 0.0

    def _place(self, request: Request[WorkT]) -> None:
        """Insert the request by its deadline, unless it is to be parked."""
        if request.buffered_s <= self._generate_ahead_s:
            key = (request.urgent_from_s, self._requests[request.playback][request])
            self._places[request] = key
            insort(self._order, (key, request), key=_key)

    def _take_out(self, request: Request[WorkT]) -> None:
        key = self._places[request]
        if key is not None:
            del self._order[bisect_left(self._order, key, key=_key)]
            self._places[request] = None


def _is_prepared(stage: Stage[WorkT], batch: Sequence[Request[WorkT]]) -> bool:
    preparation = stage.preparation
    return preparation is not None and any(preparation.has_begun(request.work) for request in batch)


def _key(item: tuple[tuple[float, int], object]) -> tuple[float, int]:
    return item[0]
