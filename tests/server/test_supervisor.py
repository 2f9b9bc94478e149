"""What systemd is told, read from the socket that it would listen on."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamer.backends.loading import LoadingSynthesizer
from streamer.errors import CheckpointError, EngineError
from streamer.server import supervisor as module
from streamer.server.app import Server
from streamer.server.supervisor import Supervisor
from streamer.synthesis import Synthesizer
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import configured, eventually

Told = Callable[[], list[str]]


@pytest.fixture(params=["path", "abstract"])
def listening(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Told]]:
    """A socket's name as NOTIFY_SOCKET has it, and what came to it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiving:
        name = str(tmp_path / "notify") if request.param == "path" else f"@streamer-test-{os.getpid()}"
        receiving.bind(name.replace("@", "\0"))
        receiving.setblocking(False)

        def told() -> list[str]:
            lines = []
            while True:
                try:
                    lines.append(receiving.recv(4096).decode())
                except BlockingIOError:
                    return lines

        yield name, told


async def test_a_server_tells_of_its_life(listening: tuple[str, Told]) -> None:
    """First what it loads, then that it is ready and lives, and in the end that it stops."""
    name, told = listening
    supervisor = Supervisor({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "600000"})
    fake = FakeSynthesizer()
    server = Server(configured(), LoadingSynthesizer(lambda: fake), supervisor=supervisor)
    await server.start()
    lines = told()
    assert lines[0] == "STATUS=starting: the port is being opened"
    assert lines[-2:] == ["STATUS=ready", "READY=1"] and lines.count("READY=1") == 1
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.run_until_stopped())
        await eventually(lambda: "WATCHDOG=1" in told())
        fake.step_age_s = 3.04
        slow = "STATUS=degraded: a step of the engine has taken 3.0 s so far"
        await eventually(lambda: slow in told())
        server.stop()
    assert "STOPPING=1" in told()


async def test_the_states_of_a_start_are_shown(
    listening: tuple[str, Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for a large model sees what the server is about."""
    monkeypatch.setattr(module, "SHOW_INTERVAL_S", 0.001)
    name, told = listening
    shown: list[str] = []

    def shows(line: str) -> bool:
        shown.extend(told())
        return line in shown

    fake = FakeSynthesizer(warm_up_s=0.05)
    is_read = asyncio.Event()
    loop = asyncio.get_running_loop()

    def load() -> Synthesizer:
        asyncio.run_coroutine_threadsafe(is_read.wait(), loop).result()
        return fake

    server = Server(configured(), LoadingSynthesizer(load), supervisor=Supervisor({"NOTIFY_SOCKET": name}))
    starting = asyncio.ensure_future(server.start())
    await eventually(lambda: shows("STATUS=loading: the model is being read"))
    is_read.set()
    await eventually(lambda: shows("STATUS=warming: the model makes its first sound"))
    await starting
    assert shows("STATUS=ready")
    server.stop()
    await server.run_until_stopped()
    assert not shows("WATCHDOG=1")  # it was not asked for


async def test_a_start_that_fails_says_why(listening: tuple[str, Told]) -> None:
    """The reason is what `systemctl status` shows last, and the server was never ready."""
    name, told = listening

    def load() -> Synthesizer:
        raise CheckpointError("coarse.safetensors\nis broken")

    server = Server(configured(), LoadingSynthesizer(load), supervisor=Supervisor({"NOTIFY_SOCKET": name}))
    with pytest.raises(CheckpointError):
        await server.start()
    lines = told()
    assert lines[-1] == "STATUS=failed: coarse.safetensors is broken" and "READY=1" not in lines


async def test_a_dead_engine_is_shown_as_the_reason(listening: tuple[str, Told]) -> None:
    """The process ends on its own, and says what of."""
    name, told = listening
    fake = FakeSynthesizer()
    server = Server(configured(), fake, supervisor=Supervisor({"NOTIFY_SOCKET": name}))
    await server.start()
    fake.die("a step hangs")
    with pytest.raises(EngineError, match="a step hangs"):
        await server.run_until_stopped()
    lines = told()
    assert "STATUS=failed: a step hangs" in lines and "STOPPING=1" in lines


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("two\nlines", "two lines"),
        ("\u00fcber", "\u00fcber"),
        ("/models/\udcff", "/models/?"),
        ("x" * 1_000_000, "x" * 504),
        ("READY=1\nREADY=1", "READY=1 READY=1"),
        ("", ""),
    ],
)
def test_a_state_is_one_line_whatever_is_in_it(listening: tuple[str, Told], message: str, shown: str) -> None:
    """Messages quote names of files, which may be long, or no text at all."""
    name, told = listening
    Supervisor({"NOTIFY_SOCKET": name}).show("failed", [message])
    assert told() == [f"STATUS=failed: {shown}".rstrip(": ")]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"NOTIFY_SOCKET": "/nowhere/notify"},
        {"NOTIFY_SOCKET": "/" + "x" * 200},
        {"NOTIFY_SOCKET": "@" + "x" * 200},
        {"NOTIFY_SOCKET": "vsock:2:1234"},
        {"NOTIFY_SOCKET": "/nowhere/notify", "WATCHDOG_USEC": "often"},
        {"NOTIFY_SOCKET": "/nowhere/notify", "WATCHDOG_USEC": "1"},
    ],
)
def test_a_supervisor_that_is_not_there_is_not_missed(environ: dict[str, str]) -> None:
    """Whatever the variables say, nothing is raised."""
    supervisor = Supervisor(environ)
    supervisor.ready()
    supervisor.ping()
    supervisor.show("ready", [])
    supervisor.stopping()


def test_a_ping_is_sent_twice_as_often_as_it_is_awaited(
    listening: tuple[str, Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is asked for, and never on behalf of another process."""
    name, told = listening
    now_s = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now_s)
    ours = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "10000000"}
    supervisors = [Supervisor(ours | {"WATCHDOG_PID": pid}) for pid in (str(os.getpid()), "1", "")]
    for _ in range(41):
        for supervisor in supervisors:
            supervisor.ping()
        now_s += 0.25
    assert told() == ["WATCHDOG=1"] * 3


def test_a_state_is_shown_when_it_changes(listening: tuple[str, Told]) -> None:
    """The same one is told once."""
    name, told = listening
    supervisor = Supervisor({"NOTIFY_SOCKET": name})
    for state, reasons in (("ready", []), ("ready", []), ("degraded", ["one", "two"]), ("ready", [])):
        supervisor.show(state, reasons)
    assert told() == ["STATUS=ready", "STATUS=degraded: one, two", "STATUS=ready"]
