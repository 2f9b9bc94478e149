"""A front end offers the voices of its workers, follows them while they change, and sends each sentence where its voice
is."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from streamer.backends.workers import worker as worker_module
from streamer.backends.workers.connection import ConnectionPool
from streamer.backends.workers.messages import Status, Voices
from streamer.backends.workers.remote_worker import RemoteWorker
from streamer.backends.workers.synthesizer import WorkersSynthesizer
from streamer.backends.workers.voice_lists import SharedVoices
from streamer.errors import VoiceNotFoundError
from tests.backends.workers.fleet import (
    VERSION,
    ChangingSynthesizer,
    RunningWorker,
    front_end,
    request,
    speak,
    until,
    worker,
)

FIRST, SECOND = b"first", b"second"


@pytest.fixture(autouse=True)
def _quick_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "STATUS_INTERVAL_S", 0.01)


def change(one: RunningWorker, **versions: bytes) -> None:
    """Change a worker's voices as its files would."""
    assert isinstance(one.fake, ChangingSynthesizer)
    one.fake.keep(**versions)
    assert one.server.worker.refresh_voices()


async def test_a_voice_that_is_added_or_removed_is_learned_while_both_run(caplog) -> None:
    """The worker stays in use, clients see the new list, the log says what changed, and the server is told of it."""
    async with worker(ChangingSynthesizer(tone=FIRST)) as one, front_end(one) as front:
        assert front.info.voices == ("tone",) and not front.refresh_voices()
        with caplog.at_level(logging.INFO):
            change(one, tone=FIRST, anna=FIRST)
            await until(lambda: front.info.voices == ("tone", "anna"))
        assert front.refresh_voices() and not front.refresh_voices()
        await speak(front, request(voice="anna"))
        change(one, anna=SECOND)
        await until(lambda: front.info.voices == ("anna",))
        assert front.info.default_voice == "anna"
        with pytest.raises(VoiceNotFoundError):
            await speak(front, request(voice="tone"))
        assert front.workers[0].is_ready and front.health().workers.each[0].num_losses == 0
    told = [
        record for record in caplog.records if "voices of the workers have changed" in record.getMessage()
    ]
    assert [record.added for record in told] == ["anna"]


async def test_a_worker_that_comes_back_with_other_voices_is_used() -> None:
    """It was started again after `voices add`: the front end learns the list instead of refusing the worker."""
    async with front_end("ws://127.0.0.1:1") as front:
        async with worker(ChangingSynthesizer(tone=FIRST)) as one:
            front.workers[0].address = one.address
            await until(lambda: front.health().ready)
        await until(lambda: not front.health().ready)
        assert front.info.voices == ("tone",), "they stay while nobody answers"
        async with worker(ChangingSynthesizer(tone=FIRST, anna=FIRST), port=one.port):
            await until(lambda: front.health().ready)
            assert front.info.voices == ("tone", "anna")
            await speak(front, request(voice="anna"))


async def test_a_sentence_goes_where_its_voice_is() -> None:
    """A voice that only one worker has is offered, and never asked of the other, however much room that one has."""
    both, fakes = (
        {"tone": FIRST},
        (ChangingSynthesizer(tone=FIRST), ChangingSynthesizer(tone=FIRST, anna=FIRST)),
    )
    async with worker(fakes[0]) as one, worker(fakes[1]) as other, front_end(one, other) as front:
        assert front.info.voices == ("tone", "anna")
        async with asyncio.TaskGroup() as tasks:
            for seed in range(4):
                tasks.create_task(speak(front, request(seed=seed, voice="anna", utterance=f"a{seed}")))
        assert (len(one.fake.requests), len(other.fake.requests)) == (0, 4)
        change(one, **both, anna=FIRST)
        await until(lambda: front.workers[0].voices.get("anna") == FIRST)
        await speak(front, request(voice="anna"))
        assert len(one.fake.requests) == 1, "which was asked less often"


async def test_a_voice_of_a_lost_worker_is_offered_no_longer() -> None:
    """What nobody who answers has is refused at once, not waited for."""
    async with (
        worker(ChangingSynthesizer(tone=FIRST)) as one,
        worker(ChangingSynthesizer(tone=FIRST, anna=FIRST)) as other,
        front_end(one, other) as front,
    ):
        other.server.stop()
        await until(lambda: front.info.voices == ("tone",))
        with pytest.raises(VoiceNotFoundError):
            await speak(front, request(voice="anna"))


