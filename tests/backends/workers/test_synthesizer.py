"""A front end over workers: any of them makes the same sound, and one that is lost is replaced before anybody hears."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace

import numpy as np
import pytest

from streamer.backends.warm_up import Speed
from streamer.backends.workers import remote_worker, synthesizer
from streamer.backends.workers.messages import WINDOW_CHUNKS
from streamer.errors import (
    EngineError,
    InternalError,
    InvalidParameterError,
    ModelNumericError,
    OverloadedError,
    StreamerError,
    TextTooLongError,
    VoiceNotFoundError,
    WorkerLostError,
)
from streamer.synthesis import Room
from tests.backends.tiny_speaker import tiny_synthesizer
from tests.backends.workers.fleet import NOT_HEARD, VERSION, front_end, request, sound, speak, until, worker
from tests.fakes.synthesizer import FakeSynthesizer, spoken_as

ROOM = Room(num_listeners=0, max_listeners=2, num_unheard=0, num_short=0, max_short=2, mean_stay_s=2.0)


async def no_warm_up(*_, **__) -> Speed:
    return Speed(0.1, 0.1)


async def test_a_sentence_sounds_as_it_does_without_the_network() -> None:
    """Chunks, their borders and the history arrive as the engine made them, bit by bit."""
    asked = replace(request(), wants_history=True)
    expected = await speak(FakeSynthesizer(), asked)
    async with worker() as one, front_end(one) as front:
        found = await speak(front, asked)
    assert len(found) == len(expected) > 3
    for chunk, other in zip(found, expected, strict=True):
        assert chunk.samples.dtype == np.float32
        assert chunk.samples.tobytes() == other.samples.tobytes()
        assert (chunk.is_last, chunk.truncated, chunk.words) == (other.is_last, other.truncated, other.words)
    assert np.array_equal(found[-1].history.fine, spoken_as(asked).fine)
    assert found[0].history is None


async def test_an_engine_says_the_same_on_whichever_worker(tmp_path, monkeypatch) -> None:
    """A tiny Bark's sound is equal byte for byte in this process, on either of two workers, chained by value, and after
    a worker was lost."""
    monkeypatch.setattr("streamer.backends.local.warm_up", no_warm_up)
    alone = tiny_synthesizer(tmp_path)
    await alone.start()
    first = replace(request("abc def", voice="one"), wants_history=True)
    expected = await speak(alone, first)
    second = replace(request("ghi", index=1, voice="two"), history=expected[-1].history, keeps_voice=True)
    chained = await speak(alone, second)
    engines = [alone, tiny_synthesizer(tmp_path)]
    for engine in engines:
        engine.num_open, engine.is_closed = 0, True
    monkeypatch.setattr(alone, "start", lambda: asyncio.sleep(0))  # it runs already
    async with worker(engines[0]) as one, worker(engines[1]) as other:
        for only in (one, other):
            async with front_end(only) as front:
                found = await speak(front, first)
                assert sound(found).tobytes() == sound(expected).tobytes()
                asked = replace(second, history=found[-1].history)
                assert sound(await speak(front, asked)).tobytes() == sound(chained).tobytes()
        async with front_end(one, other) as front:
            lost = []

            async def losing(self, _):
                lost.append(self)
                raise WorkerLostError("gone")
                yield

            whole = remote_worker.RemoteWorker.speak
            monkeypatch.setattr(remote_worker.RemoteWorker, "speak", lambda self, asked: (
                losing(self, asked) if not lost else whole(self, asked)
            ))  # fmt: skip
            assert sound(await speak(front, first)).tobytes() == sound(expected).tobytes()
            assert len(lost) == 1


async def test_the_front_end_needs_no_torch() -> None:
    """A process that serves over a worker has loaded neither torch nor the compilers of the CPU's kernels."""
    code = """
import asyncio, sys
from streamer.assembly import build_server
from streamer.config import load_config
flags = {"backend": "workers", "worker": sys.argv[1], "port": "0"}
async def run():
    server = build_server(load_config(None, {}, flags))
    server._synthesizer.version = sys.argv[2]
    await server.start()
    print(server.is_ready, server._synthesizer.count_tokens("one two"), flush=True)
    print({"torch", "numba", "llvmlite"} & set(sys.modules))
    server.stop()
    await server.run_until_stopped()
asyncio.run(run())
"""
    async with worker() as one:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, one.address, "1.2.3", stdout=subprocess.PIPE
        )
        output, _ = await process.communicate()
    assert output.decode().splitlines() == ["True 2", "set()"]


async def test_tokens_are_counted_by_the_workers_tokenizer() -> None:
    """The tokenizer came with the greeting; what it counts, the model would."""
    async with worker() as one, front_end(one) as front:
        assert [front.count_tokens(text) for text in ("", "one", "one  two", "one, two")] == [0, 1, 2, 3]


