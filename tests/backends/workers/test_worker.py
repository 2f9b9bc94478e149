"""A worker without a network: what it answers to whom, whatever carries the frames."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from streamer.backends.workers import worker as worker_module
from streamer.backends.workers.messages import (
    Chunk,
    Consumed,
    Failed,
    Hello,
    Model,
    Status,
    Voices,
    Welcome,
    decode_answer,
    encode,
    speak_message,
)
from streamer.backends.workers.worker import ServedModel, Worker
from streamer.errors import CheckpointError
from streamer.synthesis import Room
from tests.backends.workers.fleet import TOKENIZER, VERSION, ChangingSynthesizer, request, until
from tests.fakes.synthesizer import FakeSynthesizer

FULL = Room(num_listeners=2, max_listeners=2, num_unheard=0, num_short=0, max_short=1, mean_stay_s=1.0)


class Pipe:
    """Implements `FrameConnection` in memory, as an adapter of another server would."""

    def __init__(self) -> None:
        self.incoming = asyncio.Queue[bytes | None]()
        self.answers = asyncio.Queue[object]()
        self.closed: tuple[int, str] | None = None

    async def receive(self) -> bytes | None:
        return None if self.closed else await self.incoming.get()

    async def send(self, frame: bytes) -> None:
        if self.closed:
            raise ConnectionError
        self.answers.put_nowait(decode_answer(frame))

    async def close(self, code: int, reason: str) -> None:
        if self.closed is None:
            self.closed = (code, reason)
            self.incoming.put_nowait(None)

    def say(self, message) -> None:
        self.incoming.put_nowait(message if isinstance(message, bytes) else encode(message))

    async def answer(self):
        async with asyncio.timeout(5):
            return await self.answers.get()


def hello(role: str = "speak", **changes) -> Hello:
    return Hello(**{"protocol": 2, "version": VERSION, "role": role} | changes)


@pytest.fixture
async def fake() -> FakeSynthesizer:
    return FakeSynthesizer()


@contextlib.asynccontextmanager
async def serving(
    fake: FakeSynthesizer, *greetings, token: str = "", is_started: bool = True
) -> AsyncIterator[tuple[Worker, list[Pipe]]]:
    """A worker with a connection for each greeting."""

    def describe() -> ServedModel:
        return ServedModel(fake.info, TOKENIZER, "toy", dict.fromkeys(fake.info.voices, b"first"))

    worker = Worker(fake, describe, version=VERSION, token=token)
    if is_started:
        await worker.start()
    pipes = [Pipe() for _ in greetings]
    tasks = [asyncio.create_task(worker.serve(pipe)) for pipe in pipes]
    try:
        for pipe, greeting in zip(pipes, greetings, strict=True):
            pipe.say(greeting)
        yield worker, pipes
    finally:
        for pipe in pipes:
            await pipe.close(1006, "")
        await asyncio.gather(*tasks)
    assert fake.num_open == worker.num_open == 0


async def test_it_says_who_it_is_and_then_how_it_is(fake: FakeSynthesizer, monkeypatch) -> None:
    """A front end that watches is told the model, unless it knows it, and then the status again and again."""
    monkeypatch.setattr(worker_module, "STATUS_INTERVAL_S", 0.01)
    fake.room = FULL
    async with serving(fake, hello("watch"), hello("watch", fingerprint="toy")) as (worker, pipes):
        for pipe in pipes:
            assert await pipe.answer() == Welcome(
                protocol=2, version=VERSION, worker_id=worker.id, fingerprint="toy"
            )
        assert isinstance(model := await pipes[0].answer(), Model) and model.info.name == "fake"
        for pipe in pipes:
            assert await pipe.answer() == Voices(
                default="tone", digests={"tone": b"first", "other": b"first"}
            )
        assert await pipes[1].answer() == Status(is_ready=True, room=FULL)
        worker.drain()
        while not (await pipes[1].answer()).is_draining:
            pass


async def test_voices_are_told_again_when_they_change(monkeypatch) -> None:
    """A worker whose voices change while it runs says so, once, and stays the same model."""
    monkeypatch.setattr(worker_module, "STATUS_INTERVAL_S", 0.01)
    fake = ChangingSynthesizer(tone=b"first")
    async with serving(fake, hello("watch", fingerprint="toy")) as (worker, (pipe,)):
        told = []
        for change in ((), ("tone", "anna"), ("anna",)):
            if change:
                fake.keep(**dict.fromkeys(change, b"first"))
                assert worker.refresh_voices() and not worker.refresh_voices()
            while not isinstance(answer := await pipe.answer(), Voices):
                pass
            told.append(answer)
            assert isinstance(await pipe.answer(), Status) and isinstance(await pipe.answer(), Status)
    assert [(list(voices.digests), voices.default) for voices in told] == [
        (["tone"], "tone"),
        (["tone", "anna"], "tone"),
        (["anna"], "anna"),
    ]


def change_files(worker: Worker) -> None:
    assert worker.refresh_voices()


def reload_files(worker: Worker) -> None:
    worker.reload_voices()


@pytest.mark.parametrize("change", [change_files, reload_files])
@pytest.mark.parametrize("num_failures", [1, 3])
@pytest.mark.parametrize(
    "error", [FileNotFoundError("vocab.txt"), PermissionError("model"), CheckpointError("no tokenizer")]
)
async def test_a_change_of_voices_is_told_although_the_model_could_not_be_described(
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Worker], None],
    num_failures: int,
    error: Exception,
) -> None:
    """The model's files may be in the middle of a replacement: later looks make up for it, and then are quiet."""
    monkeypatch.setattr(worker_module, "STATUS_INTERVAL_S", 0.01)
    fake = ChangingSynthesizer(tone=b"first")
    async with serving(fake, hello("watch", fingerprint="toy")) as (worker, (pipe,)):
        describe = worker._describe

        def fail() -> ServedModel:
            raise error

        monkeypatch.setattr(worker, "_describe", fail)
        fake.keep(tone=b"first", anna=b"first")
        with pytest.raises(type(error)):
            change(worker)
        for _ in range(num_failures - 1):
            with pytest.raises(type(error)):
                worker.refresh_voices()
        monkeypatch.setattr(worker, "_describe", describe)
        assert worker.refresh_voices() and not worker.refresh_voices()
        while not isinstance(answer := await pipe.answer(), Voices) or len(answer.digests) == 1:
            pass
        assert list(answer.digests) == ["tone", "anna"]


