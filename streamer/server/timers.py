"""The timers of a session, which its protocol sets by name and `session` carries out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from streamer.server.client_protocol import SetTimer


class Timers:
    """Calls `carry_out` with each timer whose time is up. Each waits in a task of the session, and ends with it."""

    def __init__(self, carry_out: Callable[[SetTimer], Awaitable[None]]) -> None:
        self._carry_out = carry_out
        self._waiting: dict[str, asyncio.Task[None]] = {}

    def set(self, timer: SetTimer, tasks: asyncio.TaskGroup) -> None:
        """Start a timer, or stop it if it has no delay, in place of the one of the same name."""
        if (before := self._waiting.pop(timer.name, None)) is not None:
            before.cancel()
        if timer.delay_s is not None:
            self._waiting[timer.name] = tasks.create_task(self._wait(timer, timer.delay_s))

    async def _wait(self, timer: SetTimer, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        del self._waiting[timer.name]  # from here on nothing stops what it brings
        await self._carry_out(timer)