async def test_utterances_go_to_the_worker_with_the_most_room() -> None:
    """Four utterances are two for each of two workers; of one utterance what overlaps stays together."""
    async with worker() as one, worker() as other:
        fakes = one.fake, other.fake
        for fake in fakes:
            fake.stall_on = "Hello"
        async with front_end(one, other) as front, asyncio.TaskGroup() as tasks:
            for number in range(8):
                asked = request(utterance="abcd"[number // 2], index=number % 2)
                tasks.create_task(speak(front, asked))
                await until(lambda number=number: sum(fake.num_open for fake in fakes) == number + 1)
            for fake in fakes:
                fake.is_resumed.set()
        for fake in fakes:
            assert sorted(asked.sentence_index for asked in fake.requests) == [0, 0, 1, 1]
            assert len({asked.utterance_id for asked in fake.requests}) == 2


async def test_room_decides_who_is_asked() -> None:
    """A worker with listeners of other front ends is asked only once the other one has as many."""
    async with worker() as one, worker() as other:
        one.fake.room = replace(ROOM, num_listeners=1)
        other.fake.room = ROOM
        async with front_end(one, other) as front:
            assert front.health().room == replace(ROOM, num_listeners=1, max_listeners=4, max_short=4)
            await speak(front, request(utterance="a"))
            assert front.health().room.num_listeners == 2, "counted before the worker has told"
        assert (len(one.fake.requests), len(other.fake.requests)) == (0, 1)


async def test_a_worker_tells_the_room_of_the_moment_in_which_it_is_used() -> None:
    """A status is a quarter of a second old at times: until then those who have enough sound now may be short of it."""
    async with worker() as one:
        one.fake.room, one.fake.room_soon = ROOM, replace(ROOM, num_listeners=1, num_short=1)
        async with front_end(one) as front:
            assert front.health().room == one.fake.room_soon


@pytest.mark.parametrize("how", ["cut", "dies", "ends"])
async def test_a_sentence_without_sound_is_made_elsewhere(how: str) -> None:
    """However its worker is lost, the sentence comes whole and the same from another one."""
    expected = await speak(FakeSynthesizer(), request())
    async with worker() as one, worker() as other, front_end(one, other) as front:
        for stalling in (one, other):
            stalling.fake.stall_on = "Hello"
        speaking = asyncio.create_task(speak(front, request()))
        await until(lambda: one.fake.num_open or other.fake.num_open)
        lost, left = (one, other) if one.fake.num_open else (other, one)
        left.fake.stall_on = None
        if how == "cut":
            lost.cut()
        elif how == "dies":
            lost.fake.fail_on["Hello"] = EngineError("the engine failed: CUDA error")
            lost.fake.die()
        else:
            lost.server.stop()
            lost.server.stop()
        assert sound(await speaking).tobytes() == sound(expected).tobytes()
        assert len(left.fake.requests) == 1
        await until(lambda: lost.fake.num_open == 0)


async def test_a_sentence_that_was_heard_fails_and_the_next_is_made_elsewhere() -> None:
    """What was heard cannot be taken back: the error is typed and to be retried, and names no address."""
    async with worker(FakeSynthesizer(speed=2)) as one, worker() as other, front_end(one, other) as front:
        other.fake.room = replace(ROOM, num_listeners=1)
        await until(lambda: front.workers[1].status.room is not None)
        async with contextlib.aclosing(front.synthesize(request())) as chunks:
            assert (await anext(chunks)).samples.size
            one.cut()
            with pytest.raises(WorkerLostError) as failed:
                async for _ in chunks:
                    pass
        assert failed.value.retryable and failed.value.code == "engine_failed"
        assert "ws://" not in failed.value.message
        await speak(front, request(index=1))


async def test_a_sentence_ends_at_most_three_workers() -> None:
    """One that kills whatever makes it fails before it has killed the whole fleet."""
    async with contextlib.AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(worker()) for _ in range(5)]
        for one in workers:
            one.fake.fail_on["poison"] = EngineError("the engine failed")
        front = await stack.enter_async_context(front_end(*workers))
        with pytest.raises(EngineError, match="3 workers were lost") as failed:
            await speak(front, request("This is poison."))
        assert not isinstance(failed.value, WorkerLostError)  # which would have it made again
        assert sum(len(one.fake.requests) for one in workers) == synthesizer.MAX_LOSSES + 1
        assert max(len(one.fake.requests) for one in workers) == 1


async def test_a_cancel_reaches_the_worker_while_it_is_silent() -> None:
    """To close the sentence is to close its connection: the worker, which has nothing to send, cancels all the same."""
    async with worker() as one, front_end(one) as front:
        one.fake.stall_on = "Hello"
        speaking = asyncio.create_task(speak(front, request()))
        await until(lambda: one.fake.num_open)
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)
        await until(lambda: one.fake.num_open == 0)
        assert one.fake.num_cancelled == 1
        one.fake.stall_on = None
        await speak(front, request(seed=4))


