"""Runs steps whose results may become known later, and fails their requests if memory runs out."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple

import torch

from streamer.engine.request import Request, WorkT
from streamer.engine.scheduler import STEPS_BESIDE, Batch
from streamer.engine.stage import Pending
from streamer.errors import EngineError

logger = logging.getLogger(__name__)
STEPS_IN_FLIGHT = 3
"""Launched steps whose results may be unknown when the next one is chosen. That is enough to keep the device from
waiting for the host; each may be a step too many for a sentence that has already ended."""


class Finished(NamedTuple, Generic[WorkT]):
    """A finished step, its seconds on the device, for how many steps it stands, and another thread's seconds in it."""

    batch: Batch[WorkT]
    took_s: float
    num_steps: int
    joined_s: float = 0.0


def work_s(finished: Sequence[Finished[WorkT]], duration_s: float, *, has_waited: bool) -> float:
    """Return how long the machine worked while the engine took a step of `duration_s`, in which these finished.

    The time of the thread beside counts, too: a machine often has no more cores than for both threads and their
    clients. If the engine `has_waited`, it was for that thread. The rows of its steps do not: see decision 11.
    What one thread did of the other's step counts as if it had been a step of its own.
    """
    beside_s = sum(step.took_s + step.joined_s for step in finished if step.batch.is_beside)
    joined_s = sum(step.joined_s for step in finished if not step.batch.is_beside)
    return (max(duration_s, beside_s) if has_waited else duration_s + beside_s) + joined_s


class InFlight(Generic[WorkT]):
    """The launched steps; used by the engine's thread only, but for the properties.

    There are two lines of them: those of the engine's thread or GPU, and those of a thread beside it.
    """

    def __init__(self) -> None:
        self._own, self._beside = _Line[WorkT](), _Line[WorkT]()

    @property
    def beside(self) -> list[Batch[WorkT]]:
        """What the thread beside the engine's has to do, as far as is known."""
        return [batch for batch, _, _ in self._beside.steps]

    @property
    def beside_since_s(self) -> float | None:
        """Since when the thread beside the engine's has been busy with its present step; None if it is not."""
        return self._beside.since_s

    def fields(self, chosen: Batch[WorkT] | None) -> dict[str, object]:
        """What the log says of the step whose results are waited for or read, or else of the `chosen` one's launch.

        Without either it is that of the thread beside: a sentence that begins may wait for what its slot's last one
        left there.
        """
        batch = self._own.finishing or self._beside.finishing or chosen or self._beside.running
        return batch.fields if batch else {}

    def oldest_fields(self, chosen: Batch[WorkT] | None, since_s: float | None) -> dict[str, object]:
        """The same, or of the step of the thread beside if that has run for longer than the engine's, `since_s`."""
        beside, is_waited_for = self._beside, self._own.finishing or self._beside.finishing
        if is_waited_for or beside.since_s is None or (since_s is not None and since_s <= beside.since_s):
            return self.fields(chosen)
        return beside.running.fields if beside.running else {}

    def launch(self, *batches: Batch[WorkT] | None, now_s: float) -> None:
        """Run the steps of these batches, one after another."""
        for batch in filter(None, batches):
            pending: Pending | None = None
            with fail_requests_on_oom(batch.requests, batch.stage.name):
                pending = _launch(batch)
            line = self._beside if batch.is_beside else self._own
            line.steps.append((batch, pending, now_s))

    def finish(self, clock: Callable[[], float], *, is_idle: bool) -> Iterator[Finished[WorkT]]:
        """Yield the steps whose results are known now.

        Waits for the oldest step of the engine's own if `STEPS_IN_FLIGHT` are exceeded. If the engine `is_idle`, with
        nothing to launch, it waits for one step of either line, but never for a second one: the results of the first
        may make it possible to launch another step.
        """
        num_finished = 0
        for finished in self._own.finish(clock, at_most=0 if is_idle else STEPS_IN_FLIGHT):
            num_finished += 1
            yield finished
        at_most = 0 if is_idle and not num_finished else STEPS_BESIDE
        yield from self._beside.finish(clock, at_most=at_most)

    def clear(self) -> None:
        """Forget all of them."""
        self._own, self._beside = _Line[WorkT](), _Line[WorkT]()


def _launch(batch: Batch[WorkT]) -> Pending | None:
    works, stage = [request.work for request in batch.requests], batch.stage
    if batch.is_here:
        assert stage.step_here is not None
        return stage.step_here(works)
    if not batch.is_help:
        return stage.step(works)
    if batch.prepares:
        assert stage.preparation is not None
        return stage.preparation.step_beside(*works)
    assert stage.step_beside is not None
    return stage.step_beside(works)


class _Line(Generic[WorkT]):
    """Steps that run one after another, the oldest first."""

    def __init__(self) -> None:
        self.steps: deque[tuple[Batch[WorkT], Pending | None, float]] = deque()
        self.finishing: Batch[WorkT] | None = None
        self.running: Batch[WorkT] | None = None
        """The batch of the oldest step, as far as is known; None without one."""
        self.since_s: float | None = None
        """When that step began, as far as is known."""
        self._finished_s = 0.0

    def finish(self, clock: Callable[[], float], *, at_most: int) -> Iterator[Finished[WorkT]]:
        """Yield the steps that are done, and wait for the oldest if more than `at_most` are in flight."""
        has_finished = False
        while self.steps:
            batch, pending, launched_s = self.steps[0]
            self.running, self.since_s = batch, max(launched_s, self._finished_s)
            if pending is not None:
                must_wait = len(self.steps) > at_most and not has_finished
                if not pending.is_done() and not must_wait:
                    return
                self.finishing = batch
                with fail_requests_on_oom(batch.requests, batch.stage.name):
                    pending.finish()
                self.finishing = None
            self.steps.popleft()
            has_finished = True
            # One step runs after another: unless it knows better, this one began when the last one had ended.
            span_s = None if pending is None else pending.span_s
            began_s, self._finished_s = span_s or (self.since_s, clock())
            self.running = self.since_s = None
            for request in batch.requests:
                if request.on_step is not None:
                    request.on_step(batch.stage.name, began_s, self._finished_s, len(batch.requests))
            took_s = self._finished_s - began_s
            if pending is None:
                yield Finished(batch, took_s, 1)
            else:
                yield Finished(batch, took_s, pending.num_steps, pending.joined_s)


@contextlib.contextmanager
def fail_requests_on_oom(requests: Sequence[Request[WorkT]], where: str) -> Iterator[None]:
    """Mark the requests as failed if memory runs out in this block, so that the engine can continue without them.

    Other errors pass.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        extra = {"stage": where, "requests": [request.request_id for request in requests]}
        logger.exception("out of memory", extra=extra)
        for request in requests:
            request.work.failure = EngineError(f"out of memory: {error}")


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out."""
    # On a CPU torch raises a plain RuntimeError, which only its text tells from others.
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
