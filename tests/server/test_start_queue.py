"""The queue is fair among clients, lets in no more than there is room for, and tells those who wait their places."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from streamer.config import LimitsConfig
from streamer.errors import OverloadedError
from streamer.server.admission import Admission
from streamer.server.start_queue import TELL_AFTER_S, TELL_S, ClientShare, StartQueue
from streamer.synthesis import PcmChunk, Room, SentenceRequest
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import configured, eventually, running

PLENTY = Room(num_listeners=0, max_listeners=4, num_unheard=0, num_short=0, max_short=4, mean_stay_s=4.0)


@dataclass
class Machine:
    """A machine whose listeners all have sound enough: each that is let in takes a place at once, until it leaves."""

    max_listeners: int = 4
    extra: dict[str, int] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    places: dict[str, list[int]] = field(default_factory=dict)
    shares: dict[str, ClientShare] = field(default_factory=dict)
    now_s: float = 100.0

    def __post_init__(self) -> None:
        self.queue = StartQueue(self.room, lambda: self.now_s)

    def room(self) -> Room:
        return replace(PLENTY, num_listeners=len(self.names), max_listeners=self.max_listeners, **self.extra)

    async def ask(self, name: str, timeout_s: float = 5.0, *, has_begun: bool = False) -> None:
        """Have an utterance ask; the letter that its name begins with is its client."""
        share = self.shares.setdefault(name[0], ClientShare())

        async def enter() -> None:
            tell = self.places.setdefault(name, []).append
            await self.queue.enter(share, timeout_s, tell, has_begun=has_begun)
            self.names.append(name)

        self.tasks[name] = asyncio.create_task(enter())
        await asyncio.sleep(0)

    async def leave(self, name: str) -> None:
        self.names.remove(name)
        self.queue.leave(self.shares[name[0]])
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def end(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


@contextlib.asynccontextmanager
async def machine(max_listeners: int = 4, **extra: int):
    made = Machine(max_listeners, extra)
    try:
        yield made
    finally:
        await made.end()


async def test_one_client_alone_has_the_whole_machine_and_waits_in_order() -> None:
    """As many begin as there is room for, none more, and the others as places become free, first come first served."""
    async with machine(2) as m:
        for name in ("a1", "a2", "a3", "a4"):
            await m.ask(name)
        assert (m.names, m.queue.num_waiting) == (["a1", "a2"], 2)
        await m.leave("a1")
        assert m.names == ["a2", "a3"]
        await m.leave("a2")
        assert m.names == ["a3", "a4"] and m.queue.num_waiting == 0


async def test_a_client_with_nothing_does_not_wait_behind_one_that_has_everything() -> None:
    """It is let in at once, beyond the limit, as long as it has less; then the clients with the fewest go first."""
    async with machine(3) as m:
        for number in range(10):
            await m.ask(f"hog{number}")
        for number in range(3):
            await m.ask(f"polite{number}")
        assert m.names == ["hog0", "hog1", "hog2", "polite0", "polite1"], (
            "a third would be as many as the hog has"
        )
        await m.ask("quiet")
        await m.ask("other")
        assert m.names[5:] == ["quiet"], "as many as there are places are let in without one"
        for name in ("hog0", "hog1"):
            await m.leave(name)
        assert m.names == ["hog2", "polite0", "polite1", "quiet"], "the hog's go as others come"
        await m.leave("polite0")
        await m.leave("polite1")
        assert m.names == ["hog2", "quiet", "other"], "both have nothing, and it never had anything"


@pytest.mark.parametrize("num_queued", [2, 5, 15])
async def test_on_one_place_clients_take_turns(num_queued: int) -> None:
    """A client with a long queue has every other turn, although all of it came first and nobody else is in service."""
    async with machine(1) as m:
        queued = [f"h{number}" for number in range(num_queued)]
        for name in queued:
            await m.ask(name)
        await m.ask("p1")
        await m.leave("h0")
        assert m.names == ["p1"]
        await m.ask("p2")
        await m.leave("p1")
        assert m.names == ["h1"]
        await m.leave("h1")
        assert m.names == ["p2"]


async def test_a_client_with_nothing_is_let_in_when_the_limit_has_fallen() -> None:
    """A machine that turns out to be slower has too many of one client, and still takes another one's."""
    async with machine(6) as m:
        for number in range(6):
            await m.ask(f"hog{number}")
        m.max_listeners = 2
        await m.ask("polite")
        assert m.names[-1] == "polite"


