"""One replica: a worker with a port of its own, as Ray Serve starts, watches, scales and stops it. It needs no Ray."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final, Protocol

from streamer.backends.ray.directory import ANNOUNCE_INTERVAL_S
from streamer.backends.workers.worker_server import WorkerServer
from streamer.errors import EngineError

logger = logging.getLogger(__name__)
ANNOUNCE_TIMEOUT_S: Final = 2.0


class Announcer(Protocol):
    """Where a replica makes its address known."""

    async def announce(self, address: str) -> None: ...

    async def withdraw(self, address: str) -> None: ...


class Replica:
    """Runs a worker from `start` to `stop`, and announces it for as long as it takes sentences."""

    def __init__(self, server: WorkerServer, announcer: Announcer) -> None:
        self._server = server
        self._announcer = announcer
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Load the model, warm it up, and serve. Raises what `WorkerServer.start` does."""
        await self._server.start()
        self._tasks = [asyncio.create_task(self._server.run_until_stopped())]
        self._tasks.append(asyncio.create_task(self._announce()))
        logger.info("a replica serves", extra={"address": self._server.address})

    def check_health(self) -> None:
        """Raise `EngineError` if the engine is dead, makes no progress in a step, or the worker has ended."""
        failure = self._server.worker.failure()
        if failure is None and self._tasks and self._tasks[0].done():
            failure = "the worker has ended"
        if failure is not None:
            raise EngineError(failure)

    def autoscaling_stats(self) -> dict[str, float]:
        """Return what `autoscaling.replicas_for_listeners` needs of the engine: its listeners, and its places."""
        worker = self._server.worker
        status = worker.status()
        num_listeners = worker.num_open if status.room is None else status.room.num_listeners
        return {"listeners": float(num_listeners), "places": float(status.num_places or 0)}

    async def stop(self) -> None:
        """Take nothing new, finish the open sentences within the worker's own time, and release the engine."""
        self._server.stop()
        for announcing in self._tasks[1:]:
            announcing.cancel()
        with contextlib.suppress(Exception):  # whom it is announced to may be gone already
            async with asyncio.timeout(ANNOUNCE_TIMEOUT_S):
                await self._announcer.withdraw(self._server.address)
        for error in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(error, Exception):
                logger.error("the worker of a replica had failed: %s", error)

    async def _announce(self) -> None:
        address, problem = self._server.address, ""
        while self._server.worker.failure() is None:
            try:
                async with asyncio.timeout(ANNOUNCE_TIMEOUT_S):
                    await self._announcer.announce(address)
                problem = ""
            except Exception as error:  # Ray's errors have no common class, and none of them ends the worker
                if type(error).__name__ != problem:
                    logger.warning("a replica could not announce itself: %r", error)
                problem = type(error).__name__
            await asyncio.sleep(ANNOUNCE_INTERVAL_S)
