"""A slot never has two owners, and a lost one is noticed."""

import pytest

from streamer.engine.slots import SlotPool


def test_slots_run_out_and_come_back():
    """The pool hands out every slot, then None, then a slot that was freed."""
    pool = SlotPool(2)
    assert [pool.try_allocate(), pool.try_allocate(), pool.try_allocate()] == [0, 1, None]
    pool.free(1)
    assert pool.try_allocate() == 1


@pytest.mark.parametrize("slot", [0, -1, 2])
def test_freeing_what_is_not_taken_is_an_error(slot):
    """Freeing a slot twice, or one that does not exist, raises an error."""
    with pytest.raises(ValueError, match="not taken"):
        SlotPool(2).free(slot)


def test_a_lost_slot_is_found():
    """`check_integrity` names a leak."""
    pool = SlotPool(2)
    taken = pool.try_allocate()
    pool.check_integrity([taken])
    with pytest.raises(RuntimeError, match="leak"):
        pool.check_integrity([])


def test_no_slots_at_all_is_refused():
    """A pool needs at least one slot."""
    with pytest.raises(ValueError, match="at least 1"):
        SlotPool(0)


@pytest.mark.parametrize(
    ("freed", "next_slots"),
    [([0], [0, 4]), ([3], [3, 4]), ([3, 1], [1, 3]), ([2, 0, 1], [0, 1]), ([3, 2, 1, 0], [0, 1])],
)
def test_no_slot_is_used_before_all_lower_ones_are(freed: list[int], next_slots: list[int]) -> None:
    """In whatever order slots come back, the lowest is next: the memory of higher ones stays untouched."""
    pool = SlotPool(6)
    for _ in range(4):
        pool.try_allocate()
    for slot in freed:
        pool.free(slot)
    assert [pool.try_allocate() for _ in next_slots] == next_slots


def test_one_sentence_after_the_other_takes_one_slot() -> None:
    """However many there are."""
    pool = SlotPool(16)
    for _ in range(40):
        slot = pool.try_allocate()
        assert slot == 0
        pool.free(slot)