@pytest.mark.parametrize(
    ("greeting", "code", "reason"),
    [
        (hello(), 4401, "the token is not this worker's"),
        (hello(token="secret of another"), 4401, "the token is not this worker's"),
        (hello(token="the secret", protocol=1), 4400, f"this worker ({VERSION}) speaks protocol 2, not 1"),
        (Consumed(), 4400, "the first message must be hello"),
        (speak_message(request()), 4400, "the first message must be hello"),
        (b"\x00", 4400, "this is no message of protocol 2"),
        (msgspec.msgpack.encode({"type": "hello"}), 4400, "this is no message of protocol 2"),
        (encode(hello(token="the secret", role="listen")), 4400, "this is no message of protocol 2"),
    ],
)  # fmt: skip
async def test_whoever_does_not_belong_here_is_closed_with_the_reason(
    fake: FakeSynthesizer, greeting, code: int, reason: str
) -> None:
    """Nothing of the model is told before the token was seen."""
    async with serving(fake, greeting, token="the secret") as (_, (pipe,)):
        await until(lambda: pipe.closed)
        assert pipe.closed[0] == code and pipe.closed[1].startswith(reason)
        assert pipe.answers.empty()


async def test_whoever_says_nothing_is_closed(fake: FakeSynthesizer, monkeypatch) -> None:
    """A connection costs something only for a moment."""
    monkeypatch.setattr(worker_module, "HELLO_TIMEOUT_S", 0.01)
    async with serving(fake) as (worker, _):
        pipe = Pipe()
        await worker.serve(pipe)
        assert pipe.closed is not None and pipe.closed[0] == 4400


async def test_a_model_that_is_being_read_is_no_failure(fake: FakeSynthesizer) -> None:
    """The front end is told to come back."""
    async with serving(fake, hello("watch"), is_started=False) as (_, (pipe,)):
        await until(lambda: pipe.closed)
        assert pipe.closed == (1013, "retry_after_s=0.500")


