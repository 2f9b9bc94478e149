"""What clients hear of a fault in the engine, what others hear, and what the server says of itself, end to end."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from websockets.exceptions import ConnectionClosed

from streamer.backends import local
from streamer.models.gpt import CausalGpt
from streamer.server import app, status
from tests.fakes.speaking_model import save_speaking_model
from tests.faults.conversations import CONVERSATIONS, told
from tests.faults.faulty_engine import Engines, Works
from tests.server.speaking import Client, Running, eventually, figure

TEXT = "Bad bead."
OTHER = "A deaf ham."
AT_ONCE = 3
"""How many conversations a slow machine can have within the time that their clients have patience."""
STAGES = ("semantic", "coarse", "fine", "codec")


@pytest.fixture(scope="module")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = save_speaking_model(tmp_path_factory.mktemp("model"))
    shutil.copy(
        directory / "voices" / "one.npz", directory / "voices" / "tone.npz"
    )  # which conversations ask for
    return directory


@pytest.fixture(params=[False, True], ids=["one-thread", "two-threads"])
def engines(
    model_directory: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Engines:
    return Engines(model_directory, monkeypatch, has_two_threads=request.param)


async def spoken(client: Client, name: str, text: str = TEXT, seed: int = 1) -> tuple[dict[str, Any], bytes]:
    """Have a text spoken; returns `done` and the sound."""
    await client.say("speak", id=name, text=text, params={"seed": seed})
    done = await client.until("done", id=name)
    (started,) = (message for message in client.messages("started") if message["id"] == name)
    return done, b"".join(frame.payload for frame in client.frames(started["stream"]))


async def is_step_slow(server: Running) -> bool:
    """Whether `/v1/status` complains of a step that takes long."""
    told = json.loads((await server.get("/v1/status"))[2])
    is_told = any("a step of the engine has taken" in reason for reason in told["why"])
    assert told["state"] == "degraded" or not is_told
    return is_told


class Gate:
    """Holds the engine in a step until it is opened."""

    def __init__(self) -> None:
        self.is_reached, self.is_open = threading.Event(), threading.Event()

    def __call__(self, _works: Works) -> None:
        self.is_reached.set()
        self.is_open.wait(20)


async def _closed(client: Client) -> int | None:
    """Read to the end of the connection; returns the code of its close."""
    with pytest.raises(ConnectionClosed):
        while True:
            await client.next()
    return client.connection.close_code


def explode(error: BaseException) -> Any:
    def strike(_works: Works) -> None:
        raise error

    return strike


@pytest.mark.parametrize(
    ("stage", "error"),
    [
        ("semantic", RuntimeError("CUDA error: device-side assert")),
        ("coarse", ValueError("a shape")),
        ("codec", AssertionError()),
        ("fine", SystemExit(3)),
        ("semantic", KeyboardInterrupt()),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
async def test_an_engine_that_fails_tells_everybody_once_and_ends_the_server(
    stage: str, error: BaseException, engines: Engines
) -> None:
    """Those who speak and those who wait have one `done failed`, sessions end with 1011, and the run raises."""
    async with engines.running(may_log_failures=True, num_slots=2) as server:
        async with server.client() as speaking, server.client() as idle:
            gate = Gate()
            engines.stages[stage].strike = gate
            for number in range(4):
                await speaking.say("speak", id=f"{number}", text=TEXT)
            await speaking.say("start", id="unwritten")
            await eventually(gate.is_reached.is_set)
            engines.stages[stage].strike = explode(error)
            gate.is_open.set()
            assert await _closed(speaking) == await _closed(idle) == 1011
            ends = {done["id"]: done["error"]["code"] for done in speaking.messages("done")}
            assert ends == dict.fromkeys(("0", "1", "2", "3", "unwritten"), "engine_failed")
            assert len(speaking.messages("done")) == 5
            assert [told["code"] for told in idle.messages("error")] == ["engine_failed"]
        await eventually(lambda: server.failures)
        assert type(error).__name__ in server.failures[0].message
        assert server.server.status.state()[0] == "failed"


async def test_no_protocol_leaves_a_client_without_an_answer_when_the_engine_fails(engines: Engines) -> None:
    """Each hears of it at once, by whatever its protocol has for that."""
    async with engines.running(may_log_failures=True) as server, asyncio.TaskGroup() as clients:
        gate = Gate()
        engines.stages["semantic"].strike = gate
        talks = {converse.__name__: clients.create_task(told(converse, server)) for converse in CONVERSATIONS}
        await eventually(lambda: figure(server.server, "tts_requests_running") == len(CONVERSATIONS))
        engines.stages["semantic"].strike = explode(RuntimeError("device-side assert"))
        gate.is_open.set()
        got = {name: await talk for name, talk in talks.items()}
        heard = {name: isinstance(answer, Exception) for name, answer in got.items()}
        assert heard == dict.fromkeys(talks, True)
        assert not [name for name, answer in got.items() if isinstance(answer, TimeoutError)]
        await eventually(
            lambda: figure(server.server, "tts_requests_total", outcome="error") == len(CONVERSATIONS)
        )


@pytest.mark.parametrize(
    ("stage", "error"),
    [
        ("semantic", torch.OutOfMemoryError("CUDA out of memory")),
        ("coarse", RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")),
        ("fine", MemoryError()),
        ("codec", torch.OutOfMemoryError("CUDA out of memory")),
    ],
    ids=STAGES,
)
async def test_memory_that_runs_out_fails_one_batch_alone(
    stage: str, error: BaseException, engines: Engines
) -> None:
    """Its utterance may be tried again, others sound as ever, and the server stays ready."""
    async with (
        engines.running(may_log_failures=True) as server,
        server.client("?encoding=pcm_s16le") as client,
    ):
        expected = await spoken(client, "alone")

        def run_out(_works: Works) -> None:
            engines.stages[stage].strike = lambda _works: None
            raise error

        engines.stages[stage].strike = run_out
        done, _ = await spoken(client, "unlucky")
        assert (done["reason"], done["error"]["code"], done["error"]["retryable"]) == (
            "failed",
            "engine_failed",
            True,
        )
        assert "out of memory" in done["error"]["message"]
        assert (await spoken(client, "again"))[1] == expected[1]
        assert server.server.status.failure is None and (await server.get("/readyz"))[0] == 200


@pytest.mark.parametrize("stage", ["semantic", "codec"])
async def test_an_engine_that_hangs_is_given_up(
    stage: str, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First the status says so, then everybody has their end, and the server its own."""
    monkeypatch.setattr(local, "SLOWEST_STEPS_TO_HANG", 0)
    monkeypatch.setattr(app, "LAST_WORDS_S", 0.2)  # the engine's thread hangs still
    monkeypatch.setattr(status, "SLOW_STEP_S", 0.05)
    gate = Gate()
    async with engines.running(may_log_failures=True, hang_limit_s=0.7) as server:
        engines.stages[stage].strike = gate
        async with server.client() as client:
            for name in ("running", "beside"):
                await client.say("speak", id=name, text=TEXT)
            await eventually(gate.is_reached.is_set)
            while not await is_step_slow(server):
                pass
            assert (await server.get("/livez"))[0] == (await server.get("/readyz"))[0] == 200
            assert await _closed(client) == 1011
            assert [done["error"]["code"] for done in client.messages("done")] == ["engine_failed"] * 2
            assert {done["id"] for done in client.messages("done")} == {"running", "beside"}
        await eventually(lambda: server.failures)
        assert "hangs" in server.failures[0].message
        gate.is_open.set()


