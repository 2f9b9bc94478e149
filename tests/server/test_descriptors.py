"""Where descriptors run out the log stays short, what is served continues, and more are asked for at the start."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import subprocess
import sys

import pytest

from streamer.config import Config, EngineConfig, LimitsConfig
from streamer.server.descriptors import SAY_EVERY_S, ExhaustionReporter, allow_descriptors, count_connections
from streamer.worker_config import WorkersConfig

EXHAUSTED = """
import asyncio, logging, resource, sys
sys.path.insert(0, ".")
from tests.server.speaking import configured, running
logging.basicConfig(level=logging.INFO)
async def main():
    async with running(configured(max_connections=1, max_connections_per_address=1000)) as server:
        async with server.client() as client:
            used = max(int(name) for name in __import__("os").listdir("/proc/self/fd"))
            resource.setrlimit(resource.RLIMIT_NOFILE, (used + 2, 1000))
            sockets = []
            try:
                while True:
                    sockets.append(await asyncio.open_connection("127.0.0.1", server.server.port))
            except OSError:
                pass
            await asyncio.sleep(1.2)
            await client.say("speak", id="a", text="Hello there.")
            print((await client.until("done"))["reason"], flush=True)
            resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000))
            for _, writer in sockets:
                writer.close()
            await asyncio.sleep(1.5)
            print((await server.get("/livez"))[0], flush=True)
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("backend", "workers", "expected"),
    [
        ("local", (), 500),
        ("local", ("ws://a:1",), 500),
        ("workers", ("ws://a:1", "ws://b:1"), 1000 + 2 * 66),
        ("ray", (), 1000 + 64 * 66),
    ],
)
def test_a_front_end_needs_descriptors_for_its_workers_too(
    backend: str, workers: tuple[str, ...], expected: int
) -> None:
    """Each sentence in the making is a connection, and each worker keeps some open; an engine has none."""
    config = Config(
        engine=EngineConfig(backend=backend),
        limits=LimitsConfig(max_connections=500),
        workers=WorkersConfig(worker=workers),
    )
    assert count_connections(config) == expected


def test_the_process_allows_itself_what_connections_need(caplog: pytest.LogCaptureFixture) -> None:
    """The soft limit is raised, never lowered; where the hard limit is too low the log says what to do."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        allow_descriptors(500)
        raised = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert raised > 500 and caplog.messages == []
        allow_descriptors(10)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == raised
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    if before[1] != resource.RLIM_INFINITY:
        allow_descriptors(before[1])
        assert "needs more open files" in caplog.messages[0]
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_what_cannot_be_accepted_is_said_once_a_minute(
    number: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Each attempt is counted; the log has one line without a traceback, and then one that tells how many."""
    now_s, count = 1000.0, 0

    def add() -> None:
        nonlocal count
        count += 1

    reporter = ExhaustionReporter(add, lambda: now_s)
    context = {"message": "socket.accept()", "exception": OSError(number, "none left"), "socket": object()}
    for _ in range(500):
        reporter(asyncio.get_running_loop(), context)
    assert (count, len(caplog.records)) == (500, 1)
    assert "none left" in caplog.messages[0] and caplog.records[0].exc_info is None
    now_s += SAY_EVERY_S
    reporter(asyncio.get_running_loop(), context)
    assert len(caplog.records) == 2 and caplog.records[1].attempts == 500  # type: ignore[attr-defined]


async def test_other_failures_of_the_loop_are_reported_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    """A failure that has nothing to do with accepting keeps its traceback."""
    with caplog.at_level(logging.ERROR):
        ExhaustionReporter(lambda: None)(
            asyncio.get_running_loop(), {"message": "odd", "exception": ValueError("odd")}
        )
    assert caplog.records[0].exc_info


def test_a_session_is_served_while_no_connection_can_be_accepted() -> None:
    """Without a descriptor left what is open is spoken, the log is short, and later connections are accepted again."""
    run = subprocess.run([sys.executable, "-c", EXHAUSTED], capture_output=True, text=True, check=False)
    assert run.stdout.split() == ["completed", "200"], run.stderr[-2000:]
    assert "Traceback" not in run.stderr and run.stderr.count("cannot be accepted") == 1, run.stderr[-2000:]
