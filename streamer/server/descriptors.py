"""File descriptors, of which every connection takes one: enough of them, and what happens when there are none left."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import time
from collections.abc import Callable
from typing import Any, Final

from streamer.config import Config
from streamer.server.admission import RESERVE

logger = logging.getLogger(__name__)
OTHER_DESCRIPTORS: Final = 128
"""What the process has open beside connections: its libraries, the listening sockets, the event loop."""
PER_WORKER: Final = 66
"""Connections of a front end to a worker, beside those of sentences in the making: the most that a pool keeps."""
NUM_LISTED: Final = 64
"""How many workers are reckoned with where they come and go."""
SAY_EVERY_S: Final = 60.0
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def count_connections(config: Config) -> int:
    """Return how many connections the settings allow; a front end has one more for each client's sentence."""
    num_clients = config.limits.max_connections
    if config.engine.backend == "local":
        return num_clients
    num_workers = len(config.workers.worker) if config.engine.backend == "workers" else NUM_LISTED
    return 2 * num_clients + PER_WORKER * num_workers


def allow_descriptors(max_connections: int) -> None:
    """Raise the process's own limit as far as `max_connections` need it; warn if the system does not allow that."""
    needed = max_connections + RESERVE + OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft in (resource.RLIM_INFINITY, -1) or soft >= needed:
        return
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    except (OSError, ValueError):
        allowed = soft
    if allowed < needed:
        logger.warning(
            "max_connections needs more open files than the system allows: raise their hard limit, or lower it",
            extra={"max_connections": max_connections, "descriptors": allowed, "needed": needed},
        )


class ExhaustionReporter:
    """An exception handler of the event loop that says once a minute that no connection could be accepted.

    asyncio reports each attempt with a traceback, some hundred a second; `count` is called for each.
    """

    def __init__(self, count: Callable[[], None], now_s: Callable[[], float] = time.monotonic) -> None:
        self._count = count
        self._now_s = now_s
        self._num_unsaid = 0
        self._said_s = -SAY_EVERY_S

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handle what asyncio calls exception handlers with."""
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in _EXHAUSTED and "socket" in context):
            loop.default_exception_handler(context)
            return
        self._count()
        self._num_unsaid += 1
        if self._now_s() >= self._said_s + SAY_EVERY_S:
            self._said_s = self._now_s()
            logger.error(
                "connections cannot be accepted: %s", error.strerror, extra={"attempts": self._num_unsaid}
            )
            self._num_unsaid = 0