@pytest.mark.parametrize(
    "versions",
    [
        [{"anna": FIRST}],
        [{"anna": FIRST}, {"anna": FIRST, "berta": FIRST}],
        [{"anna": FIRST}, {"berta": FIRST}],
        [{"anna": FIRST}, {"tone": SECOND, "anna": FIRST}, {"anna": FIRST}],
    ],
)
async def test_the_default_voice_is_back_with_its_file(
    monkeypatch: pytest.MonkeyPatch, versions: list[dict[str, bytes]]
) -> None:
    """While it is missing another one stands in for it, however often the list changes meanwhile."""
    monkeypatch.setattr(ConnectionPool, "fill", lambda _pool: None)
    async with worker() as known, front_end(known) as front:
        info = replace(front.info, voices=(), default_voice="")
    front = WorkersSynthesizer(["ws://a:1"], version=VERSION)
    front._info = info
    (one,) = front.workers
    one._note(Status(is_ready=True))
    for digests in ({"anna": FIRST, "tone": FIRST}, *versions, {"anna": FIRST, "tone": SECOND}):
        default = "tone" if "tone" in digests else next(iter(digests))
        one._note(Voices(default=default, digests=digests))
        assert front.info.default_voice == default and default in front.info.voices
    one._note(Voices(default="anna", digests={"anna": SECOND, "tone": SECOND}))
    assert front.info.default_voice == "tone", "a worker that tells another one changes it for nobody"


READY, STARTING = Status(is_ready=True), Status(is_ready=False)
DRAINING, HALTED = Status(is_ready=True, is_draining=True), Status(is_ready=False, is_draining=True)


@pytest.mark.parametrize("unready", [STARTING, DRAINING, HALTED])
@pytest.mark.parametrize(
    ("voices", "others", "offered"),
    [
        ({"tone": SECOND}, {"tone": FIRST}, {"tone": SECOND}),  # replaced on one worker after the other
        ({"tone": FIRST}, {"tone": FIRST, "anna": FIRST}, {"tone": FIRST}),  # which no worker can speak now
        ({"anna": FIRST}, {"tone": FIRST}, {"anna": FIRST}),
        ({"tone": FIRST}, {"tone": SECOND}, {"tone": FIRST}),
        ({"tone": FIRST}, {"tone": FIRST}, {"tone": FIRST}),
    ],
)
async def test_the_voices_are_those_of_the_workers_that_are_ready(
    monkeypatch: pytest.MonkeyPatch,
    unready: Status,
    voices: dict[str, bytes],
    others: dict[str, bytes],
    offered: dict[str, bytes],
) -> None:
    """Each voice that is offered finds a worker at once, also while another worker stops or starts."""
    monkeypatch.setattr(ConnectionPool, "fill", lambda _pool: None)
    async with worker() as known, front_end(known) as front:
        info = front.info
    front = WorkersSynthesizer(["ws://a:1", "ws://b:1"], version=VERSION)
    front._info = info
    one, other = front.workers
    for each, digests in ((other, others), (one, voices)):
        each._note(Voices(default=next(iter(digests)), digests=digests))
        each._note(READY)
    other._note(unready)
    assert front._voices.digests == offered and front.info.voices == tuple(offered)
    for name in offered:
        assert await front._next_worker(request(voice=name), (), 0.0) is one
    one._note(unready)
    assert set(front.info.voices) == {*voices, *others}, "while none is ready, all that answer count"
    other._note(READY)
    assert front._voices.digests == others, "it is ready again"


class Worker:
    def __init__(self, address: str, **voices: bytes) -> None:
        self.address = address
        self.voices = voices


def test_a_voice_that_is_replaced_stays_until_no_worker_has_it(caplog) -> None:
    """During the change clients hear one voice under its name, and the log names the worker that is not asked."""
    voices = SharedVoices()
    assert voices.merge([Worker("a", anna=FIRST), Worker("b", anna=FIRST)])
    with caplog.at_level(logging.INFO):
        assert not voices.merge([Worker("a", anna=SECOND), Worker("b", anna=FIRST)])
        assert not voices.merge([Worker("a", anna=SECOND), Worker("b", anna=FIRST)])
        assert voices.digests == {"anna": FIRST}
        assert voices.merge([Worker("a", anna=SECOND), Worker("b", anna=SECOND)])
    assert voices.digests == {"anna": SECOND}
    lines = [
        (record.levelname, getattr(record, "worker", getattr(record, "replaced", None)))
        for record in caplog.records
    ]
    assert lines == [("WARNING", "a"), ("INFO", "anna")]


def test_many_names_are_a_short_line(caplog) -> None:
    """Bark's 261 voices do not fill the log."""
    voices = SharedVoices()
    voices.merge([Worker("a", tone=FIRST)])
    with caplog.at_level(logging.INFO):
        voices.merge([Worker("a", **{f"v{number}": FIRST for number in range(261)})])
    assert caplog.records[0].added == "v0, v1, v2, v3, v4 and 256 more"
    assert caplog.records[0].removed == "tone"


def test_a_worker_is_described_to_the_operator() -> None:
    """Before it was heard of it is neither answering nor ready, and the reason says so."""
    told = RemoteWorker("ws://a:1", None).health()
    assert (told.address, told.is_answering, told.is_ready) == ("ws://a:1", False, False)
    assert told.problem == "nothing was heard of it yet"
