"""The engine: one thread that admits requests to slots, steps the model's stages and delivers each request's audio."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Generic

from streamer.config import EngineConfig
from streamer.engine.capacity import Capacity
from streamer.engine.in_flight import Finished, InFlight, fail_requests_on_oom, work_s
from streamer.engine.playback import PlaybackStates
from streamer.engine.request import Request, WorkT
from streamer.engine.scheduler import Batch, Scheduler
from streamer.engine.slots import SlotPool
from streamer.engine.stage import Stage
from streamer.engine.step_times import StepTimes
from streamer.engine.waiting_queue import WaitingQueue
from streamer.errors import EngineError, OverloadedError, StreamerError
from streamer.synthesis import EngineStats, PcmChunk

logger = logging.getLogger(__name__)
LATER_SENTENCES_FACTOR = 4
"""By what later sentences may exceed the limit of open requests, so that utterances that have begun are finished."""


class Engine(Generic[WorkT]):
    """Runs many requests over a fixed number of slots.

    The methods up to `stop` may be called from any thread and never wait for a step: they post commands to `_inbox`,
    which the engine's thread executes before its next step. The other methods belong to that thread, or to a test that
    steps the engine itself. Of `config` the engine reads `generate_ahead_s`, `max_waiting` and `max_load`.
    """

    def __init__(
        self,
        stages: Sequence[Stage[WorkT]],
        config: EngineConfig,
        *,
        num_slots: int,
        sample_rate_hz: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stages = tuple(stages)
        self._scheduler = Scheduler(self._stages, generate_ahead_s=config.generate_ahead_s)
        self._slots = SlotPool(num_slots)
        self._sample_rate_hz = sample_rate_hz
        self._max_open = num_slots + config.max_waiting
        self._clock = clock
        self.capacity = Capacity(config.max_load)
        self._step_times = StepTimes(tuple(stage.name for stage in self._stages))
        self._waiting = WaitingQueue[WorkT](self._slots)
        self._running: dict[Request[WorkT], None] = {}  # in the order of admission
        self._in_flight = InFlight[WorkT]()
        self._inbox: deque[Callable[[], None]] = deque()
        self._open: dict[Hashable, Request[WorkT]] = {}
        self._playbacks = PlaybackStates()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_stopping = False
        self._batch: Batch[WorkT] | None = None
        self._step_started_s: float | None = None
        self.failure: EngineError | None = None
        """Why the engine takes no more steps; None while it does."""
        self.slowest_step_s = 0.0

    def submit(self, request: Request[WorkT]) -> None:
        """Queue a request.

        Raises `EngineError` if the engine has failed or was stopped, `OverloadedError` if too many requests are open,
        and `ValueError` if the same sentence is open already.
        """
        with self._changed:
            if self.failure is not None:
                raise EngineError(self.failure.message)
            factor = 1 if request.sentence_index == 0 else LATER_SENTENCES_FACTOR
            if len(self._open) >= factor * self._max_open:
                raise OverloadedError(f"{len(self._open)} sentences are open already", retry_after_s=1.0)
            if request.key in self._open:
                raise ValueError(f"sentence {request.sentence_index} of {request.request_id!r} is open")
            request.submitted_s = self._clock()
            self.capacity.arrive(request.utterance_key, request.submitted_s)
            self._open[request.key] = request
            self._post(lambda: self._enqueue(request))

    def cancel(self, request: Request[WorkT]) -> None:
        """Have the next step release the request, and deliver nothing more to it. Does nothing if it has ended."""
        with self._changed:
            if self._open.get(request.key) is request and not request.is_cancelled:
                request.is_cancelled = True
                self._post(lambda: self._release(request))

    def consumed(self, request: Request[WorkT], num_samples: int) -> None:
        """Tell that the request's reader took `num_samples`, after which a parked request may continue."""
        with self._changed:
            if self._open.get(request.key) is request:
                self._post(lambda: self._consume(request, num_samples / self._sample_rate_hz / request.speed))

    def step_age_s(self) -> float:
        """How long the longest step in progress has taken so far, in seconds; 0 between steps."""
        begins_s = (self._step_started_s, self._in_flight.beside_since_s)
        return max(0.0, *(self._clock() - begin_s for begin_s in begins_s if begin_s is not None), 0.0)

    def step_fields(self) -> dict[str, object]:
        """The stage and the requests of the longest step in progress, for the log."""
        return self._in_flight.oldest_fields(self._batch, self._step_started_s)

    @property
    def num_open(self) -> int:
        """The requests that wait or run."""
        return len(self._open)

    @property
    def num_running(self) -> int:
        """The requests that have a slot."""
        return len(self._running)

    def stats(self) -> EngineStats:
        """What the engine does and how full it is."""
        num_running, num_present = self.num_running, self.capacity.num_present
        return EngineStats(
            stages=self._step_times.stats(),
            num_slots=self._slots.num_slots,
            num_running=num_running,
            num_waiting=max(0, self.num_open - num_running),
            num_listeners=num_present,
            load=self.capacity.load(num_present) if num_present else 0.0,
            max_listeners=self.capacity.num_listeners,
        )

    def start(self) -> None:
        """Start the engine's thread."""
        self._thread = threading.Thread(target=self._run_until_stopped, name="engine", daemon=True)
        self._thread.start()

    def reset_costs(self) -> None:
        """Forget what steps have cost so far, because later ones will cost something else."""
        self.slowest_step_s = 0.0
        with self._changed:
            self._post(self._scheduler.reset_costs)
            self._post(self.capacity.reset)

    def abort(self, error: EngineError) -> None:
        """Take no further step: fail every open request with `error`, and refuse later ones.

        Called at the engine's end, and by the watchdog if it hangs; the slots then stay taken, which no longer matters.
        """
        with self._changed:
            self._is_stopping = True
            self.failure = self.failure or error
            orphans = [request for request in self._open.values() if not request.is_cancelled]
            self._open.clear()
            self._inbox.clear()
            self._changed.notify()
        for request in orphans:
            request.outlet(self.failure)

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Release everything and wait for the thread's end; False if it did not end within `timeout_s`."""
        self._is_stopping = True
        with self._changed:
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout_s)
        if self._thread is None or not self._thread.is_alive():
            return True
        self.abort(EngineError("the engine was stopped"))  # a step hangs, and no request may wait for it
        return False

    def step(self) -> bool:
        """Take one step: admit, schedule, run, deliver. False if there was nothing to do."""
        started_s = self._step_started_s = self._clock()
        self._admit()
        self._batch = batch = self._scheduler.schedule(started_s, self._in_flight.beside)
        if batch is not None:
            help_beside = None if self._in_flight.beside else self._scheduler.help(batch)
            self._in_flight.launch(help_beside, batch, now_s=started_s)
        finished = [*self._in_flight.finish(self._clock, is_idle=batch is None)]
        for earlier, took_s, num_steps, joined_s in finished:
            self._scheduler.update_costs(earlier, (took_s + joined_s) / num_steps)
            self._step_times.add(earlier.stage.name, took_s, len(earlier.requests))
            self._deliver(earlier)
        self._step_started_s = self._batch = None
        self._observe(batch, finished, self._clock() - started_s)
        return batch is not None or bool(finished)

    def check_integrity(self) -> None:
        """Raises `RuntimeError` if a slot has no owner or two owners, or if a request was lost."""
        self._slots.check_integrity([request.work.slot for request in self._running])
        known = {*self._running, *self._waiting.requests}
        with self._changed:
            lost = set() if self._inbox else known ^ set(self._open.values())
        if lost:
            raise RuntimeError(f"requests leak: {sorted(request.request_id for request in lost)}")

    def _admit(self) -> None:
        while self._inbox:
            self._inbox.popleft()()
        while (request := self._waiting.next(self._clock())) is not None:
            self._begin(request)

    def _begin(self, request: Request[WorkT]) -> None:
        self._running[request] = None
        self._scheduler.add(request)
        with fail_requests_on_oom([request], "begin"):
            for stage in self._stages:
                stage.begin(request.work)
        if failure := request.work.failure:
            self._release(request, failure)

    def _deliver(self, batch: Batch[WorkT]) -> None:
        if self.failure is not None:
            return  # `abort` has told every request
        for request in batch.requests:
            work = request.work
            if request not in self._running:
                continue  # released while the step was in flight
            if failure := work.failure:
                self._release(request, failure)
                continue
            samples, is_last = work.take_audio(), work.is_finished
            if not len(samples) and not is_last:
                continue
            duration_s = len(samples) / self._sample_rate_hz / request.speed
            if duration_s and request.playback.waits_for(request.sentence_index):
                self.capacity.begun(self._clock() - request.submitted_s)
            request.playback.deliver(request.sentence_index, duration_s, self._clock())
            self._heard(request)
            self.capacity.delivered(duration_s)
            if is_last:  # before its reader is told, who may request the sentence again
                self._release(request)
            if not request.is_cancelled:
                request.outlet(PcmChunk(samples, is_last, is_last and work.is_truncated))

    def _release(self, request: Request[WorkT], error: StreamerError | None = None) -> None:
        """The one way out of the engine, whatever the reason: frees the slot and forgets the request."""
        if request in self._running:
            del self._running[request]
            self._scheduler.remove(request)
            self._slots.free(request.work.slot)
        elif not self._waiting.remove(request):
            return  # it had just ended when it was cancelled
        request.playback.close(request.sentence_index)
        self._scheduler.refresh(request.playback)
        with self._changed:
            if self._open.pop(request.key, None) is not None:
                self.capacity.leave(request.utterance_key, self._clock())
        if error is not None and not request.is_cancelled:
            logger.warning("a sentence failed", extra={"request": request.request_id, "error": error.message})
            request.outlet(error)

    def _observe(self, batch: Batch[WorkT] | None, done: list[Finished[WorkT]], took_s: float) -> None:
        self.slowest_step_s = max(self.slowest_step_s, took_s)
        if batch is not None or done:
            num_rows = len((batch or done[0][0]).requests)
            self.capacity.observe(work_s(done, took_s, has_waited=batch is None), num_rows)
        elif not self._open:
            self.capacity.idle()

    def _enqueue(self, request: Request[WorkT]) -> None:
        request.playback = self._playbacks.get(request.utterance_key, self._clock())
        request.playback.open(request.sentence_index)
        self._scheduler.refresh(request.playback)
        self._waiting.add(request)

    def _consume(self, request: Request[WorkT], duration_s: float) -> None:
        if request in self._running:
            request.playback.consume(request.sentence_index, duration_s, self._clock())
            self._heard(request)

    def _heard(self, request: Request[WorkT]) -> None:
        self._scheduler.refresh(request.playback)
        if (ahead := request.playback.ahead) is not None:
            self.capacity.heard(request.utterance_key, *ahead)

    def _post(self, command: Callable[[], None]) -> None:
        self._inbox.append(command)
        self._changed.notify()

    def _run_until_stopped(self) -> None:
        end = EngineError("the engine was stopped")
        try:
            while not self._is_stopping:
                if not self.step():
                    self.check_integrity()
                    with self._changed:  # nothing but a command lets a parked request continue
                        self._changed.wait_for(lambda: self._inbox or self._is_stopping)
        except BaseException as error:  # whatever ends this thread, nobody may wait for it
            logger.exception("the engine failed", extra=self._in_flight.fields(self._batch))
            end = EngineError(f"the engine failed: {type(error).__name__}: {error}")
        self.abort(end)
        for request in self._running:
            self._slots.free(request.work.slot)
        self._running.clear()
        self._waiting.requests.clear()
        self._in_flight.clear()
        self._step_started_s = self._batch = None
