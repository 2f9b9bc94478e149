"""A toy model for the engine's tests: one stage plans steps, the next makes ten samples a step of them."""

from __future__ import annotations

import time

import numpy as np

from streamer.config import EngineConfig
from streamer.engine.engine import Engine
from streamer.engine.request import Request
from streamer.errors import StreamerError

SAMPLES_PER_STEP = 10


class ToyWork:
    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps
        self.num_planned = 0
        self.num_made = 0
        self.num_taken = 0
        self.slot = -1
        self.failure = None
        self.is_truncated = False

    @property
    def is_finished(self) -> bool:
        return self.num_made == self.num_steps

    def take_audio(self):
        num_new, self.num_taken = self.num_made - self.num_taken, self.num_made
        return np.full(num_new * SAMPLES_PER_STEP, self.slot, np.float32)


class PlanStage:
    name = "plan"
    max_rows = 8
    runs_beside = False
    step_beside = None
    step_here = None
    is_joined = False
    preparation = None
    prefilling = ()

    def begin(self, work) -> None:
        work.num_planned = 0

    def is_ready(self, work) -> bool:
        return work.num_planned < work.num_steps

    def is_prefill(self, work) -> bool:
        return work in self.prefilling

    def step(self, batch) -> None:
        for work in batch:
            work.num_planned += 1


class MakeStage:
    name = "make"
    max_rows = 8
    runs_beside = False
    step_beside = None
    step_here = None
    is_joined = False
    preparation = None
    prefilling = ()

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.before_step = lambda _: None

    def begin(self, work) -> None:
        work.num_made = 0

    def is_ready(self, work) -> bool:
        return work.num_made < work.num_planned

    def is_prefill(self, work) -> bool:
        return work in self.prefilling

    def step(self, batch) -> None:
        self.batches.append([work.slot for work in batch])
        self.before_step(batch)
        for work in batch:
            work.num_made += 1


class RecordingOutlet:
    def __init__(self) -> None:
        self.chunks = []
        self.errors = []

    @property
    def num_samples(self) -> int:
        return sum(len(chunk.samples) for chunk in self.chunks)

    def __call__(self, item) -> None:
        (self.errors if isinstance(item, StreamerError) else self.chunks).append(item)


def toy_engine(*stages, clock=time.monotonic, num_slots=2, **options) -> Engine:
    """An engine of ten samples a second that refuses nobody for load; `options` are those of `EngineConfig`."""
    config = EngineConfig(**{"max_load": None, **options})
    return Engine(stages, config, num_slots=num_slots, sample_rate_hz=10, clock=clock)


def toy_request(request_id: str, num_steps: int = 3) -> Request:
    return Request(request_id, ToyWork(num_steps), RecordingOutlet())


def run_until_idle(engine) -> None:
    while engine.step():
        engine.check_integrity()


def wait_for(condition) -> None:
    deadline_s = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline_s:
        time.sleep(0.005)
    assert condition()
