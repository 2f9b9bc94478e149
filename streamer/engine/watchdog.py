"""Notices an engine that hangs in a step, and says so on its behalf."""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from streamer.errors import EngineError

logger = logging.getLogger(__name__)

CHECKS_PER_LIMIT = 20


class Watched(Protocol):
    def step_age_s(self) -> float: ...

    def abandon(self, error: EngineError) -> None: ...


class Watchdog:
    """A thread that looks at the step in progress and abandons the engine when it exceeds `limit_s`."""

    def __init__(self, engine: Watched, *, limit_s: float) -> None:
        self._engine = engine
        self._limit_s = limit_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="engine-watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread, if it was started."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(self._limit_s / CHECKS_PER_LIMIT):
            age_s = self._engine.step_age_s()
            if age_s > self._limit_s:
                logger.critical("the engine hangs: one step has taken %.1f s so far", age_s)
                self._engine.abandon(
                    EngineError(f"the engine hangs in a step of more than {self._limit_s:g} s")
                )
                return