@pytest.mark.parametrize(
    ("extra", "hog", "polite"),
    [
        ({"num_short": 1, "max_short": 1}, False, True),
        ({"num_short": 3, "num_unheard": 1, "max_short": 1}, False, True),
        ({"num_short": 3, "num_unheard": 2, "max_short": 1}, False, False),
        ({"num_short": 1, "max_short": 2}, True, True),
    ],
    ids=["one short", "one without sound", "two without sound", "few short"],
)
async def test_none_begins_where_others_would_underrun(
    extra: dict[str, int], hog: bool, polite: bool
) -> None:
    """While listeners are short of sound only a client that has less than another may begin, and not in a crowd."""
    async with machine(4) as m:
        await m.ask("hog1")
        await m.ask("hog2")
        m.extra = extra
        await m.ask("polite")
        assert ("polite" in m.names) == polite
        await m.ask("hog3")
        assert ("hog3" in m.names) == hog


async def test_sentences_are_preferred_only_where_there_is_no_room() -> None:
    """Those of a client that has less than another go first, and only while the machine has too much to do."""
    synthesizer = FakeSynthesizer()
    room = PLENTY
    admission = Admission(LimitsConfig(), lambda: room)
    params = synthesizer.info.default_params

    async def speak(client: str, name: str) -> None:
        queued = admission.admit(client).queued(synthesizer)
        kept.append(queued.synthesize(SentenceRequest(name, "Hello there.", "tone", params)))
        await anext(kept[-1])

    kept: list[AsyncGenerator[PcmChunk, None]] = []
    for name in ("hog 1", "hog 2", "hog 3"):
        await speak("hog", name)
    await speak("polite", "polite with room")
    room = replace(PLENTY, num_short=4)
    await speak("polite", "polite without")
    preferred = [request.request_id for request in synthesizer.requests if request.is_preferred]
    assert preferred == ["polite without"]
    for chunks in kept:
        await chunks.aclose()


async def test_of_two_clients_with_as_many_the_one_with_less_sound_goes_first() -> None:
    """Short utterances are not kept waiting by as many long ones, and the other way round they are."""
    async with machine(2) as m:
        for name in ("long1", "long2", "short1"):
            await m.ask(name)
        m.shares["l"].sound_s, m.shares["s"].sound_s = 60.0, 1.0
        await m.ask("short2")
        await m.ask("short3")
        assert m.names == ["long1", "long2", "short1", "short2"]
        m.shares["l"].sound_s = 0.5
        await m.leave("short1")
        assert m.queue.num_waiting == 1


async def test_heavier_clients_have_more() -> None:
    """A client of twice the weight has twice as many in service before another is preferred."""
    async with machine(3) as m:
        m.shares["h"] = ClientShare(weight=2.0)
        for name in ("first1", "first2", "first3"):
            await m.ask(name)
        for name in ("l1", "h1", "l2", "h2", "l3", "h3"):
            await m.ask(name)
        m.max_listeners = 9
        for name in ("first1", "first2", "first3"):
            await m.leave(name)
        await eventually(lambda: not m.queue.num_waiting)
        order = [name[0] for name in m.names if name[0] in "lh"]
        assert order.count("h") == 3 and order[:4].count("h") >= 2


@pytest.mark.parametrize(
    ("weights", "expected"),
    [((1, 1), (6, 6)), ((2, 1), (8, 4)), ((3, 1), (9, 3)), ((0.5, 1), (4, 8)), ((5, 1), (10, 2))],
)
async def test_places_go_by_weight_while_all_ask_for_more(
    weights: tuple[float, float], expected: tuple[int, int]
) -> None:
    """Of two clients that always have utterances waiting, each has its part of the places."""
    async with machine(12) as m:
        m.shares |= {"a": ClientShare(weights[0]), "b": ClientShare(weights[1])}
        for number in range(40):
            for client in "ab":
                await m.ask(f"{client}{number}")
        for _ in range(24):
            await m.leave(m.names[0])
        assert tuple(sum(name[0] == client for name in m.names) for client in "ab") == expected


