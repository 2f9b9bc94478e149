"""Workers and front ends in processes of their own: killed, stopped, drained, replaced, and what clients notice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from streamer.backends.workers import remote_worker
from streamer.backends.workers.synthesizer import WorkersSynthesizer
from streamer.server.app import Server
from tests.backends.workers.fleet import VERSION, front_end, request, sound, speak, until
from tests.backends.workers.telling import sounds, told
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import Frame, Running, configured, connected, serving

SPEED = 8.0
TEXT = "This is the first sentence of all. Here comes the second one, too. And there is a third at the end."


@dataclass
class ToyWorker:
    process: Process
    address: str

    def signal(self, number: int) -> None:
        self.process.send_signal(number)


@contextlib.asynccontextmanager
async def toys(*versions: str, speed: float = SPEED, port: int = 0) -> AsyncIterator[list[ToyWorker]]:
    """A process for each worker, that starts at the same time as the others."""
    command = [sys.executable, "-m", "tests.backends.workers.fleet"]
    processes = [
        await asyncio.create_subprocess_exec(*command, version, str(speed), str(port), stdout=PIPE)
        for version in versions
    ]
    try:
        found = []
        for process in processes:
            assert process.stdout is not None
            async with asyncio.timeout(20):
                found.append(ToyWorker(process, (await process.stdout.readline()).decode().strip()))
        yield found
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def serving_over(*workers: ToyWorker) -> AsyncIterator[tuple[Server, WorkersSynthesizer]]:
    """The whole front end in this process, as soon as it knows all of its workers."""
    front = WorkersSynthesizer([one.address for one in workers], version=VERSION)
    limits = {"max_utterances_per_key": 64, "max_utterances_per_session": 64}
    async with serving(front, configured(**limits)) as server:
        await until(lambda: front.health().workers.num_answering == len(workers))
        yield server, front


async def test_a_worker_that_is_killed_in_mid_load_costs_only_what_was_being_heard() -> None:
    """Of twelve utterances on two workers each ends once: `failed` if a sentence sounded just then, with the others
    spoken, and else `completed` with the very sound of a server that nothing happened to."""
    names = [f"u{number}" for number in range(12)]
    expected: dict[str, bytes] = {}
    async with toys(VERSION, VERSION) as workers, serving_over(*workers) as (server, front):
        for is_killing in (False, True):
            async with connected(server) as client:
                for number, name in enumerate(names):
                    settings = {"encoding": "pcm_s16le", "lead_ms": None, "params": {"seed": number}}
                    await client.say("speak", id=name, text=TEXT, **settings)
                if is_killing:
                    while not client.frames():
                        await client.next()
                    await asyncio.sleep(0.1)
                    workers[0].signal(signal.SIGKILL)
                done = await told(client, len(names))
                found = sounds(client)
            if not is_killing:
                assert {one["reason"] for one in done.values()} == {"completed"}
                expected = found
        reasons = [done[name]["reason"] for name in names]
        assert set(reasons) <= {"completed", "failed"} and "completed" in reasons
        for name in names:
            if done[name]["reason"] == "completed":
                assert found[name] == expected[name]
            else:
                assert done[name]["error"]["code"] == "engine_failed" and done[name]["error"]["retryable"]
                assert done[name]["sentences"] == 3, "the rest of it was spoken elsewhere"
        assert front.health().workers.num_ready == 1
        status, _, body = await Running(server, FakeSynthesizer(), []).get("/readyz")
        assert (status, body) == (200, b"ok: of 2 workers 1 answer\n")
        _, _, body = await Running(server, FakeSynthesizer(), []).get("/v1/status", "localhost")
        described = json.loads(body)
        each = described["workers"].pop("each")
        assert described["workers"] == {"num_all": 2, "num_answering": 1, "num_ready": 1}
        assert [one["is_ready"] for one in each] == [False, True]
        assert described["state"] == "degraded" and "of 2 workers 1 can be used" in described["why"]
        lost = workers[0].address
        assert any(why.startswith(f"worker {lost}: ") and len(why) > 40 for why in described["why"])
        _, _, body = await Running(server, FakeSynthesizer(), []).get("/metrics", "localhost")
        metrics = dict(line.rsplit(" ", 1) for line in body.decode().splitlines() if not line.startswith("#"))
        for name in ("up", "ready", "losses_total"):
            told_of = [metrics[f'tts_remote_worker_{name}{{worker="{one.address}"}}'] for one in workers]
            assert told_of == (["1.0", "0.0"] if name == "losses_total" else ["0.0", "1.0"])
        asked = [metrics[f'tts_remote_worker_sentences_total{{worker="{one.address}"}}'] for one in workers]
        assert all(float(count) > 0 for count in asked)


async def test_a_worker_that_hangs_loses_its_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was making is made by another worker, and it is used again when it wakes."""
    monkeypatch.setattr(remote_worker, "TICK_S", 0.15)
    async with (
        toys(VERSION, VERSION, speed=0.5) as (one, other),
        front_end(one.address, other.address) as front,
    ):
        await until(lambda: front.health().workers.num_ready == 2)
        asked = request("No.")
        speaking = asyncio.create_task(speak(front, asked))
        await until(lambda: any(remote.num_open for remote in front.workers))
        chosen = next(index for index, remote in enumerate(front.workers) if remote.num_open)
        (one, other)[chosen].signal(signal.SIGSTOP)
        expected = await speak(FakeSynthesizer(), asked)
        assert sound(await speaking).tobytes() == sound(expected).tobytes()
        await until(lambda: front.workers[chosen].status is None)
        (one, other)[chosen].signal(signal.SIGCONT)
        await until(lambda: front.workers[chosen].status is not None)


