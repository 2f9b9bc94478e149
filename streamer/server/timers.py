"""The timers of a session, which its protocol sets by name and `session` carries out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from streamer.server.client_protocol import SetTimer


class Timers:
    """Calls `expired` with each timer whose time is up. Call `stop_all` in the end."""

    def __init__(self, expired: Callable[[SetTimer], object]) -> None:
        self._expired = expired
        self._waiting: dict[str, asyncio.TimerHandle] = {}

    def set(self, timer: SetTimer) -> None:
        """Start a timer, or stop it if it has no delay, in place of the one of the same name."""
        if (before := self._waiting.pop(timer.name, None)) is not None:
            before.cancel()
        if timer.delay_s is not None:
            loop = asyncio.get_running_loop()
            self._waiting[timer.name] = loop.call_later(timer.delay_s, self._expire, timer)

    def stop_all(self) -> None:
        """Forget every timer."""
        for waiting in self._waiting.values():
            waiting.cancel()
        self._waiting.clear()

    def _expire(self, timer: SetTimer) -> None:
        del self._waiting[timer.name]
        self._expired(timer)
