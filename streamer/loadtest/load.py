"""Starts utterances by the clock, whether or not earlier ones have ended: an open loop, as real users are."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from streamer.loadtest.client import CONNECT_AHEAD_S, Recording, Target, speak

DRAIN_TIMEOUT_S: Final = 60.0
"""The longest wait for the last measured utterance; those that have not ended by then count as failed."""
LAG_INTERVAL_S: Final = 0.01
TEXTS: Final = (
    "Hello.",
    "The train to the coast leaves at nine.",
    "I looked it up, and the shop by the river is open until eight this evening.",
    "Thank you for waiting. Your table is ready, and the kitchen has kept the soup warm.",
    "Yes, that works for me.",
    "Could you tell me once more which colour you wanted?",
    "The rain should stop before noon, and the afternoon will be dry.",
    "I have moved your meeting to Thursday. Everybody has been told.",
)


@dataclass(frozen=True, slots=True)
class Load:
    """How fast utterances arrive. After a warm-up, those of `seconds` are measured, and at least `num_utterances`."""

    rate_hz: float
    seconds: float
    warm_up_s: float = 0.0
    seed: int = 0
    texts: tuple[str, ...] = TEXTS
    num_utterances: int = 1

    def measured(self) -> range:
        """Return the numbers of the arrivals that are measured."""
        first = 0
        for number, arrival_s in enumerate(arrival_times(self.rate_hz, self.seed)):
            if arrival_s < self.warm_up_s:
                first = number + 1
            elif arrival_s >= self.warm_up_s + self.seconds and number - first >= self.num_utterances:
                return range(first, number)
        raise AssertionError("arrivals have no end")


@dataclass(slots=True)
class Session:
    """Everything that happened under a load. `recordings` are measured; `others` came before and after."""

    load: Load
    began_s: float = 0.0
    """When the measured time began, by the event loop's clock."""
    ended_s: float = 0.0
    """When the last measured utterance arrived, or when the load was cut short."""
    is_cut_short: bool = False
    """The load ended before all measured utterances had arrived and ended; unfinished ones do not count."""
    recordings: list[Recording] = field(default_factory=list)
    others: list[Recording] = field(default_factory=list)
    lags_s: list[float] = field(default_factory=list)
    """How late this process's own event loop was, every `LAG_INTERVAL_S`: its error in what it measures."""
    cpu_share: float = 0.0
    """The share of one core that this process used."""


def arrival_times(rate_hz: float, seed: int) -> Iterator[float]:
    """Yield the times of a Poisson process in seconds from 0, without end; they depend on the seed alone."""
    chance = np.random.default_rng(seed)
    now_s = 0.0
    while True:
        now_s += float(chance.exponential(1 / rate_hz))
        yield now_s


async def apply_load(
    target: Target, load: Load, is_hopeless: Callable[[Recording, int], bool] = lambda _recording, _num: False
) -> Session:
    """Send utterances at the load's rate until all measured ones have ended; later ones only keep up the load.

    `is_hopeless` is called with each measured utterance that ended and the number of them all; True ends the load.
    """
    loop = asyncio.get_running_loop()
    session, measured = Session(load), load.measured()
    texts = np.random.default_rng([load.seed, 1])
    num_ended, is_over = 0, asyncio.Event()
    cpu_s, wall_s = time.process_time(), time.perf_counter()

    async def measure(text: str, number: int, recording: Recording) -> None:
        nonlocal num_ended
        await speak(target, text, number, recording)
        num_ended += 1
        if num_ended == len(measured):
            is_over.set()
        elif is_hopeless(recording, len(measured)):
            session.is_cut_short = True
            is_over.set()

    start_s = loop.time() + CONNECT_AHEAD_S
    session.began_s = session.ended_s = start_s + load.warm_up_s
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(_watch_lag(session.lags_s))]
        for number, arrival_s in enumerate(arrival_times(load.rate_hz, load.seed)):
            due_s = start_s + arrival_s
            drain_deadline_s = session.ended_s + DRAIN_TIMEOUT_S if number >= measured.stop else math.inf
            if (
                await _happens(is_over, min(due_s, drain_deadline_s) - CONNECT_AHEAD_S)
                or due_s > drain_deadline_s
            ):
                break
            recording = Recording(due_s)
            text = load.texts[int(texts.integers(len(load.texts)))]
            if number in measured:
                session.recordings.append(recording)
                session.ended_s = due_s
                running.append(tasks.create_task(measure(text, number, recording)))
            else:
                session.others.append(recording)
                running.append(tasks.create_task(speak(target, text, number, recording)))
        if session.is_cut_short:
            session.ended_s = loop.time()
        for task in running:
            task.cancel()
    session.cpu_share = (time.process_time() - cpu_s) / (time.perf_counter() - wall_s)
    return session


async def _happens(event: asyncio.Event, until_s: float) -> bool:
    """Wait until a time of the loop's clock; returns True as soon as the event has happened."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(until_s):
            await event.wait()
    return event.is_set()


async def _watch_lag(lags_s: list[float]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        asleep_s = loop.time()
        await asyncio.sleep(LAG_INTERVAL_S)
        lags_s.append(loop.time() - asleep_s - LAG_INTERVAL_S)
