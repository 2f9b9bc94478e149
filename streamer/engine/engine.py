"""The engine's thread: admits requests to slots, steps the stages, hands each request its sound."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic

from streamer.engine.capacity import Capacity
from streamer.engine.in_flight import InFlight
from streamer.engine.out_of_memory import fail_requests_on_oom
from streamer.engine.playback import PlaybackStates
from streamer.engine.request import Request, WorkT
from streamer.engine.scheduler import Batch, Scheduler
from streamer.engine.slots import SlotPool
from streamer.engine.stage import Pending, Stage
from streamer.engine.step_times import StepTimes
from streamer.engine.waiting_queue import WaitingQueue
from streamer.errors import EngineError, OverloadedError, StreamerError
from streamer.synthesis import PcmChunk

logger = logging.getLogger(__name__)
LATER_SENTENCES = 4
"""So many times as many sentences may be open where only later ones of an utterance come: whoever is heard goes on."""
STEPS_IN_FLIGHT = 3
"""Launched steps whose results may be unknown when the next is chosen: enough that the device never waits for the
host; each is a step that a sentence whose end is not known yet may take too many."""


class Engine(Generic[WorkT]):
    """Runs many requests over a fixed number of slots.

    What comes before `step` may be called from any thread and never waits for a step; it leaves word in `_inbox`,
    which the engine's thread reads at its next one. The rest belongs to that thread, or to the test that steps.
    """

    def __init__(
        self,
        stages: Sequence[Stage[WorkT]],
        *,
        num_slots: int,
        sample_rate_hz: int,
        generate_ahead_s: float = 8.0,
        max_waiting: int = 256,
        max_load: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stages = tuple(stages)
        self._scheduler = Scheduler(self._stages, generate_ahead_s=generate_ahead_s)
        self.slots = SlotPool(num_slots)
        self._sample_rate_hz = sample_rate_hz
        self._max_waiting = max_waiting
        self._clock = clock
        self.capacity = Capacity(max_load)
        self.step_times = StepTimes(tuple(stage.name for stage in self._stages))
        self._waiting = WaitingQueue[WorkT](self.slots)
        self._running: dict[Request[WorkT], None] = {}  # in the order of admission
        self._in_flight = InFlight[WorkT]()
        self._inbox: deque[Callable[[], None]] = deque()
        self._open: dict[str, Request[WorkT]] = {}
        self._listeners = PlaybackStates()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_stopping = False
        self._step_started_s: float | None = None
        self._death: EngineError | None = None
        self.slowest_step_s = 0.0

    def submit(self, request: Request[WorkT]) -> None:
        """Queue a request.

        Raises `EngineError` from a dead engine, `OverloadedError` from a full one, or for a new listener beyond
        what `max_load` lets it take on (see `Capacity`).
        """
        with self._changed:
            if self._death is not None:
                raise EngineError(self._death.message)
            room = self.slots.num_slots + self._max_waiting
            if len(self._open) >= (room if request.sentence_index == 0 else LATER_SENTENCES * room):
                raise OverloadedError(f"{len(self._open)} sentences are open already", retry_after_s=1.0)
            if request.request_id in self._open or any(map(request.is_same_sentence, self._open.values())):
                raise ValueError(
                    f"{request.request_id!r}, or sentence {request.sentence_index}, is open already"
                )
            request.submitted_s = self._clock()
            self.capacity.arrive(request.listener_id, request.sentence_index, request.submitted_s)
            self._open[request.request_id] = request
            self._post(lambda: self._enqueue(request))

    def cancel(self, request_id: str) -> None:
        """Mark a request as not wanted any more; the next step releases it. Unknown ids are ignored."""
        with self._changed:
            if (request := self._open.get(request_id)) and not request.is_cancelled:
                request.is_cancelled = True
                self._post(lambda: self._release(request))

    def consumed(self, request_id: str, num_samples: int) -> None:
        """A reader took `num_samples` from its outlet: a parked request may go on."""
        with self._changed:
            if request := self._open.get(request_id):
                self._post(lambda: self._take(request, num_samples / self._sample_rate_hz))

    def step_age_s(self) -> float:
        """How long the step in progress has been going on; 0 between steps."""
        started_s = self._step_started_s
        return 0.0 if started_s is None else max(0.0, self._clock() - started_s)

    @property
    def death(self) -> EngineError | None:
        """Why no more steps will be made, or None while all is well."""
        return self._death

    @property
    def num_open(self) -> int:
        """Requests that wait or run."""
        return len(self._open)

    @property
    def num_running(self) -> int:
        """Requests that have a slot."""
        return len(self._running)

    def start(self) -> None:
        """Start the engine's thread."""
        self._thread = threading.Thread(target=self._run_until_stopped, name="engine", daemon=True)
        self._thread.start()

    def reset_costs(self) -> None:
        """Learn anew what steps cost: those until now were not as they will be."""
        self.slowest_step_s = 0.0
        with self._changed:
            self._post(self._scheduler.reset_costs)
            self._post(self.capacity.forget)

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Release everything and end the thread; False where it did not end within `timeout_s`."""
        self._is_stopping = True
        with self._changed:
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout_s)
        if self._thread is None or not self._thread.is_alive():
            return True
        self.abandon(EngineError("the engine was stopped"))  # a step hangs, and nobody is to wait for it
        return False

    def abandon(self, error: EngineError) -> None:
        """Make no further step: every open request hears `error`, later ones are refused.

        For the engine's own end, and for a watchdog where the thread cannot say so itself; the slots of a
        thread that hangs stay taken, which no longer matters.
        """
        with self._changed:
            self._is_stopping = True
            self._death = self._death or error
            orphans = list(self._open.values())
            self._open.clear()
            self._inbox.clear()
            self._changed.notify()
        for request in orphans:
            if not request.is_cancelled:
                request.outlet.fail(self._death)

    def step(self) -> bool:
        """One step: admit, pick, run, deliver. False where there was nothing to do."""
        started_s = self._step_started_s = self._clock()
        self._admit()
        if (tick := self._scheduler.schedule(started_s)) is not None:
            self._run(tick, started_s)
        settled = [*self._in_flight.finish(self._clock, at_most=STEPS_IN_FLIGHT if tick is not None else 0)]
        for known, took_s in settled:
            self._scheduler.update_costs(known, took_s)
            self._deliver(known)
        self._step_started_s = None
        duration_s = self._clock() - started_s
        self.slowest_step_s = max(self.slowest_step_s, duration_s)
        if tick is not None:
            self.step_times.add(tick.stage.name, duration_s, len(tick.requests))
        if tick is not None or settled:
            self.capacity.observe(duration_s, len(tick.requests) if tick else 1)
        elif not self._open:
            self.capacity.idle()
        return tick is not None or bool(settled)

    def check_integrity(self) -> None:
        """Raises RuntimeError where a slot has no owner, two owners, or a request was lost."""
        self.slots.check_integrity([request.work.slot for request in self._running])
        known = {request.request_id for request in self._running} | self._waiting.ids
        with self._changed:
            lost = set() if self._inbox else known ^ set(self._open)
        if lost:
            raise RuntimeError(f"requests leak: {sorted(lost)}")

    def _admit(self) -> None:
        while self._inbox:
            self._inbox.popleft()()
        while (request := self._waiting.next(self._clock())) is not None:
            self._begin(request)

    def _begin(self, request: Request[WorkT]) -> None:
        """It has a slot now."""
        self._running[request] = None
        self._scheduler.add(request)
        with fail_requests_on_oom([request], "the beginning"):
            for stage in self._stages:
                stage.begin(request.work)
        if failure := request.work.failure:
            self._release(request, failure)

    def _run(self, tick: Batch[WorkT], started_s: float) -> None:
        pending: Pending | None = None
        with fail_requests_on_oom(tick.requests, tick.stage.name):
            pending = tick.stage.step([request.work for request in tick.requests])
        if pending is None:
            self._scheduler.update_costs(tick, self._clock() - started_s)
            self._deliver(tick)
        else:
            self._in_flight.add(tick, pending, started_s)

    def _deliver(self, tick: Batch[WorkT]) -> None:
        if self._death is not None:
            return  # everybody has been told
        for request in tick.requests:
            work = request.work
            if request not in self._running:
                continue  # released while the step was under way
            if failure := work.failure:
                self._release(request, failure)
                continue
            samples, is_last = work.take_audio(), work.is_finished
            if not len(samples) and not is_last:
                continue
            duration_s = len(samples) / self._sample_rate_hz
            request.listener.deliver(request.sentence_index, duration_s, self._clock())
            self._scheduler.refresh(request.listener)
            self.capacity.delivered(duration_s)
            if is_last:  # before the reader hears of it: he may ask for the sentence once more
                self._release(request)
            if not request.is_cancelled:
                request.outlet.deliver(PcmChunk(samples, is_last, is_last and work.is_truncated))

    def _release(self, request: Request[WorkT], error: StreamerError | None = None) -> None:
        """The one way out of the engine, whatever the reason: frees the slot and forgets the request."""
        if request in self._running:
            del self._running[request]
            self._scheduler.remove(request)
            self.slots.free(request.work.slot)
        elif not self._waiting.leave(request):
            return  # cancelled when it had just ended
        request.listener.close(request.sentence_index)
        self._scheduler.refresh(request.listener)
        with self._changed:
            if self._open.pop(request.request_id, None) is not None:
                self.capacity.leave(request.listener_id, self._clock())
        if error is not None and not request.is_cancelled:
            request.outlet.fail(error)

    def _enqueue(self, request: Request[WorkT]) -> None:
        request.listener = self._listeners.called(request.listener_id, self._clock())
        request.listener.open(request.sentence_index)
        self._scheduler.refresh(request.listener)
        self._waiting.add(request)

    def _take(self, request: Request[WorkT], taken_s: float) -> None:
        if request in self._running:
            request.listener.take(request.sentence_index, taken_s, self._clock())
            self._scheduler.refresh(request.listener)

    def _post(self, word: Callable[[], None]) -> None:
        self._inbox.append(word)
        self._changed.notify()

    def _run_until_stopped(self) -> None:
        end = EngineError("the engine was stopped")
        try:
            while not self._is_stopping:
                if not self.step():
                    self.check_integrity()
                    self._wait_for_word()
        except Exception as error:
            logger.exception("the engine failed")
            end = EngineError(f"the engine failed: {type(error).__name__}: {error}")
        self._end_all(end)

    def _wait_for_word(self) -> None:
        """Sleep until something is submitted, cancelled, consumed or stopped: nothing else frees who is parked."""
        with self._changed:
            self._changed.wait_for(lambda: self._inbox or self._is_stopping)

    def _end_all(self, error: EngineError) -> None:
        self.abandon(error)
        for request in self._running:
            self.slots.free(request.work.slot)
        self._running.clear()
        self._waiting.clear()
        self._in_flight.clear()
        self._step_started_s = None
