"""Watches over what no session would notice: a dead engine, a blocked event loop, a certificate that expires."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from streamer.errors import EngineError
from streamer.server.accepting import Connections
from streamer.server.service import Service
from streamer.server.sessions import Sessions
from streamer.server.status import Status
from streamer.server.supervisor import Supervisor
from streamer.server.tls import Certificate

logger = logging.getLogger(__name__)
WATCH_INTERVAL_S: Final = 0.25


async def watch(
    service: Service,
    status: Status,
    connections: Connections,
    sessions: Sessions,
    supervisor: Supervisor,
    certificate: Certificate | None,
    fail: Callable[[EngineError], None],
) -> None:
    """Look after everything until cancelled. `fail` is called once, when the engine turns out to be dead."""
    metrics = service.metrics
    while True:
        asleep_s = time.monotonic()
        await asyncio.sleep(WATCH_INTERVAL_S)
        lag_s = max(0.0, time.monotonic() - asleep_s - WATCH_INTERVAL_S)
        metrics.event_loop_lag.observe(lag_s)
        if status.note_lag(lag_s):
            logger.warning("the event loop was blocked", extra={"seconds": round(lag_s, 3)})
        health = service.synthesizer.health()
        metrics.engine_up.set(health.alive)
        metrics.ready.set(status.is_ready)
        metrics.step_age.set(health.step_age_s)
        if not health.alive and status.failure is None:
            fail(EngineError(health.reason or "the engine is dead"))
        if certificate is not None:
            metrics.certificate_expiry.set(certificate.expires_s)
            certificate.warn_of_expiry()
        supervisor.ping()
        supervisor.show(*status.state())
        connections.sweep()
        sessions.end_without_key()
