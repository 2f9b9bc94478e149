"""An event loop whose clock stands still until a test moves it, so that an hour passes in a moment."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from typing import Any


class _IdleSelector(selectors.DefaultSelector):
    """Asks what to do instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.wait: Callable[[float | None], None] = lambda _timeout_s: None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout > 0:
            self.wait(timeout)
        return super().select(0)


class HandMovedLoop(asyncio.SelectorEventLoop):
    """Runs until all of its tasks wait, and for as long as it is told; nothing in it may use threads or sockets."""

    def __init__(self) -> None:
        selector = _IdleSelector()
        super().__init__(selector)
        selector.wait = self._wait
        self._now_s = 1000.0
        self._until_s = self._now_s

    def time(self) -> float:
        return self._now_s

    def pass_time(self, seconds: float = 0.0) -> None:
        """Run what is due within this time, and return when nothing more is."""
        self._until_s = self._now_s + seconds
        self.run_forever()

    def end(self, task: asyncio.Task[Any]) -> Any:
        """Run until a task is done, which must need no time; returns its result."""
        self.pass_time()
        return task.result()

    def _wait(self, timeout_s: float | None) -> None:
        if timeout_s is not None and self._now_s + timeout_s <= self._until_s:
            self._now_s += timeout_s
        else:
            self._now_s = self._until_s
            self.stop()