async def test_sigterm_drains_a_worker() -> None:
    """What it speaks ends well, what comes goes elsewhere, and it exits with 0."""
    async with toys(VERSION, VERSION) as workers, serving_over(*workers) as (server, front):
        async with connected(server) as client:
            for number in range(4):
                await client.say("speak", id=f"u{number}", text=TEXT, lead_ms=None)
            while not isinstance(await client.next(), Frame):
                pass
            workers[0].signal(signal.SIGTERM)
            done = await told(client, 4)
        assert [one["reason"] for one in done.values()] == ["completed"] * 4
        assert await asyncio.wait_for(workers[0].process.wait(), 10) == 0
        assert front.health().workers.num_ready == 1


async def test_a_worker_of_another_version_is_not_used() -> None:
    """It is refused with a line, the others work, and the one that replaces it at its address is used."""
    async with toys(VERSION, "9.9.9") as (one, other), front_end(one.address, other.address) as front:
        await until(lambda: front.health().ready)
        assert "it is streamer 9.9.9" in front.workers[1].problem
        await speak(front, request())
        other.signal(signal.SIGKILL)
        await other.process.wait()
        async with toys(VERSION, port=int(other.address.rpartition(":")[2])):
            await until(lambda: front.health().workers.num_ready == 2)


async def test_a_front_end_that_is_started_again_finds_its_workers() -> None:
    """What the first one had open is cancelled when it dies, and the second one is served at once."""
    code = (
        "import asyncio, sys\n"
        "from tests.backends.workers.fleet import front_end, request, until\n"
        "async def run():\n"
        "    async with front_end(sys.argv[1]) as front:\n"
        "        await until(lambda: front.health().ready)\n"
        "        async for chunk in front.synthesize(request(utterance='a')):\n"
        "            print('sound', flush=True)\n"
        "            await asyncio.sleep(60)\n"
        "asyncio.run(run())\n"
    )
    async with toys(VERSION) as (one,):
        first = await asyncio.create_subprocess_exec(sys.executable, "-c", code, one.address, stdout=PIPE)
        assert first.stdout is not None
        assert await asyncio.wait_for(first.stdout.readline(), 20) == b"sound\n"
        first.kill()
        await first.wait()
        async with front_end(one.address) as front:
            await until(lambda: front.health().ready)
            asked = request(utterance="a")
            assert (
                sound(await speak(front, asked)).tobytes()
                == sound(await speak(FakeSynthesizer(), asked)).tobytes()
            )
