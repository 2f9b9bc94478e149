"""The invariants of every end-to-end test notice what they are there for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator

import pytest

from streamer.server.admission import Permit
from streamer.server.http import Exchange
from streamer.server.speaker import Speaker
from streamer.server.wire import Outcome
from streamer.speech.events import Queued
from tests.server import invariants
from tests.server.speaking import eventually, running


@contextlib.asynccontextmanager
async def _one_utterance() -> AsyncIterator[None]:
    async with running() as server, server.client() as client:
        await client.say("speak", id="a", text="Hello there.")
        await client.until("done")
        yield


async def test_a_permit_that_is_kept_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held for a client that is gone is named."""
    monkeypatch.setattr(invariants, "SETTLE_POLLS", 20)
    monkeypatch.setattr(Permit, "release", lambda _permit: None)
    with pytest.raises(ExceptionGroup) as broken:
        async with _one_utterance():
            pass
    assert "{'open utterances': 1}" in str(broken.value.exceptions[0])


async def test_an_end_that_comes_twice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly one end is told of each utterance."""
    make_outcome = Speaker._outcome

    def end_before(self: Speaker) -> Outcome:
        outcome = make_outcome(self)
        self._wire.done(self.utterance, outcome)
        return outcome

    monkeypatch.setattr(Speaker, "_outcome", end_before)
    with pytest.raises(AssertionError, match="an end that is not one"):
        async with _one_utterance():
            pass


async def test_what_comes_behind_the_end_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end is the last that is told."""
    leave = Speaker._leave

    def tell_more(self: Speaker, label: str) -> None:
        self._wire.event(self.utterance, Queued(1))
        leave(self, label)

    monkeypatch.setattr(Speaker, "_leave", tell_more)
    with pytest.raises(AssertionError, match="an end that is not one"):
        async with _one_utterance():
            pass


@pytest.mark.parametrize("number", [0, 2])
async def test_a_figure_that_does_not_add_up_is_noticed(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every utterance that was begun is counted once, by how it ended."""
    leave = Speaker._leave

    def count(self: Speaker, label: str) -> None:
        for _ in range(number):
            leave(self, label)
        self._permit.release()

    monkeypatch.setattr(Speaker, "_leave", count)
    with pytest.raises(AssertionError, match="1 were begun"):
        async with _one_utterance():
            pass


async def test_a_request_without_a_whole_answer_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one that was given no answer, nor one whose answer has no end."""

    async def do_nothing(_exchange: Exchange) -> None:
        pass

    monkeypatch.setattr(Exchange, "end", do_nothing)
    for path in ("/livez", "/silent"):
        with pytest.raises(AssertionError, match="without a whole answer"):
            async with running() as server, server.line() as (_, writer):
                server.server.routes.add("GET", "/silent", do_nothing)
                writer.write(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
                await eventually(lambda server=server: server.server.num_connections == 0)


async def test_a_blocked_loop_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the CPU time of one turn, so that a machine that is busy with others breaks no test."""
    monkeypatch.setattr(invariants, "BLOCKED_CPU_S", 0.3)
    with pytest.raises(AssertionError, match="was blocked"):
        async with running():
            await asyncio.sleep(0.1)
            began_s = time.thread_time()
            while time.thread_time() < began_s + 0.35:
                pass
            await asyncio.sleep(0.1)


async def test_writing_to_a_closed_connection_is_noticed() -> None:
    """asyncio warns of it, once for each write."""
    with pytest.raises(AssertionError, match="raised exception"):
        async with running():
            logging.getLogger("asyncio").warning("socket.send() raised exception.")


async def test_a_task_that_is_left_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever began it."""
    monkeypatch.setattr(invariants, "LAST_TASKS_S", 0.05)
    with pytest.raises(AssertionError, match="tasks are left"):
        async with _one_utterance():
            forgotten = asyncio.create_task(asyncio.sleep(60))
    forgotten.cancel()


async def test_a_failure_that_nobody_hears_of_is_noticed() -> None:
    """That of a task whose result nobody took, and what was logged with a traceback."""

    async def fail() -> None:
        raise RuntimeError("unheard")

    with pytest.raises(AssertionError, match="never retrieved"):
        async with _one_utterance():
            task = asyncio.create_task(fail())
            await asyncio.wait([task])
            cycle = [task]
            cycle.append(cycle)  # type: ignore[arg-type]
            del task, cycle
    with pytest.raises(AssertionError, match="odd"):
        async with _one_utterance():
            try:
                raise RuntimeError("odd")
            except RuntimeError:
                logging.getLogger("streamer.server").exception("an unexpected error")
    async with running(may_log_failures=True):
        logging.getLogger("asyncio").error("odd")
