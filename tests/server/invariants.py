"""What holds after every end-to-end test, whatever it did to the server; `running` and `serving` have it checked."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import streamer
from streamer.audio.packets import Packet
from streamer.server import session
from streamer.server.admission import Admission, Permit
from streamer.server.app import Server
from streamer.server.service import Service
from streamer.server.speaker import Speaker
from streamer.server.utterance import Utterance
from streamer.server.wire import Frame, Outcome, Wire
from streamer.speech.events import SpeechEvent

SETTLE_S = 5.0
"""How long a server may take to notice that all of its clients are gone."""
LAST_TASKS_S = 2.0
"""How long the tasks of libraries that were closed may take to end."""


LATE = "something behind the end"


class _WatchedWire:
    """Passes on what a protocol's wire makes, and notes in `told` that the end came, and what came behind it."""

    def __init__(self, wire: Wire, told: list[str]) -> None:
        self._wire = wire
        self._told = told

    def event(self, utterance: Utterance, event: SpeechEvent) -> Sequence[Frame]:
        self._note_late()
        return self._wire.event(utterance, event)

    def packet(self, utterance: Utterance, packet: Packet) -> Sequence[Frame]:
        self._note_late()
        return self._wire.packet(utterance, packet)

    def done(self, utterance: Utterance, outcome: Outcome) -> Sequence[Frame]:
        self._told.append(outcome.reason)
        return self._wire.done(utterance, outcome)

    def _note_late(self) -> None:
        if self._told:
            self._told.append(LATE)


class _Failures(logging.Handler):
    """Keeps the records that tell of a bug: those with a traceback, and what asyncio complains of."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or record.name == "asyncio":
            self.told.append(logging.Formatter().format(record))


class Invariants:
    """Watches one server: its utterances, its tasks, and what is logged meanwhile."""

    def __init__(self, server: Server, service: Service, *, may_have_clients: bool) -> None:
        self._server = server
        self._admission = service.admission
        self._may_have_clients = may_have_clients
        self._num_admitted = 0
        self._ends: list[
            list[str]
        ] = []  # of each utterance; no more of it is kept, for tests that look for leaks
        self._tasks_before = asyncio.all_tasks()
        self.failures = _Failures()

    def admit(self, client_key: str, weight: float = 1.0) -> Permit:
        """Stands in for `Admission.admit`, and counts what was begun."""
        permit = Admission.admit(self._admission, client_key, weight)
        self._num_admitted += 1
        return permit

    def watch(self, wire: Wire) -> Wire:
        """Return the wire that an utterance is to be given instead of this one."""
        self._ends.append([])
        return _WatchedWire(wire, self._ends[-1])

    async def check_idle(self) -> None:
        """All clients have left, unless some may stay, and the server, which runs still, holds nothing of theirs."""
        if self._may_have_clients:
            return
        await _until(lambda: not self._held(), SETTLE_S)
        assert not self._held(), f"held for clients that are gone: {self._held()}"

    async def check_over(self, *, may_log_failures: bool) -> None:
        """The server is closed: each utterance ended once, the figures add up, and nothing is left or was hidden."""
        outcomes = self._outcomes()
        assert sum(outcomes.values()) == self._num_admitted, (
            f"{self._num_admitted} were begun, of which {outcomes}"
        )
        assert all(len(told) <= 1 for told in self._ends), f"an end that is not one: {self._ends}"
        num_untold = self._ends.count([])
        assert num_untold <= outcomes.get("client_gone", 0), f"{num_untold} have no end: {outcomes}"
        for name in ("tts_requests_running", "tts_connections", "tts_utterances_queued"):
            assert self._server.metrics.registry.get_sample_value(name) == 0, name
        await _until(lambda: not self._tasks_left(), LAST_TASKS_S)
        assert not (left := self._tasks_left()), f"tasks are left: {left}"
        gc.collect(1)  # a failed task that nobody asked for its result tells so when it is freed
        told = self.failures.told
        assert may_log_failures or not told, told[0]

    def _held(self) -> dict[str, Any]:
        """What is taken by clients, as far as it is not nothing."""
        queue, health = self._admission.queue, self._server._synthesizer.health()
        quotas = self._admission._quotas.values()
        held = {
            "connections": self._server.num_connections,
            "sessions": self._server.num_sessions,
            "places": self._admission._claimed.total() + self._admission._reserved.total(),
            "open utterances": sum(quota.num_open for quota in quotas),
            "utterances that wait to start": sum(quota.num_waiting for quota in quotas),
            "utterances in service": sum(quota.share.num_in_service for quota in quotas),
            "seconds in service": round(sum(abs(quota.share.sound_s) for quota in quotas), 6),
            "utterances let in beyond": sum(quota.share.num_beyond for quota in quotas),
            "clients in service": len(queue._in_service),
            "utterances in the queue": queue.num_waiting + len(queue._arriving),
        }
        if (engine := health.engine) is not None:
            held |= {"slots": engine.num_running, "sentences that wait": engine.num_waiting}
        return {name: number for name, number in held.items() if number}

    def _outcomes(self) -> dict[str, float]:
        (metric,) = self._server.metrics.requests.collect()
        return {
            sample.labels["outcome"]: sample.value
            for sample in metric.samples
            if sample.name.endswith("_total")
        }

    def _tasks_left(self) -> set[asyncio.Task[Any]]:
        left = asyncio.all_tasks() - self._tasks_before - {asyncio.current_task()}
        return {task for task in left if not self._may_have_clients or _is_ours(task)}


async def _until(condition: Callable[[], bool], timeout_s: float) -> None:
    """Return when the condition holds, or the time is up."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.002)


def _is_ours(task: asyncio.Task[Any]) -> bool:
    """Whether the package began a task, and not one of the clients that a test has."""
    code = getattr(task.get_coro(), "cr_code", None)
    return code is None or Path(code.co_filename).is_relative_to(Path(streamer.__file__).parent)


@contextlib.asynccontextmanager
async def watched(
    server: Server, *, may_log_failures: bool = False, may_have_clients: bool = False
) -> AsyncIterator[Invariants]:
    """Watch a server that has not started; when the block is left, it must have ended. For the rest see `serving`."""
    service = server._service
    invariants = Invariants(server, service, may_have_clients=may_have_clients)
    create_speaker: type[Speaker] = session.Speaker

    def create(
        utterance: Utterance, wire: Wire, encoder: Any, permit: Permit, its: Service, *rest: Any
    ) -> Speaker:
        """Another server of the same test has invariants of its own."""
        return create_speaker(
            utterance, invariants.watch(wire) if its is service else wire, encoder, permit, its, *rest
        )

    logger = logging.getLogger()
    logger.addHandler(invariants.failures)
    try:
        with (
            mock.patch.object(session, "Speaker", create),
            mock.patch.object(service.admission, "admit", invariants.admit),
        ):
            yield invariants
        await invariants.check_over(may_log_failures=may_log_failures)
    finally:
        logger.removeHandler(invariants.failures)
