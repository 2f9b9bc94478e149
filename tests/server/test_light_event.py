"""A light event does what asyncio's does."""

from __future__ import annotations

import asyncio

import pytest

from streamer.server.light_event import LightEvent


@pytest.mark.parametrize("create", [LightEvent, asyncio.Event])
async def test_it_wakes_all_that_wait_and_lets_through_until_it_is_cleared(
    create: type[LightEvent | asyncio.Event],
) -> None:
    """One that was cancelled, or is cancelled while it is woken, wakes no other and keeps none asleep."""
    event, woken = create(), list[int]()

    async def wait(number: int) -> None:
        await event.wait()
        woken.append(number)

    waiting = [asyncio.create_task(wait(number)) for number in range(4)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await asyncio.sleep(0)
    assert woken == [] and not event.is_set()
    event.set()
    event.clear()
    waiting[2].cancel()
    await asyncio.wait(waiting)
    assert woken == [0, 3]
    event.set()
    event.set()
    await wait(4)
    assert woken == [0, 3, 4] and event.is_set()
    event.clear()
    later = asyncio.create_task(wait(5))
    await asyncio.sleep(0)
    assert not later.done()
    event.set()
    await later
    assert woken == [0, 3, 4, 5]
