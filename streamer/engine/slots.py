"""The free list of slots: a slot is one row of every stage's state, held by one request at a time."""

from __future__ import annotations

import heapq


class SlotPool:
    """Hands out the slots 0 to num_slots - 1, the lowest free one first.

    A slot takes memory when it is first used, so that a process holds no more of them than it has used at once.
    """

    def __init__(self, num_slots: int) -> None:
        if num_slots < 1:
            raise ValueError(f"num_slots must be at least 1, not {num_slots}")
        self.num_slots = num_slots
        self._free = list(range(num_slots))  # a heap

    @property
    def num_free(self) -> int:
        return len(self._free)

    def try_allocate(self) -> int | None:
        """Return a free slot, or None if all are taken."""
        return heapq.heappop(self._free) if self._free else None

    def free(self, slot: int) -> None:
        """Give `slot` back. Raises `ValueError` if it was not taken: two owners would mix two voices."""
        if not 0 <= slot < self.num_slots or slot in self._free:
            raise ValueError(f"slot {slot} is not taken")
        heapq.heappush(self._free, slot)

    def check_integrity(self, taken: list[int]) -> None:
        """Raises `RuntimeError` unless `taken` and the free slots are together all slots, each of them once."""
        if sorted(taken + self._free) != list(range(self.num_slots)):
            raise RuntimeError(f"slots leak: taken {taken}, free {self._free} of {self.num_slots}")
