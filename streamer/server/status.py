"""What the server is doing and how well, for `/v1/status` and the probes; `app` keeps it up to date."""

from __future__ import annotations

import asyncio
import time
from typing import Final, Literal, get_args

from streamer.errors import StreamerError
from streamer.server.service import Service
from streamer.synthesis import Health, WorkersHealth

State = Literal["starting", "loading", "warming", "ready", "degraded", "draining", "failed"]
"""The states in the order in which a server goes through them; `degraded` is served like `ready`, but not well."""
STATES: Final[tuple[State, ...]] = get_args(State)
SLOW_STEP_S: Final = 2.0
"""How long a step of the engine may take before it is remarked upon."""
BLOCKED_LOOP_S: Final = 0.1
"""How late the event loop may be before the log says so."""
LONG_BLOCK_S: Final = 1.0
"""How late it may be before the server is degraded."""
REMEMBERED_S: Final = 60.0
"""How long a blocked event loop counts, and how often the log may speak of it."""

MAX_NAMED: Final = 5
"""How many workers that cannot be used are named as reasons."""
MAX_LISTED: Final = 256
"""How many workers are listed."""


class Status:
    """The state of the server, and why it is in it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.is_listening = False
        self.is_warm = False
        self.stop_requested = asyncio.Event()
        self.failure: StreamerError | None = None
        self._began_s = time.monotonic()
        self._longest_lag_s = 0.0
        self._lagged_s = -REMEMBERED_S
        self._long_lag_s, self._long_lagged_s = 0.0, -REMEMBERED_S

    @property
    def is_ready(self) -> bool:
        """Whether new utterances are accepted."""
        health = self._service.synthesizer.health()
        return self.is_warm and not self.stop_requested.is_set() and health.ready

    def note_lag(self, lag_s: float) -> bool:
        """Note how late the event loop was; returns whether that is news."""
        now_s = time.monotonic()
        if lag_s > LONG_BLOCK_S:
            self._long_lag_s, self._long_lagged_s = lag_s, now_s
        is_forgotten = now_s >= self._lagged_s + REMEMBERED_S
        if lag_s < BLOCKED_LOOP_S or (not is_forgotten and lag_s <= self._longest_lag_s):
            return False
        self._longest_lag_s, self._lagged_s = lag_s, now_s
        return True

    def state(self, *, shows_addresses: bool = True) -> tuple[State, list[str]]:
        """Return the state and the reasons for it, none for `ready`.

        `shows_addresses`: whether the reasons may name workers, which are in the operator's network.
        """
        health = self._service.synthesizer.health()
        unusable = _unusable(health) if shows_addresses else []
        if self.failure is not None or not health.alive:
            return "failed", [self.failure.message if self.failure else health.reason or "the engine is dead"]
        if self.stop_requested.is_set():
            return "draining", ["the server stops: what is open may finish"]
        if not self.is_listening:
            return "starting", ["the port is being opened"]
        if not health.is_loaded:
            return "loading", [health.reason or "the model is being read", *unusable]
        if not self.is_warm:
            return "warming", [health.reason or "the model makes its first sound"]
        reasons = self._complaints(unusable)
        return ("degraded" if reasons else "ready"), reasons

    def describe(self, *, shows_addresses: bool) -> dict[str, object]:
        """Return what `/v1/status` answers; without addresses, workers are only counted."""
        state, reasons = self.state(shows_addresses=shows_addresses)
        health = self._service.synthesizer.health()
        return {
            "state": state,
            "why": reasons,
            "uptime_s": round(time.monotonic() - self._began_s, 1),
            "listeners": None if health.room is None else health.room.num_listeners,
            "max_listeners": None if health.room is None else health.room.max_listeners,
            "utterances_queued": self._service.admission.queue.num_waiting,
            "step_age_s": round(health.step_age_s, 1),
            "workers": None
            if health.workers is None
            else _workers(health.workers, shows_each=shows_addresses),
        }

    def _complaints(self, unusable: list[str]) -> list[str]:
        health, reasons = self._service.synthesizer.health(), []
        if num_waiting := self._service.admission.queue.num_waiting:
            reasons.append(f"{num_waiting} utterances wait for room")
        if health.step_age_s > SLOW_STEP_S:
            reasons.append(f"a step of the engine has taken {health.step_age_s:.1f} s so far")
        if (workers := health.workers) is not None and workers.num_ready < workers.num_all:
            reasons.append(f"of {workers.num_all} workers {workers.num_ready} can be used")
            reasons += unusable
        elif not health.ready:
            reasons.append(health.reason or "the synthesizer is not ready")
        if time.monotonic() < self._long_lagged_s + REMEMBERED_S:
            reasons.append(f"the event loop was blocked for {self._long_lag_s:.1f} s")
        return reasons


def _unusable(health: Health) -> list[str]:
    """Return a reason for each of a front end's workers that cannot be used, up to a number."""
    lost = [] if health.workers is None else [worker for worker in health.workers.each if not worker.is_ready]
    return [f"worker {worker.address}: {worker.problem}" for worker in lost[:MAX_NAMED]]


def _workers(workers: WorkersHealth, *, shows_each: bool) -> dict[str, object]:
    """Return what `/v1/status` tells of a front end's workers. Why one cannot be used may name addresses, too."""
    counts: dict[str, object] = {
        "num_all": workers.num_all,
        "num_answering": workers.num_answering,
        "num_ready": workers.num_ready,
    }
    if not shows_each:
        return counts
    return counts | {
        "each": [
            {
                "address": worker.address,
                "is_answering": worker.is_answering,
                "is_ready": worker.is_ready,
                "why": worker.problem,
                "sentences": worker.num_sentences,
                "listeners": worker.num_listeners,
                "max_listeners": worker.max_listeners,
            }
            for worker in workers.each[:MAX_LISTED]
        ]
    }
