"""Runs steps whose results may become known later, and fails their requests if memory runs out."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Generic

import torch

from streamer.engine.request import Request, WorkT
from streamer.engine.scheduler import Batch
from streamer.engine.stage import Pending
from streamer.errors import EngineError

logger = logging.getLogger(__name__)
STEPS_IN_FLIGHT = 3
"""Launched steps whose results may be unknown when the next one is chosen. That is enough to keep the device from
waiting for the host; each may be a step too many for a sentence that has already ended."""


class InFlight(Generic[WorkT]):
    """The launched steps, the oldest first; used by the engine's thread only."""

    def __init__(self) -> None:
        self._steps: deque[tuple[Batch[WorkT], Pending | None, float]] = deque()
        self._finished_s = 0.0

    def launch(self, batch: Batch[WorkT], now_s: float) -> None:
        """Run the batch's step."""
        pending: Pending | None = None
        with fail_requests_on_oom(batch.requests, batch.stage.name):
            pending = batch.stage.step([request.work for request in batch.requests])
        self._steps.append((batch, pending, now_s))

    def finish(self, clock: Callable[[], float], *, at_most: int) -> Iterator[tuple[Batch[WorkT], float]]:
        """Yield the steps whose results are known now, each with the seconds that each of its steps took the device.

        Waits for the oldest step if more than `at_most` are in flight, but never for a second one: the results of the
        first may make it possible to launch another step.
        """
        has_finished = False
        while self._steps:
            batch, pending, launched_s = self._steps[0]
            if pending is not None:
                if not pending.is_done() and (has_finished or len(self._steps) <= at_most):
                    return
                with fail_requests_on_oom(batch.requests, batch.stage.name):
                    pending.finish()
            self._steps.popleft()
            has_finished = True
            # The device runs one step after another: this one began when it was launched or when the last one ended.
            began_s, self._finished_s = max(launched_s, self._finished_s), clock()
            for request in batch.requests:
                if request.on_step is not None:
                    request.on_step(batch.stage.name, began_s, self._finished_s, len(batch.requests))
            yield batch, (self._finished_s - began_s) / (1 if pending is None else pending.num_steps)

    def clear(self) -> None:
        """Forget all of them."""
        self._steps.clear()


@contextlib.contextmanager
def fail_requests_on_oom(requests: Sequence[Request[WorkT]], where: str) -> Iterator[None]:
    """Mark the requests as failed if memory runs out in this block, so that the engine can continue without them.

    Other errors pass.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        extra = {"stage": where, "requests": [request.request_id for request in requests]}
        logger.exception("out of memory", extra=extra)
        for request in requests:
            request.work.failure = EngineError(f"out of memory: {error}")


def _is_out_of_memory(error: Exception) -> bool:
    # On a CPU torch raises a plain RuntimeError, which only its text tells from others.
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