@pytest.mark.parametrize("stage", ["coarse", "fine"])
async def test_a_step_that_is_slow_changes_nothing(
    stage: str, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it lasts the status says so; the sound is the same, and then all is as before."""
    monkeypatch.setattr(status, "SLOW_STEP_S", 0.05)
    async with engines.running() as server, server.client("?encoding=pcm_s16le") as client:
        expected = await spoken(client, "alone")
        gate = Gate()
        engines.stages[stage].strike = gate
        speaking = asyncio.create_task(spoken(client, "slow"))
        await eventually(gate.is_reached.is_set)
        while not await is_step_slow(server):
            pass
        gate.is_open.set()
        engines.stages[stage].strike = lambda _works: time.sleep(0.002)
        assert (await speaking)[1] == expected[1]
        while await is_step_slow(server):  # of what the engine has still to do for nobody
            pass


@pytest.mark.parametrize("stage", STAGES)
async def test_a_value_that_is_no_number_ends_one_sentence_alone(
    stage: str, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two that are spoken together fails with its own code, and the other one is what it is alone."""
    async with (
        engines.running(may_log_failures=True) as server,
        server.client("?encoding=pcm_s16le") as client,
        server.client("?encoding=pcm_s16le") as other,
    ):
        alone = {text: (await spoken(client, f"alone {text}", text))[1] for text in (TEXT, OTHER)}
        _poison(engines, stage, monkeypatch)
        got = await asyncio.gather(spoken(client, "a", TEXT), spoken(other, "b", OTHER))
        failed = [done for done, _ in got if done["reason"] == "failed"]
        assert [done["error"]["code"] for done in failed] == ["model_numeric"]
        for (done, sound), text in zip(got, (TEXT, OTHER), strict=True):
            assert done["reason"] == "failed" or sound == alone[text]
        assert (await spoken(client, "again"))[1] == alone[TEXT]
        assert figure(server.server, "tts_errors_total", code="model_numeric") == 1


def _poison(engines: Engines, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the first row of one result of a stage NaN, in a batch of two where the stage has batches."""
    method, num_rows = {"fine": ("forward", 1), "codec": ("decode_chunk", 1)}.get(stage, ("decode", 2))
    network = engines.stages[stage].model
    owner = network if isinstance(network, CausalGpt) else type(network)
    original, is_spoiled = getattr(owner, method), []

    def spoil(*arguments: Any, **options: Any) -> Any:
        result = original(*arguments, **options)
        if len(result) >= num_rows and not is_spoiled:
            is_spoiled.append(True)
            result = result.clone()
            result[0] = torch.nan
        return result

    monkeypatch.setattr(owner, method, spoil)


async def test_a_model_that_never_ends_a_sentence_ends_all_the_same(engines: Engines) -> None:
    """This one does not: its two sentences are cut at 0.4 s each, and every client has its end."""
    async with engines.running() as server:
        sounds = []
        for first in range(0, len(CONVERSATIONS), AT_ONCE):
            sounds += await asyncio.gather(*(talk(server) for talk in CONVERSATIONS[first : first + AT_ONCE]))
        for converse, sound in zip(CONVERSATIONS, sounds, strict=True):
            length_s = len(sound) / (8_000 if converse.__name__ == "telephony" else 48_000)
            assert 0.5 < length_s < 1.5, converse.__name__
        await eventually(
            lambda: figure(server.server, "tts_requests_total", outcome="truncated") == len(CONVERSATIONS)
        )
