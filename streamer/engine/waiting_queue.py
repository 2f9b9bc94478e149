"""The requests that wait for a slot, and which of them gets the next free one; pure Python."""

from __future__ import annotations

from operator import attrgetter
from typing import Generic

from streamer.engine.request import Request, WorkT
from streamer.engine.slots import SlotPool

RESERVED_FRACTION = 8
"""One slot in this many is reserved for urgent requests, because others may stay parked in theirs for long."""
URGENT_S = 2.0
"""A request is urgent if its utterance plays next what it delivers and its deadline is at most this far ahead."""


class WaitingQueue(Generic[WorkT]):
    """Hands free slots out by the earliest deadline; requests that have time leave the reserved slots free."""

    def __init__(self, slots: SlotPool) -> None:
        self._slots = slots
        self._num_reserved = slots.num_slots // RESERVED_FRACTION
        self.requests: dict[Request[WorkT], None] = {}

    def add(self, request: Request[WorkT]) -> None:
        """Queue a request."""
        self.requests[request] = None

    def remove(self, request: Request[WorkT]) -> bool:
        """Take a request out; False if it was not waiting."""
        is_here = request in self.requests
        self.requests.pop(request, None)
        return is_here

    def next(self, now_s: float) -> Request[WorkT] | None:
        """Take out the request that gets a slot now, with `work.slot` set; None if there is none."""
        if not self.requests or not self._slots.num_free:
            return None
        request: Request[WorkT] = min(self.requests, key=attrgetter("urgent_from_s"))
        is_soon = request.deadline_s <= now_s + URGENT_S
        is_urgent = is_soon and request.playback.is_next(request.sentence_index)
        if not is_urgent and self._slots.num_free <= self._num_reserved:
            return None
        slot = self._slots.try_allocate()
        assert slot is not None
        request.work.slot = slot
        del self.requests[request]
        return request