async def test_what_has_begun_waits_for_a_place_only_and_is_never_refused() -> None:
    """The next sentence of an utterance goes before a new utterance of its client, and past the longest wait."""
    async with machine(1) as m:
        await m.ask("a1")
        await m.ask("a2", 0.05)
        await m.ask("a3", 0.05, has_begun=True)
        with pytest.raises(OverloadedError):
            await m.tasks["a2"]
        assert not m.tasks["a3"].done() and m.places["a3"] == []
        m.extra = {"num_short": 5, "max_short": 1}
        await m.leave("a1")
        assert m.names == ["a3"]


async def test_each_refused_client_is_told_a_time_of_its_own() -> None:
    """Of one client's refused utterances each is to return later than the one before, about as others leave."""
    async with machine(2) as m:
        for number in range(12):
            await m.ask(f"a{number}", 0.05)
        results = await asyncio.gather(*m.tasks.values(), return_exceptions=True)
        refusals = [error for error in results if isinstance(error, OverloadedError)]
        times_s = [error.retry_after_s for error in refusals]
        assert len(times_s) == 10 and all(time_s is not None for time_s in times_s)
        expected = [2.0 * (1 + index) for index in range(10)]  # two stay for four seconds each
        assert [round(s, 1) for s in times_s] == pytest.approx(expected, rel=0.11)  # type: ignore[arg-type]
        assert len(set(times_s)) == 10


async def test_clients_refused_together_return_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is told to come a place later than the one refused before it, up to the bound, until those have returned."""
    monkeypatch.setattr("streamer.server.start_queue.JITTER", 0.0)

    async def refused(clients: str) -> list[float | None]:
        tasks = []
        for name in clients:
            await m.ask(name, 0.01)
            tasks.append(m.tasks[name])
        results = await asyncio.gather(*tasks, return_exceptions=True)
        return [error.retry_after_s for error in results if isinstance(error, OverloadedError)]

    async with machine(2) as m:
        m.extra = {"mean_stay_s": 2}  # with two places one is free every second
        await m.ask("a")
        await m.ask("b")
        assert await refused("cdefghijklmn") == [3.0 + number for number in range(12)]
        m.now_s += 8.5
        assert await refused("o") == [9.0], "six have returned"
        assert (
            await refused("pqrstuvwxyzABCDEFGHIJKLMNOPQRSTUV") == [10.0 + n for n in range(21)] + [30.0] * 12
        )


async def test_a_full_queue_refuses_the_client_that_waits_with_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest utterance of the client with the most has to go, not the one that came last."""
    monkeypatch.setattr("streamer.server.start_queue.MAX_WAITING", 3)
    async with machine(1) as m:
        for name in ("hog1", "hog2", "hog3", "hog4"):
            await m.ask(name)
        await m.leave("hog1")
        for name in ("hog5", "other1", "quiet1"):
            await m.ask(name)
        await asyncio.sleep(0)
        refused = [name for name, task in m.tasks.items() if task.done() and task.exception() is not None]
        assert "hog5" in refused and not {"other1", "quiet1"} & set(refused)


async def test_a_short_wait_is_not_told() -> None:
    """An utterance that begins soon is silent about its wait; one that still waits then learns its place."""
    async with machine(1) as m:
        for name in ("a1", "a2", "a3"):
            await m.ask(name)
        m.now_s += TELL_AFTER_S / 2
        m.queue._look_again()
        await m.leave("a1")
        assert m.names == ["a2"] and not any(m.places.values())
        m.now_s += TELL_AFTER_S / 2
        m.queue._look_again()
        assert m.places == {"a1": [], "a2": [], "a3": [1]}


async def test_places_are_told_and_told_again() -> None:
    """Each who waits learns its place, and its new one when others have gone."""
    async with machine(1) as m:
        for name in ("a1", "a2", "a3", "a4"):
            await m.ask(name)
        m.now_s += TELL_AFTER_S
        await eventually(lambda: bool(m.places["a4"]))
        assert [m.places[name] for name in m.tasks] == [[], [1], [2], [3]]
        await m.leave("a1")
        m.now_s += TELL_AFTER_S
        await eventually(lambda: m.places["a4"] == [3, 2])
        await m.ask("b1")
        m.now_s += TELL_AFTER_S
        await eventually(lambda: m.places["b1"] == [1])
        assert m.names == ["a2"] and m.places["a4"][-1] > 1


