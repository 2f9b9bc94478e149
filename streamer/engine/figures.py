"""An engine's state in numbers, for whoever watches it from another thread."""

from __future__ import annotations

from streamer.engine.engine import Engine
from streamer.engine.request import WorkT
from streamer.synthesis import EngineStats


def figures(engine: Engine[WorkT]) -> EngineStats:
    """What it does, and how full it is."""
    capacity, num_running = engine.capacity, engine.num_running
    return EngineStats(
        engine.step_times.figures(),
        engine.slots.num_slots,
        num_running,
        max(0, engine.num_open - num_running),
        capacity.num_present,
        capacity.load(capacity.num_present) if capacity.num_present else 0.0,
        capacity.num_listeners,
    )
