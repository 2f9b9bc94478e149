"""Notices an engine that hangs in a step, and fails its requests on its behalf."""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from streamer.errors import EngineError

logger = logging.getLogger(__name__)

CHECKS_PER_LIMIT = 20
"""How often the engine is looked at within the time that a step may take."""
WARN_SHARE = 2 / 15
"""The part of that time after which the log says that a step takes long: two seconds of the usual limit."""


class Watched(Protocol):
    """What the watchdog needs of an engine."""

    def step_age_s(self) -> float: ...

    def step_fields(self) -> dict[str, object]: ...

    def abort(self, error: EngineError) -> None: ...


class Watchdog:
    """A thread that watches the step in progress, warns once if it is slow, and aborts the engine after `limit_s`."""

    def __init__(self, engine: Watched, *, limit_s: float) -> None:
        self._engine = engine
        self._limit_s = limit_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="engine-watchdog", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, if it was started, and wait for its end."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        warned_age_s = 0.0
        while not self._stopped.wait(self._limit_s / CHECKS_PER_LIMIT):
            age_s = self._engine.step_age_s()
            extra = {**self._engine.step_fields(), "age_s": round(age_s, 1)}
            if age_s < warned_age_s:  # another step
                warned_age_s = 0.0
            if age_s > WARN_SHARE * self._limit_s and not warned_age_s:
                warned_age_s = age_s
                logger.warning("a step takes long", extra=extra)
            if age_s > self._limit_s:
                logger.critical("the engine hangs in a step", extra=extra)
                self._engine.abort(
                    EngineError(f"the engine hangs in a step of more than {self._limit_s:g} s")
                )
                return
