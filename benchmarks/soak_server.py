"""The server of `soak.py` in a process of its own, which tells what it holds whenever it is asked.

It is put together as `streamer serve` does it, over the built-in voice, or over `server_cost`'s synthesizer, which
computes nothing.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from prometheus_client.samples import Sample

from benchmarks.protocol_clients import VOICE
from benchmarks.server_cost import Metronome
from benchmarks.speaking import LIFTED_LIMITS
from streamer.assembly import BUILTIN_MODEL, build_server
from streamer.commands.cli import SWITCH_INTERVAL_S
from streamer.config import Config, load_config
from streamer.server.app import Server

ENGINES: Final = ("builtin", "metronome")
BUILTIN_VOICE: Final = "joe"
SENTENCE_S: Final = 1.0
"""How long `Metronome` speaks, whatever the text."""
START_TIMEOUT_S: Final = 300.0
OUTCOMES: Final = "tts_requests_total"
ERRORS: Final = "tts_errors_total"


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the process holds at one moment. `outcomes`: ended utterances by how they ended; `errors`: what clients were
    told of, by code; `num_errors`: log records."""

    rss_bytes: int
    num_descriptors: int
    num_threads: int
    num_tasks: int
    num_objects: int
    num_connections: int
    num_running: int
    num_slots_used: int
    num_errors: int
    outcomes: dict[str, int]
    errors: dict[str, int]
    cpu_s: float

    @property
    def num_ended(self) -> int:
        """Utterances that have ended, in whichever way."""
        return sum(self.outcomes.values())


class RunningServer:
    """The process seen from outside."""

    def __init__(self, pipe: Connection, process_id: int, port: int, wyoming_port: int) -> None:
        self.process_id = process_id
        self.port = port
        self.wyoming_port = wyoming_port
        self._pipe = pipe
        self._lock = threading.Lock()

    async def holdings(self) -> Holdings:
        """Ask for what it holds, behind a collection of its garbage."""
        return await asyncio.to_thread(self._ask)

    def _ask(self) -> Holdings:
        with self._lock:
            self._pipe.send(True)
            answer = self._pipe.recv()
        assert isinstance(answer, Holdings)
        return answer


@contextmanager
def started(engine: str, options: dict[str, object]) -> Iterator[RunningServer]:
    """Run the server in a process of its own; `options` are further settings."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with tempfile.TemporaryDirectory() as directory:
        flags = {"port": 0, "wyoming_port": 0, **LIFTED_LIMITS, **options}
        if engine == "builtin":
            # The clients ask for the voice of `Metronome`.
            shutil.copy(BUILTIN_MODEL / "voices" / f"{BUILTIN_VOICE}.npz", Path(directory) / f"{VOICE}.npz")
            flags["voices_directory"] = directory
        process = context.Process(target=_serve, args=(theirs, engine, flags), daemon=True)
        process.start()
        theirs.close()
        try:
            if not ours.poll(START_TIMEOUT_S):
                raise RuntimeError("the server did not start")
            yield RunningServer(ours, *ours.recv())
            ours.send(False)
            process.join(60)
        finally:
            process.kill()
            process.join()


def _serve(pipe: Connection, engine: str, flags: dict[str, object]) -> None:
    errors = _CountErrors()
    logging.getLogger().addHandler(errors)
    config = load_config(environ={}, flags=flags)
    asyncio.run(_run(pipe, _build(engine, config), errors))


def _build(engine: str, config: Config) -> Server:
    return build_server(config) if engine == "builtin" else Server(config, Metronome(SENTENCE_S))


async def _run(pipe: Connection, server: Server, errors: _CountErrors) -> None:
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    await server.start()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(server.run_until_stopped())
        pipe.send((os.getpid(), server.port, server.tcp_ports[0]))
        while await asyncio.to_thread(pipe.recv):
            pipe.send(_holdings(server, errors))
        server.stop()
        await running


def rss_bytes(process_id: int) -> int:
    """Return the memory of a process that is resident."""
    return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * resource.getpagesize()


def _holdings(server: Server, errors: _CountErrors) -> Holdings:
    rss = rss_bytes(os.getpid())
    gc.collect()  # what waits for it does not count as held
    samples = [sample for metric in server.metrics.registry.collect() for sample in metric.samples]

    def figure(name: str) -> int:
        return round(next((sample.value for sample in samples if sample.name == name), 0))

    return Holdings(
        rss_bytes=rss,
        num_descriptors=len(list(Path("/proc/self/fd").iterdir())) - 1,  # the listing has one itself
        num_threads=len(list(Path("/proc/self/task").iterdir())),
        num_tasks=len(asyncio.all_tasks()),
        num_objects=len(gc.get_objects()),
        num_connections=server.num_connections,
        num_running=figure("tts_requests_running"),
        num_slots_used=figure("tts_slots_used") + figure("tts_listeners"),
        num_errors=errors.num_records,
        outcomes=_by_label(samples, OUTCOMES, "outcome"),
        errors={code: count for code, count in _by_label(samples, ERRORS, "code").items() if count},
        cpu_s=time.process_time(),
    )


def _by_label(samples: list[Sample], name: str, label: str) -> dict[str, int]:
    return {sample.labels[label]: round(sample.value) for sample in samples if sample.name == name}


class _CountErrors(logging.Handler):
    """Counts what the server logs as an error, and shows it."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.num_records = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count the record."""
        self.num_records += 1
        print(self.format(record), file=sys.stderr)
