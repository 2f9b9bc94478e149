"""A replica from its start to its end, over a worker with a fake engine; Ray Serve is played by the test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from streamer.backends.ray import replica
from streamer.backends.ray.autoscaling import replicas_for_listeners
from streamer.backends.ray.directory import WorkerDirectory
from streamer.backends.ray.replica import Replica
from streamer.errors import ConfigError, EngineError
from streamer.synthesis import Room
from tests.backends.ray.test_autoscaling import Context
from tests.backends.workers.fleet import front_end, request, speak, until, worker_server
from tests.fakes.synthesizer import FakeSynthesizer


class Announcer:
    """Calls a directory, unless it is away or hangs."""

    def __init__(self) -> None:
        self.directory = WorkerDirectory("")
        self.is_away = self.is_hung = False

    async def announce(self, address: str) -> None:
        await self._reach()
        self.directory.announce(address)

    async def withdraw(self, address: str) -> None:
        await self._reach()
        self.directory.withdraw(address)

    async def _reach(self) -> None:
        if self.is_hung:
            await asyncio.Event().wait()
        if self.is_away:
            raise RuntimeError("the directory is away")


@contextlib.asynccontextmanager
async def running(fake: FakeSynthesizer) -> AsyncIterator[tuple[Replica, Announcer]]:
    announcer = Announcer()
    one = Replica(worker_server(fake), announcer)
    await one.start()
    try:
        await until(announcer.directory.addresses)
        yield one, announcer
    finally:
        await one.stop()
    assert fake.num_open == 0
    assert fake.is_closed


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica, "ANNOUNCE_INTERVAL_S", 0.01)
    monkeypatch.setattr(replica, "ANNOUNCE_TIMEOUT_S", 0.05)


async def test_a_replica_speaks_where_it_is_announced_until_it_is_stopped() -> None:
    """What is open when it is stopped ends well, nobody new is sent to it, and it is listed no longer."""
    async with running(FakeSynthesizer(speed=4.0)) as (one, announcer):
        one.check_health()
        (address,) = announcer.directory.addresses()
        async with front_end(address) as front:
            speaking = asyncio.create_task(speak(front, request()))
            await until(lambda: front.workers[0].num_open)
            stopping = asyncio.create_task(one.stop())
            await until(lambda: not announcer.directory.addresses())
            assert not stopping.done()
            assert (await speaking)[-1].is_last
            await stopping


async def test_a_directory_that_is_away_ends_no_worker(caplog: pytest.LogCaptureFixture) -> None:
    """It is told once, and the worker is listed as soon as the directory is back, although that knows nothing."""
    async with running(FakeSynthesizer()) as (one, announcer):
        for trouble in ("is_away", "is_hung"):
            caplog.clear()
            setattr(announcer, trouble, True)
            announcer.directory = WorkerDirectory("")
            await until(lambda: caplog.records)
            await asyncio.sleep(0.1)
            (message,) = [record.getMessage() for record in caplog.records]
            assert message.startswith("a replica could not announce itself: ")
            one.check_health()
            setattr(announcer, trouble, False)
            await until(announcer.directory.addresses)


@pytest.mark.parametrize("trouble", ["is_away", "is_hung"])
async def test_a_replica_stops_although_the_directory_is_away(trouble: str) -> None:
    """The engine is released all the same."""
    async with running(FakeSynthesizer()) as (_, announcer):
        setattr(announcer, trouble, True)


async def test_a_dead_engine_is_unhealthy(caplog: pytest.LogCaptureFixture) -> None:
    """Its connections are closed at once, it announces itself no longer, and `stop` still ends."""
    fake = FakeSynthesizer()
    async with running(fake) as (one, announcer):
        (address,) = announcer.directory.addresses()
        async with front_end(address) as front:
            await until(lambda: front.health().ready)
            fake.die("the engine made no step for 15 s")
            with pytest.raises(EngineError, match="no step for 15 s"):
                one.check_health()
            await until(lambda: not front.health().ready)
            announcer.directory = WorkerDirectory("")
            await asyncio.sleep(0.05)
            assert not announcer.directory.addresses()
    assert "the worker of a replica had failed: the engine made no step for 15 s" in caplog.text


async def test_a_worker_that_has_ended_is_unhealthy() -> None:
    """Also if its engine is well."""
    async with running(FakeSynthesizer()) as (one, _):
        one._server.stop()
        await until(lambda: one._tasks[0].done())
        with pytest.raises(EngineError, match="the worker has ended"):
            one.check_health()


async def test_a_model_that_cannot_be_read_ends_the_start() -> None:
    """With its own error, which Ray Serve shows, and nothing is announced."""

    class Broken(FakeSynthesizer):
        async def start(self) -> None:
            raise ConfigError("there is no such model")

    announcer = Announcer()
    one = Replica(worker_server(Broken()), announcer)
    with pytest.raises(ConfigError, match="no such model"):
        await one.start()
    await one.stop()
    assert not announcer.directory.addresses()


@pytest.mark.parametrize(
    ("room", "expected", "num_replicas"),
    [
        (None, {"listeners": 0.0, "places": 0.0}, 4),
        (Room(3, 8, 0, 0, max_short=8, mean_stay_s=1.0), {"listeners": 3.0, "places": 8.0}, 1),
        (Room(9, 8, 0, 0, max_short=8, mean_stay_s=1.0), {"listeners": 9.0, "places": 8.0}, 2),
        (Room(0, 0, 0, 0, max_short=0, mean_stay_s=1.0), {"listeners": 0.0, "places": 1.0}, 1),
    ],
)
async def test_it_tells_its_load_as_the_policy_reads_it(
    room: Room | None, expected: dict[str, float], num_replicas: int
) -> None:
    """Listeners and places of the engine; without a limit the number of replicas stays as it is."""
    fake = FakeSynthesizer()
    fake.room = room
    async with running(fake) as (one, _):
        stats = one.autoscaling_stats()
    assert stats == expected
    figures = {name: {"replica": value} for name, value in stats.items()}
    assert replicas_for_listeners(Context(4, figures))[0] == num_replicas
