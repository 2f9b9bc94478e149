"""What holds after every end-to-end test, whatever it did to the server; `running` and `serving` have it checked."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import h11

import streamer
from streamer.audio.packets import Packet
from streamer.server import session
from streamer.server.admission import Admission, Permit
from streamer.server.app import Server
from streamer.server.http_connection import HttpConnection
from streamer.server.service import Service
from streamer.server.speaker import Speaker
from streamer.server.utterance import Utterance
from streamer.server.wire import Frame, Outcome, Wire
from streamer.speech.events import SpeechEvent

SETTLE_POLLS = 500
"""How often it is looked whether a server has noticed that all of its clients are gone: for a second, which is longer
where the machine is busy, because the server has a turn each time."""
POLL_S = 0.002
BLOCKED_CPU_S = 2.0
"""The CPU time after which a turn of the event loop has blocked it; that of a busy machine's others does not count."""
PROBE_INTERVAL_S = 0.05
LAST_TASKS_S = 2.0
"""How long the tasks of libraries that were closed may take to end, and threads and descriptors with them."""
POOL = "asyncio_"
"""What the names of the threads of asyncio's pool begin with, which stay until the event loop is closed."""
WAITING_FOR_CHILD = "asyncio-waitpid-"
"""And those of the threads that wait for the test's own child processes, such as a browser."""


LATE = "something behind the end"
ServeNext = Callable[[HttpConnection, float], Awaitable[bool]]


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
        super().__init__(logging.WARNING)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "asyncio" or (record.exc_info and record.levelno >= logging.ERROR):
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
        self._descriptors_before = descriptors()
        self._threads_before = set(threading.enumerate())
        self._longest_turn_s = 0.0
        self._unanswered: list[str] = []
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
        for _ in range(SETTLE_POLLS):
            if not self._held():
                return
            await asyncio.sleep(POLL_S)
        assert not self._held(), f"held for clients that are gone: {self._held()}"

    async def serve_next(self, serve: ServeNext, connection: HttpConnection, idle_s: float) -> bool:
        """Stands in for `HttpConnection._serve_next`: what was asked is answered whole, unless the client has left."""
        may_follow = await serve(connection, idle_s)
        if (
            connection._session is None
            and not connection._connection.lost.is_set()
            and (state := connection._http.our_state) in (h11.SEND_RESPONSE, h11.SEND_BODY)
        ):
            self._unanswered.append(str(state))
        return may_follow

    async def probe(self) -> None:
        """Note how much CPU time the event loop takes for a turn, until cancelled."""
        while True:
            began_s = time.thread_time()
            await asyncio.sleep(PROBE_INTERVAL_S)
            self._longest_turn_s = max(self._longest_turn_s, time.thread_time() - began_s)

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
        assert not self._unanswered, f"requests without a whole answer: {self._unanswered}"
        assert self._longest_turn_s < BLOCKED_CPU_S, (
            f"the event loop was blocked: {self._longest_turn_s:.1f} s"
        )
        await _until(lambda: not self._tasks_left(), LAST_TASKS_S)
        assert not (left := self._tasks_left()), f"tasks are left: {left}"
        await _until(lambda: not (self._descriptors_left() or self._threads_left()), LAST_TASKS_S)
        assert not (open_still := self._descriptors_left()), f"descriptors are open: {open_still}"
        assert not (running := self._threads_left()), f"threads are left: {running}"
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
            "places": self._admission.places.num_taken,
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

    def _descriptors_left(self) -> set[str]:
        """What was opened since, unless clients are there still, whose connections are in this process, too."""
        return set() if self._may_have_clients else descriptors() - self._descriptors_before

    def _threads_left(self) -> set[threading.Thread]:
        left = set(threading.enumerate()) - self._threads_before
        return {thread for thread in left if not thread.name.startswith((POOL, WAITING_FOR_CHILD))}

    def _tasks_left(self) -> set[asyncio.Task[Any]]:
        left = asyncio.all_tasks() - self._tasks_before - {asyncio.current_task()}
        return {task for task in left if not self._may_have_clients or _is_ours(task)}


def descriptors() -> set[str]:
    """Return what each open descriptor of this process leads to; the listing's own is none of them."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(f"{link.name} -> {link.readlink()}")
    return found


async def _until(condition: Callable[[], bool], timeout_s: float) -> None:
    """Return when the condition holds, or the time is up."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(POLL_S)


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

    serve_next = HttpConnection._serve_next

    async def serve(connection: HttpConnection, idle_s: float) -> bool:
        if connection._host.service is service:
            return await invariants.serve_next(serve_next, connection, idle_s)
        return await serve_next(connection, idle_s)

    probing = asyncio.create_task(invariants.probe())
    logger = logging.getLogger()
    logger.addHandler(invariants.failures)
    try:
        with (
            mock.patch.object(session, "Speaker", create),
            mock.patch.object(service.admission, "admit", invariants.admit),
            mock.patch.object(HttpConnection, "_serve_next", serve),
        ):
            yield invariants
        probing.cancel()
        await invariants.check_over(may_log_failures=may_log_failures)
    finally:
        probing.cancel()
        logger.removeHandler(invariants.failures)
