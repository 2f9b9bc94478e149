"""`/v1/status` tells what the server is doing and why, from the opening of its port to its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from dataclasses import replace
from typing import Any

import pytest

from streamer.backends.loading import LoadingSynthesizer
from streamer.errors import CheckpointError
from streamer.server.app import Server
from streamer.server.status import BLOCKED_LOOP_S, STATES, Status
from streamer.synthesis import Health, Room, Synthesizer, WorkerHealth, WorkersHealth
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import Running, configured, eventually, running

ROOM = Room(num_listeners=1, max_listeners=4, num_unheard=0, num_short=0, max_short=1, mean_stay_s=2.0)


async def _status(server: Running, *, host: str = "test") -> dict[str, Any]:
    status, _, body = await server.get("/v1/status", host)
    assert status == 200
    told = json.loads(body)
    assert isinstance(told, dict)
    return told


async def test_the_states_of_a_start() -> None:
    """The port is open while the model is read: alive, not ready, 503 for all that needs it, and the state says why."""
    fake = FakeSynthesizer(warm_up_s=30)
    is_read = threading.Event()

    def load() -> Synthesizer:
        is_read.wait()
        return fake

    server = Server(configured(), LoadingSynthesizer(load))
    assert server.status.state()[0] == "starting"
    starting = asyncio.ensure_future(server.start())
    await eventually(lambda: server.is_listening)
    asked = Running(server, fake, [])
    assert (await _status(asked))["state"] == "loading"
    for path, expected in (
        ("/livez", 200),
        ("/readyz", 503),
        ("/v1/voices", 503),
        ("/v1/stream", 503),
        ("/", 200),
    ):
        assert (await asked.get(path))[0] == expected
    is_read.set()
    for _ in range(500):
        if (told := await _status(asked))["state"] == "warming":
            break
    assert told["state"] == "warming" and told["why"]
    assert (await asked.get("/readyz"))[0] == 503
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await starting
    assert fake.is_closed


async def test_a_model_that_cannot_be_read_ends_the_start() -> None:
    """The error is that of the reading, and the port is closed again."""

    def load() -> Synthesizer:
        raise CheckpointError("broken")

    server = Server(configured(), LoadingSynthesizer(load))
    with pytest.raises(CheckpointError, match="broken"):
        await server.start()
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", server.port)


async def test_ready_degraded_and_draining() -> None:
    """Ready needs no reason; the others say what waits, what is slow, or what ends."""
    fake = FakeSynthesizer()
    fake.room = ROOM
    async with running(configured(drain_timeout_s=5.0, max_start_wait_s=5.0), fake) as server:
        told = await _status(server)
        assert (told["state"], told["why"], told["listeners"], told["max_listeners"]) == ("ready", [], 1, 4)
        async with server.client() as client:
            fake.room = replace(ROOM, num_listeners=4)
            await client.say("speak", id="a", text="Hello there.")
            await client.until("warning", code="queued")
            told = await _status(server)
            assert (told["state"], told["why"]) == ("degraded", ["1 utterances wait for room"])
            assert (await server.get("/readyz"))[0] == 200, "it is served all the same"
            fake.room = ROOM
            await client.until("done")
            fake.step_age_s = 3.04
            assert (await _status(server))["why"] == ["a step of the engine has taken 3.0 s so far"]
            fake.step_age_s = 0.0
            server.server.status.note_lag(2.5)
            assert (await _status(server))["why"] == ["the event loop was blocked for 2.5 s"]
            await client.say("start", id="b")
            await client.until("started")
            server.server.stop()
            told = await _status(server)
            assert (told["state"], told["why"]) == (
                "draining",
                ["the server stops: what is open may finish"],
            )
            assert (await server.get("/readyz"))[0] == 503 and (await server.get("/livez"))[0] == 200
            await client.say("cancel")


async def test_workers_are_named_with_what_keeps_them_from_being_used() -> None:
    """Each stands in the list; the reasons name the first five that cannot be used, and none that can."""
    problems = (
        "",
        "it cannot be reached",
        "it drains",
        "the model is being read",
        "its name is 'b'",
        "it hangs",
        "x",
    )
    each = tuple(
        WorkerHealth(f"ws://{number}:1", number % 2 == 0, problem, number, 1, 4, 0, 0, 0, 0)
        for number, problem in enumerate(problems)
    )

    class Fake(FakeSynthesizer):
        def health(self) -> Health:
            return replace(super().health(), workers=WorkersHealth(each))

    async with running(configured(), Fake()) as server:
        told = await _status(server, host="localhost")
        assert (await server.get("/readyz"))[2] == b"ok: of 7 workers 4 answer\n"
    assert told["why"] == ["of 7 workers 1 can be used"] + [
        f"worker ws://{number}:1: {problems[number]}" for number in range(1, 6)
    ]
    each, fake = each[1:2], Fake()
    server = Server(configured(), fake)
    server.status.is_listening = True
    fake.health = lambda: Health(
        True, False, "none can be used", is_loaded=False, workers=WorkersHealth(each)
    )
    assert server.status.state() == ("loading", ["none can be used", "worker ws://1:1: it cannot be reached"])
    workers = told["workers"]
    assert (workers["num_all"], workers["num_answering"], workers["num_ready"]) == (7, 4, 1)
    assert [worker["why"] for worker in workers["each"]] == [*problems]
    assert workers["each"][2] == {
        "address": "ws://2:1", "is_answering": True, "is_ready": False, "why": "it drains",
        "sentences": 2, "listeners": 1, "max_listeners": 4,
    }  # fmt: skip


async def test_a_dead_engine_is_a_failed_server() -> None:
    """Until the process ends, a client that asks is told the reason."""
    async with running() as server:
        server.synthesizer.die("a step hangs")
        told = await _status(server)
        assert (told["state"], told["why"]) == ("failed", ["a step hangs"])
        await eventually(lambda: server.failures)
        assert server.server.status.state() == ("failed", ["a step hangs"])


async def test_a_start_that_fails_is_a_failed_server() -> None:
    """No client can ask it any more, but a supervisor is told."""

    def load() -> Synthesizer:
        raise CheckpointError("broken")

    server = Server(configured(), LoadingSynthesizer(load))
    with pytest.raises(CheckpointError):
        await server.start()
    assert server.status.state() == ("failed", ["broken"])


def test_every_state_has_its_metric() -> None:
    """The figures have the same words as `/v1/status`."""
    text = Server(configured(), FakeSynthesizer()).metrics.render().decode()
    for state in STATES:
        assert f'tts_state{{tts_state="{state}"}} {float(state == "starting")}' in text


def test_a_block_counts_for_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each long one does, also if a longer one came shortly before."""
    now_s = 1000.0
    monkeypatch.setattr("streamer.server.status.time.monotonic", lambda: now_s)
    fake = FakeSynthesizer()
    fake.is_started = True
    status = Status(Server(configured(), fake)._service)
    status.is_listening = status.is_warm = True
    shown = []
    for wait_s, lag_s in ((0, 0.9), (0, 2.5), (50, 1.5), (59, 0.2), (2, 0.2)):
        now_s += wait_s
        status.note_lag(lag_s)
        shown.append(status.state())
    blocked = "the event loop was blocked for"
    assert shown == [
        ("ready", []),
        ("degraded", [f"{blocked} 2.5 s"]),
        ("degraded", [f"{blocked} 1.5 s"]),
        ("degraded", [f"{blocked} 1.5 s"]),
        ("ready", []),
    ]


def test_a_blocked_loop_is_news_once_a_minute_unless_it_is_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is usual is no news, and neither is the same again."""
    now_s = 1000.0
    monkeypatch.setattr("streamer.server.status.time.monotonic", lambda: now_s)
    status = Status(Server(configured(), FakeSynthesizer())._service)
    lags_s = (0.001, BLOCKED_LOOP_S, BLOCKED_LOOP_S, 0.5, 0.3)
    assert [status.note_lag(lag_s) for lag_s in lags_s] == [False, True, False, True, False]
    now_s += 60.0
    assert status.note_lag(0.2)