async def test_a_worker_makes_only_what_is_taken() -> None:
    """A reader that pauses holds the engine: no more is pulled from it than the window allows."""
    pulled = []

    class Counting(FakeSynthesizer):
        async def _make(self, _, num_samples) -> None:
            pulled.append(num_samples)

    async with (
        worker(Counting(chunk_ms=10)) as one,
        front_end(one) as front,
        contextlib.aclosing(front.synthesize(request())) as chunks,
    ):
        for num_taken in (1, 2, 3):
            await anext(chunks)
            await until(lambda num_taken=num_taken: len(pulled) == num_taken + WINDOW_CHUNKS)
            await asyncio.sleep(0.02)
            assert len(pulled) == num_taken + WINDOW_CHUNKS


async def test_a_full_worker_is_passed_over_and_all_full_is_an_overload(monkeypatch) -> None:
    """A worker that fills up unnoticed refuses with 1013; if all do, the client is told when to come back."""
    monkeypatch.setattr(synthesizer, "PATIENCE_S", 0.05)
    async with worker() as one, worker() as other, front_end(one, other) as front:
        statuses = [replace(ROOM, mean_stay_s=0.4), ROOM]
        one.fake.room = replace(statuses[0], num_listeners=2)
        await speak(front, request())
        assert (len(one.fake.requests), len(other.fake.requests)) == (0, 1)
        other.fake.room = replace(ROOM, num_listeners=2)
        with pytest.raises(OverloadedError) as refused:
            await speak(front, request(seed=5))
        assert 0 < refused.value.retry_after_s <= 1
        await speak(front, request(index=1, seed=6))  # an utterance that has begun is not refused
        assert len(one.fake.requests) + len(other.fake.requests) == 2


async def test_a_worker_that_drains_gets_nothing_new() -> None:
    """What is open there ends well; what comes is for the others, in the same utterance, too."""
    async with worker() as one, worker() as other:
        one.fake.stall_on = "Hello"
        async with front_end(one, other) as front:
            other.fake.room = replace(ROOM, num_listeners=1)
            await until(lambda: front.workers[1].status.room is not None)
            speaking = asyncio.create_task(speak(front, request(utterance="a")))
            await until(lambda: one.fake.num_open)
            one.server.stop()
            await speak(front, request(utterance="a", index=1))
            assert len(one.fake.requests) == 1
            one.fake.is_resumed.set()
            assert (await speaking)[-1].is_last
            await until(lambda: one.fake.is_closed)
            counts = front.health().workers
            assert (counts.num_all, counts.num_ready) == (2, 1)


async def test_a_worker_that_comes_back_is_used_again() -> None:
    """Its address is asked until something answers there."""
    async with worker() as one, front_end(one) as front:
        port = one.port
        one.server.stop()
        await until(lambda: not front.health().ready)
        assert front.health().alive and "1 workers" in front.health().reason
    async with front_end(f"ws://127.0.0.1:{port}") as front:
        assert not front.health().ready
        async with worker(port=port):
            await until(lambda: front.health().ready)
            await speak(front, request())


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"version": "1.2.4"}, "it is streamer 1.2.4, protocol 2, and this front end is 1.2.3, 2"),
        ({"token": "another secret"}, "it refuses this front end: the token is not this worker's"),
        ({"fingerprint": "other"}, "its weights, tokenizer or number format differ"),
        ({"fake": FakeSynthesizer(languages=("de",))}, r"its languages is ('de',)"),
        ({"fake": FakeSynthesizer(note="slow")}, "its note is 'slow', and that of the others None"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_a_worker_that_differs_is_refused_with_a_line(options, line: str, caplog, monkeypatch) -> None:
    """It is never asked for a sentence, and the log says what to change, once."""
    fake = options.pop("fake", None) or FakeSynthesizer()
    options.setdefault("fingerprint", "toy" if fake.info == FakeSynthesizer().info else "other")
    async with worker() as one, front_end(one) as front, worker(fake, **options) as other:
        differing = remote_worker.RemoteWorker(other.address, front)
        monkeypatch.setattr(remote_worker, "RETRY_S", (0.01, 0.01))
        with caplog.at_level(logging.WARNING):
            watching = asyncio.create_task(differing.watch())
            await until(lambda: differing.problem != NOT_HEARD)
            await asyncio.sleep(0.05)  # in which it tries again
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        assert not differing.is_ready
        await differing.aclose()
        assert other.fake.requests == []
    told = [record.getMessage() for record in caplog.records if other.address in record.getMessage()]
    assert len(told) == 1 and line in told[0]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (VoiceNotFoundError("no such voice", param="voice"), VoiceNotFoundError),
        (TextTooLongError("too long", param="text"), TextTooLongError),
        (InvalidParameterError("out of range", param="params.seed"), InvalidParameterError),
        (ModelNumericError("not a number"), ModelNumericError),
        (InternalError("unexpected"), InternalError),
        (ValueError("a fault of ours"), InternalError),
    ],
)
async def test_what_is_wrong_with_a_sentence_is_told_as_it_was(error, kind: type[StreamerError]) -> None:
    """Such an error comes from the first worker that was asked, with its parameter, and the connection lives on."""
    async with worker() as one, worker() as other, front_end(one, other) as front:
        for asked in (one, other):
            asked.fake.fail_on["wrong"] = error
        with pytest.raises(kind) as failed:
            await speak(front, request("This is wrong."))
        assert type(failed.value) is kind
        assert failed.value.param == getattr(error, "param", None)
        assert len(one.fake.requests) + len(other.fake.requests) == 1
        await speak(front, request())


