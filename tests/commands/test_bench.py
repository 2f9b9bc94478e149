"""`streamer bench`: it measures a server over real sockets, and says clearly why it cannot."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from streamer.commands.bench import Plan, bench, run
from streamer.loadtest import load
from streamer.loadtest.client import PROTOCOL, BenchError
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import configured, running


async def test_a_search_gives_a_bad_rate_up_early_and_tells_each_step() -> None:
    """A rate at which all clients are refused ends before all its utterances."""
    steps: list[int] = []
    async with running(
        configured(max_starts_per_s=1, max_start_wait_s=0.0), FakeSynthesizer(speed=20.0)
    ) as server:
        plan = Plan(url=server.address, rate=32, search=True, seconds=1, utterances=400, warm_up=0.2)
        async with asyncio.timeout(40):
            result = await run(plan, lambda result: steps.append(len(result["rows"])))
    assert steps == [1, 2, 3, 4]
    assert all(row["is_cut_short"] and row["num_utterances"] < 100 for row in result["rows"])
    assert result["capacity_hz"] == 0 and result["is_complete"]


async def test_a_running_server_is_measured() -> None:
    """All clients are served over real sockets, and the figures are in the result."""
    async with running(configured(), FakeSynthesizer(speed=20.0)) as server:
        result = await run(Plan(url=server.address, rate=6, seconds=1, utterances=2, warm_up=0.2))
    (row,) = result["rows"]
    assert row["served_share"] == 1
    assert row["num_utterances"] >= 1
    assert 0 < row["audible_p50_ms"] < 5000
    assert {"cpu", "cores", "version", "commit"} <= result.keys()
    json.dumps(result, allow_nan=False)


async def test_a_server_that_never_answers_does_not_hold_the_test_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Utterances that have not ended by the timeout are unfinished, and count as failed."""
    monkeypatch.setattr(load, "DRAIN_TIMEOUT_S", 0.5)
    fake = FakeSynthesizer()
    fake.stall_on = "a"
    async with running(configured(), fake) as server, asyncio.timeout(15):
        result = await run(Plan(url=server.address, rate=6, seconds=1, utterances=2, warm_up=0.2))
    assert result["rows"][0]["failed_share"] > 0


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (Plan(url="http://localhost:1/"), "give ws://host:port"),
        (Plan(url="ws://127.0.0.1:1/v1/stream"), "cannot be reached"),
        (Plan(url="ws://[::1/v1/stream"), "give ws://host:port"),
        (Plan(url="ws://localhost:99999/v1/stream"), "give ws://host:port"),
        (Plan(url="ws://localhost:abc/v1/stream"), "give ws://host:port"),
        (Plan(url="ws://localhost:1/v1/stream?framing=bare"), "leave out `framing`"),
        (Plan(url="ws://x/", seed=-1), "--seed -1: it must be from 0"),
        (Plan(url="ws://x/", rate=float("nan")), "--rate nan: it must be from 0.01"),
        (Plan(url="ws://x/", seconds=1e9), r"--seconds 1e\+09: it must be from 1 to 3600"),
        (Plan(url="ws://x/", utterances=0), "--utterances 0: it must be from 1"),
        (Plan(url="ws://x/", warm_up=float("inf")), "--warm-up inf: it must be from 0 to 600"),
        (Plan(url="ws://x/", encoding="mp3"), "--encoding 'mp3': use one of opus, pcm_s16le"),
    ],
)
async def test_what_cannot_be_measured_is_said(plan: Plan, message: str) -> None:
    """There is one clear error that names the value."""
    with pytest.raises(BenchError, match=message):
        await run(plan)


def test_texts_and_output_are_looked_at_before_the_work(tmp_path: Path) -> None:
    """An empty file of texts, a missing folder and a file with two keys are refused at once."""
    (tmp_path / "texts").write_text("\n\n")
    with pytest.raises(BenchError, match="one text per line"):
        Plan(url="ws://x/", texts=tmp_path / "texts").read_texts()
    for output in (tmp_path / "missing" / "out.json", tmp_path):
        with pytest.raises(BenchError, match="no file can be written"):
            bench(Plan(url="ws://x/"), output)
    (tmp_path / "keys").write_text("secret-a\nsecret-b\n")
    with pytest.raises(BenchError, match="one key and nothing else") as raised:
        Plan(url="ws://x/", api_key_file=tmp_path / "keys").target()
    assert "secret" not in raised.value.message


@pytest.mark.parametrize(
    "answer",
    ["not JSON", "[]", '{"type": "done"}', '{"type": "error"}', '{"type": "done", "reason": "completed"}'],
)
async def test_a_server_that_answers_nonsense_fails_its_utterances_and_not_the_test(answer: str) -> None:
    """Whatever comes back counts as failed, with a reason, and the run continues to its end."""

    async def serve_nonsense(connection: ServerConnection) -> None:
        await connection.send(json.dumps({"type": "session", "protocol": PROTOCOL}))
        async for _ in connection:
            await connection.send(b"\1\0\0\1" + bytes(8) + b"no opus")
            await connection.send(answer)

    async with serve(serve_nonsense, "127.0.0.1", 0, subprotocols=[Subprotocol(PROTOCOL)]) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        plan = Plan(url=f"ws://127.0.0.1:{port}/", rate=6, seconds=1, utterances=2, warm_up=0)
        (row,) = (await run(plan))["rows"]
    assert row["failed_share"] == 1 and row["reasons"]