async def test_sentences_come_one_after_the_other(fake: FakeSynthesizer) -> None:
    """The next one may be asked for as soon as the last chunk is there; a failure is no end of the connection."""
    async with serving(fake, hello()) as (_, (pipe,)):
        await pipe.answer()
        for text in ("One.", "This is wrong.", "Two."):
            fake.fail_on["wrong"] = ValueError("a fault of ours")
            pipe.say(speak_message(request(text)))
            while isinstance(answer := await pipe.answer(), Chunk) and not answer.is_last:
                pipe.say(Consumed())
            assert isinstance(answer, Failed) == ("wrong" in text)
        assert pipe.closed is None


@pytest.mark.parametrize(
    "message",
    [
        speak_message(request(seed=8)),
        Consumed(),
        hello(),
        b"",
        b"\xc1 garbage",
        encode(Status(is_ready=True)),
    ],
    ids=["a second sentence", "consumed", "hello", "nothing", "garbage", "a worker's"],
)
async def test_a_front_end_that_breaks_the_protocol_is_closed(fake: FakeSynthesizer, message) -> None:
    """What is open is cancelled, and the reason says that the message did not fit."""
    fake.stall_on = "Hello"
    async with serving(fake, hello()) as (_, (pipe,)):
        pipe.say(speak_message(request()))
        await until(lambda: fake.num_open)
        pipe.say(message)
        await until(lambda: pipe.closed)
        assert pipe.closed[0] == 4400 and pipe.closed[1]


async def test_a_close_is_the_cancel(fake: FakeSynthesizer) -> None:
    """It is seen at once by a sentence that waits for its engine, and by one that waits for its reader."""
    fake.stall_on = "stalls"
    for text in ("This stalls.", "This is not taken by anybody at all."):
        async with serving(fake, hello()) as (worker, (pipe,)):
            pipe.say(speak_message(request(text)))
            await until(lambda worker=worker: worker.num_open)
            await asyncio.sleep(0.02)
            await pipe.close(1000, "")
            await asyncio.wait_for(worker.finished(), 1)
    assert fake.num_cancelled == 2


async def test_a_full_worker_accepts_and_closes(fake: FakeSynthesizer) -> None:
    """A new utterance is refused with 1013 and a time; one that has begun, or is preferred, is not."""
    fake.room = FULL
    later, preferred = request(index=1), msgspec.structs.replace(speak_message(request()), is_preferred=True)
    async with serving(fake, hello(), hello(), hello()) as (_, pipes):
        for pipe, asked in zip(
            pipes, (speak_message(request()), speak_message(later), preferred), strict=True
        ):
            assert isinstance(await pipe.answer(), Welcome)
            pipe.say(asked)
        await until(lambda: pipes[0].closed)
        assert pipes[0].closed == (1013, "retry_after_s=0.500")
        assert isinstance(await pipes[1].answer(), Chunk) and isinstance(await pipes[2].answer(), Chunk)


async def test_a_worker_that_drains_finishes_and_takes_nothing_new(fake: FakeSynthesizer) -> None:
    """Later sentences of utterances are refused, too: another worker makes the same sound of them."""
    async with serving(fake, hello(), hello()) as (worker, (one, other)):
        one.say(speak_message(request(utterance="a")))
        await one.answer()
        await one.answer()
        worker.drain()
        other.say(speak_message(request(utterance="a", index=1)))
        await until(lambda: other.closed)
        assert other.closed[0] == 1013
        while not (await one.answer()).is_last:
            one.say(Consumed())
        await asyncio.wait_for(worker.finished(), 1)


async def test_a_sentence_that_is_asked_for_again_replaces_the_first(fake: FakeSynthesizer) -> None:
    """A front end that lost its connection may be back before the worker has noticed."""
    fake.stall_on = "Hello"
    async with serving(fake, hello(), hello()) as (worker, (one, other)):
        one.say(speak_message(request(utterance="a")))
        await until(lambda: fake.num_open == 1)
        fake.stall_on = None
        other.say(speak_message(request(utterance="a")))
        await other.answer()
        assert isinstance(await other.answer(), Chunk)
        assert fake.num_cancelled == 1 and worker.num_open == 1
