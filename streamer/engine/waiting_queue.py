"""Requests that wait for a slot, and whose turn it is when one is free; pure Python."""

from __future__ import annotations

from operator import attrgetter
from typing import Generic

from streamer.engine.request import Request, WorkT
from streamer.engine.slots import SlotPool

RESERVED_SHARE = 8
"""One slot in so many is kept for the urgent: others may be parked in theirs for long."""
SOON_S = 2.0
"""Urgent is who brings the next sound to a listener who has heard nothing yet, or falls silent this soon."""


class WaitingQueue(Generic[WorkT]):
    """Whoever falls silent first goes first, and those who have time leave some slots free."""

    def __init__(self, slots: SlotPool) -> None:
        self._slots = slots
        self._num_reserved = slots.num_slots // RESERVED_SHARE
        self._waiting: dict[Request[WorkT], None] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request: Request[WorkT]) -> None:
        self._waiting[request] = None

    def leave(self, request: Request[WorkT]) -> bool:
        """Whether the request was here; it is not any more."""
        is_here = request in self._waiting
        self._waiting.pop(request, None)
        return is_here

    def next(self, now_s: float) -> Request[WorkT] | None:
        """The request that is to have a slot now, taken out with `work.slot` set; None where nobody is."""
        if not self._waiting or not self._slots.num_free:
            return None
        request: Request[WorkT] = min(self._waiting, key=attrgetter("deadline_s"))
        is_soon = request.deadline_s <= now_s + SOON_S
        is_urgent = is_soon and request.listener.is_next(request.sentence_index)
        if not is_urgent and self._slots.num_free <= self._num_reserved:
            return None
        slot = self._slots.try_allocate()
        assert slot is not None
        request.work.slot = slot
        del self._waiting[request]
        return request

    @property
    def ids(self) -> set[str]:
        return {request.request_id for request in self._waiting}

    def clear(self) -> None:
        self._waiting.clear()