class Listings:
    """What a directory of workers lists: `update` is the next one, and returns once it was followed."""

    def __init__(self) -> None:
        self._next: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()
        self.is_closed = False

    async def update(self, *addresses: str) -> None:
        await self._next.put(addresses)
        await self._next.join()

    async def all(self) -> AsyncGenerator[tuple[str, ...], None]:
        try:
            while True:
                yield await self._next.get()
                self._next.task_done()
        finally:
            self.is_closed = True


@contextlib.asynccontextmanager
async def following() -> AsyncIterator[tuple[synthesizer.WorkersSynthesizer, Listings]]:
    """A front end that knows its workers by listings alone."""
    listings = Listings()
    front = synthesizer.WorkersSynthesizer(version=VERSION, listings=listings.all())
    starting = asyncio.create_task(front.start())
    try:
        await asyncio.sleep(0)
        yield front, listings
    finally:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await front.close()
    assert listings.is_closed


async def test_workers_come_and_go() -> None:
    """One that is listed is used, one that is listed no longer is forgotten once it does not answer, and one that is
    listed again is used again."""
    async with following() as (front, listings):
        assert front.health().reason == "no worker is known yet"
        with pytest.raises(OverloadedError, match="no worker has answered yet"):
            front.count_tokens("hello")
        async with worker() as one:
            await listings.update(one.address)
            await until(lambda: front.health().ready)
            async with worker() as other:
                await listings.update(other.address, one.address)
                await until(lambda: front.health().workers.num_ready == 2)
                await speak(front, request())
                await speak(front, request())
                assert [remote.num_chosen for remote in front.workers] == [1, 1]
            await until(lambda: front.health().workers.num_answering == 1)
            assert len(front.workers) == 2, "what is listed is asked again"
            await listings.update(one.address)
            assert [remote.address for remote in front.workers] == [one.address]
            async with worker(port=other.port):
                await listings.update(one.address, other.address)
                await until(lambda: front.health().workers.num_ready == 2)
        await until(lambda: front.health().workers.num_answering == 0)
        await listings.update()
        assert front.workers == ()


async def test_a_listing_that_lacks_a_worker_loses_no_sentence() -> None:
    """One that answers is used although it is not listed, because a directory that was started again knows none."""
    async with following() as (front, listings), worker() as one:
        one.fake.stall_on = "Hello"
        await listings.update(one.address)
        await until(lambda: front.health().ready)
        speaking = asyncio.create_task(speak(front, request()))
        await until(lambda: one.fake.num_open)
        for _ in range(3):
            await listings.update()
        one.fake.is_resumed.set()
        assert (await speaking)[-1].is_last
        await speak(front, request())


async def test_a_worker_that_speaks_is_not_forgotten() -> None:
    """Although its status does not arrive: what it sends may still be heard."""
    async with following() as (front, listings), worker() as one:
        one.fake.stall_on = "Hello"
        await listings.update(one.address)
        await until(lambda: front.health().ready)
        speaking = asyncio.create_task(speak(front, request()))
        await until(lambda: one.fake.num_open)
        front.workers[0].status = None
        await listings.update()
        assert len(front.workers) == 1
        one.fake.is_resumed.set()
        assert (await speaking)[-1].is_last


async def test_a_worker_that_is_another_is_asked_while_it_is_listed() -> None:
    """It stays unused, with its reason, and is forgotten with the listing that lacks it."""
    async with following() as (front, listings), worker() as one, worker(version="9.9.9") as other:
        await listings.update(one.address, other.address)
        await until(lambda: front.health().ready)
        await until(lambda: "it is streamer 9.9.9" in front.workers[1].problem)
        await listings.update(one.address, other.address)
        assert len(front.workers) == 2
        await listings.update(one.address)
        assert [remote.address for remote in front.workers] == [one.address]
