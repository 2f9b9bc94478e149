"""Utterances that arrive by the clock, whether or not earlier ones have ended: an open loop, as users are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from streamer.bench.client import CONNECT_AHEAD_S, BenchError, Recording, Target, speak

PATIENCE_S: Final = 60.0
"""Longest wait for the last measured utterance; what has not ended by then counts as failed."""
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
    """How fast utterances arrive, and for how long they are counted after a warm-up that is not."""

    rate_hz: float
    seconds: float = 30.0
    warm_up_s: float = 5.0
    seed: int = 0
    texts: tuple[str, ...] = TEXTS


@dataclass(slots=True)
class Session:
    """All that happened under a load. `recordings` are the measured ones, `others` came before and after them."""

    load: Load
    began_s: float = 0.0
    """When the measured time began, on the event loop's clock."""
    recordings: list[Recording] = field(default_factory=list)
    others: list[Recording] = field(default_factory=list)
    lags_s: list[float] = field(default_factory=list)
    """How late this process's own event loop was, every `LAG_INTERVAL_S`: what it adds to what it measures."""
    cpu_share: float = 0.0
    """Of one core, used by this process."""


def arrival_times(rate_hz: float, seed: int) -> Iterator[float]:
    """Moments of a Poisson process in seconds from 0, without end; the same seed gives the same moments."""
    chance = np.random.default_rng(seed)
    now_s = 0.0
    while True:
        now_s += float(chance.exponential(1 / rate_hz))
        yield now_s


async def apply_load(target: Target, load: Load) -> Session:
    """Send utterances at the load's rate until every measured one has ended; later ones only keep the load up.

    Raises `BenchError` where no utterance falls into the measured time.
    """
    loop = asyncio.get_running_loop()
    session = Session(load)
    start_s = loop.time() + CONNECT_AHEAD_S
    session.began_s = start_s + load.warm_up_s
    end_s = session.began_s + load.seconds
    texts = np.random.default_rng([load.seed, 1])
    measured: set[asyncio.Task[None]] = set()
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        background = [tasks.create_task(_watch_lag(session.lags_s))]
        for number, arrival_s in enumerate(arrival_times(load.rate_hz, load.seed)):
            due_s = start_s + arrival_s
            is_over = due_s >= end_s and await _all_ended(measured, min(due_s, end_s + PATIENCE_S))
            if is_over or due_s >= end_s + PATIENCE_S:
                break
            await asyncio.sleep(due_s - CONNECT_AHEAD_S - loop.time())
            recording = Recording(due_s)
            text = load.texts[int(texts.integers(len(load.texts)))]
            task = tasks.create_task(speak(target, text, number, recording))
            if session.began_s <= due_s < end_s:
                session.recordings.append(recording)
                measured.add(task)
            else:
                session.others.append(recording)
                background.append(task)
        for task in (*background, *measured):
            task.cancel()
    session.cpu_share = (time.process_time() - cpu_s) / (time.perf_counter() - wall_s)
    if not session.recordings:
        raise BenchError(f"no utterance in {load.seconds:g} s at {load.rate_hz:g} a second: measure longer")
    return session


async def _all_ended(measured: set[asyncio.Task[None]], until_s: float) -> bool:
    """Wait for the measured utterances; True where they have ended or may not be waited for any longer."""
    loop = asyncio.get_running_loop()
    if not measured:
        return True
    patience_s = until_s - CONNECT_AHEAD_S - loop.time()
    _, pending = await asyncio.wait(measured, timeout=max(0.0, patience_s))
    return not pending


async def _watch_lag(lags_s: list[float]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        asleep_s = loop.time()
        await asyncio.sleep(LAG_INTERVAL_S)
        lags_s.append(loop.time() - asleep_s - LAG_INTERVAL_S)