async def test_who_gives_up_leaves_nothing_behind() -> None:
    """An utterance that is cancelled while it waits, or just when it was let in, takes no place."""
    async with machine(1) as m:
        for name in ("a1", "a2", "a3"):
            await m.ask(name)
        m.tasks["a2"].cancel()
        await asyncio.gather(m.tasks["a2"], return_exceptions=True)
        assert m.queue.num_waiting == 1
        m.names.remove("a1")
        m.queue.leave(m.shares["a"])  # lets a3 in
        m.tasks["a3"].cancel()
        await asyncio.gather(m.tasks["a3"], return_exceptions=True)
        assert m.shares["a"].num_in_service == 0 and m.queue.num_waiting == 0


async def test_an_utterance_takes_one_place_however_many_sentences_are_made() -> None:
    """Sentences made together are one listener; it gives its place back when none is unfinished."""
    synthesizer = FakeSynthesizer()
    admission = Admission(LimitsConfig(), lambda: PLENTY)
    permit = admission.admit("k")
    queued = permit.queued(synthesizer)
    params = synthesizer.info.default_params
    first, second = (queued.synthesize(SentenceRequest(n, "Hello there.", "tone", params)) for n in "12")
    await anext(first)
    await anext(second)
    share = permit._quota.share
    assert share.num_in_service == 1
    await first.aclose()
    assert share.num_in_service == 1
    await second.aclose()
    assert share.num_in_service == 0


async def test_a_waiting_client_is_told_its_place_and_then_served_or_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over the protocol: `queued` with a place behind `started`, then sound when there is room, or `overloaded`."""
    monkeypatch.setattr("streamer.server.start_queue.TELL_AFTER_S", 0.0)
    synthesizer = FakeSynthesizer()
    full = replace(PLENTY, num_listeners=4)
    synthesizer.room = full
    async with running(configured(max_start_wait_s=0.3), synthesizer) as server, server.client() as client:
        await client.say("speak", id="a", text="Hello there.")
        await client.say("speak", id="b", text="Hello there.")
        warnings = [await client.until("warning", code="queued") for _ in range(2)]
        assert [(warning["id"], warning["place"]) for warning in warnings] == [("a", 1), ("b", 2)]
        synthesizer.room = PLENTY
        assert {(await client.until("done"))["reason"] for _ in range(2)} == {"completed"}
        synthesizer.room = full
        await client.say("speak", id="c", text="Hello there.")
        done = await client.until("done", id="c")
        assert done["reason"] == "failed" and done["error"]["code"] == "overloaded"
        assert done["error"]["retry_after_s"] >= 0.5 and done["packets"] == 0
        await client.say("speak", id="d", text="Hello there.")
        await client.until("warning", code="queued", id="d")
        await client.say("cancel", id="d")
        assert (await client.until("done", id="d"))["reason"] == "cancelled"


async def test_http_waits_for_room_too() -> None:
    """`POST /v1/speech` is answered once there is room, and with 503 and a time if there is none in time."""
    synthesizer = FakeSynthesizer()
    synthesizer.room = replace(PLENTY, num_listeners=4)
    body = b'{"text": "Hello there."}'
    request = b"POST /v1/speech HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    async with running(configured(max_start_wait_s=0.1), synthesizer) as server:
        status, head, answer = await server.http(request)
        assert status == 503 and b"retry-after:" in head.lower() and b"overloaded" in answer
        synthesizer.room = PLENTY
        assert (await server.http(request))[0] == 200


async def test_places_of_many_are_found_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A waiting crowd is told its places in one go: the order is made twice, and not once for each of them."""
    machine, num_orders, in_order = Machine(max_listeners=0), 0, StartQueue._in_order

    def count(queue: StartQueue) -> list[Any]:
        nonlocal num_orders
        num_orders += 1
        return in_order(queue)

    for number in range(100):
        await machine.ask(f"{chr(ord('A') + number)}")
    await machine.ask("A late one")
    machine.now_s += TELL_AFTER_S
    machine.queue._look_again()
    for places in machine.places.values():
        places.clear()
    machine.tasks["B"].cancel()
    await asyncio.sleep(0)
    monkeypatch.setattr(StartQueue, "_in_order", count)
    machine.now_s += TELL_S
    machine.queue._look_again()
    assert num_orders == 2
    assert machine.places["C"] == [2] and len([name for name, told in machine.places.items() if told]) == 99
    await machine.end()
