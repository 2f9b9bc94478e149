"""A session serves any protocol: the toy one has its own frames, keys, keep-alives and close codes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import pytest

from streamer.errors import EngineError
from streamer.server.client_protocol import Action, Close
from streamer.server.ending import CloseRequest
from streamer.server.speaker import Speaker
from streamer.server.utterance import Utterance
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.fake_connection import FakeConnection, session
from tests.server.speaking import configured
from tests.server.toy_protocol import ToyProtocol


def lines(connection: FakeConnection) -> list[str]:
    """What the server said in words, its questions to a silent client left out."""
    return [frame for frame in connection.sent if isinstance(frame, str) and frame != "still there?"]


def _endless() -> FakeSynthesizer:
    synthesizer = FakeSynthesizer()
    synthesizer.stall_on = "never ends"
    return synthesizer


def sound(connection: FakeConnection) -> bytes:
    return b"".join(frame for frame in connection.sent if isinstance(frame, bytes))


async def test_text_goes_in_and_sound_comes_out() -> None:
    """In the protocol's frames, text or binary, one utterance behind the other, until it closes by itself."""
    async with session(ToyProtocol, query="you") as (running, connection, _):
        connection.say("One two.")
        connection.say(b"Three four.")
        connection.say("bye")
        await connection.until_closed()
    assert lines(connection) == [
        f"hello you, this is {running.id}",
        "1 says One|two.",
        "1 completed",
        "2 says Three|four.",
        "2 completed",
    ]
    assert len(sound(connection)) == pytest.approx(2 * 24 * 20 * len("One two.Three four."), rel=0.4)
    assert (connection.close_code, connection.close_reason) == (1000, "bye")


class HastyProtocol(ToyProtocol):
    """Leaves as soon as an utterance is open, before anything of it is spoken."""

    def opened(self, utterance: Utterance) -> Sequence[Action]:
        return [*super().opened(utterance), Close(1000, "in haste")]


async def test_an_utterance_that_never_came_to_run_is_counted() -> None:
    """The session was over before its task could begin."""
    async with session(HastyProtocol) as (running, connection, _):
        connection.say("One two.")
        await connection.until_closed()
    value = running._service.metrics.registry.get_sample_value
    assert value("tts_requests_total", {"outcome": "client_gone"}) == 1
    assert value("tts_requests_running") == 0 and connection.close_reason == "in haste"


async def test_a_cancelled_utterance_is_told_by_its_wire() -> None:
    """All that were open are over before anything else the client says is carried out."""
    async with session(ToyProtocol, None, FakeSynthesizer(speed=1.0)) as (_, connection, _):
        connection.say("A long text that is spoken for a while.")
        connection.say("And another.")
        connection.say("stop")
        connection.say("bye")
        await connection.until_closed()
    assert lines(connection)[-2:] == ["1 cancelled", "2 cancelled"] and connection.close_code == 1000


async def test_a_key_may_come_in_a_message() -> None:
    """Before it every opening is refused; the close code of a wrong one is the protocol's own."""
    async with session(ToyProtocol, keys=("secret",)) as (_, connection, _):
        connection.say("Too early.")
        connection.say("key: secret")
        connection.say("Hi.")
        connection.say("bye")
        await connection.until_closed()
    assert lines(connection)[1:] == ["no: unauthorized", "come in", "2 says Hi.", "2 completed"]
    async with session(ToyProtocol, keys=("secret",)) as (_, connection, _):
        connection.say("key: guess")
        await connection.until_closed()
    assert connection.close_code == 4000


async def test_a_key_that_does_not_come_ends_the_session() -> None:
    """Whatever else the client says meanwhile."""
    async with session(ToyProtocol, configured(auth_timeout_s=0.1), keys=("secret",)) as (_, connection, _):
        connection.say("Too early.")
        await connection.until_closed()
    assert (connection.close_code, connection.close_reason) == (4001, "unauthorized")


async def test_a_silent_client_is_asked_by_its_protocol() -> None:
    """As often as the protocol's own time has passed."""
    async with session(ToyProtocol) as (_, connection, _):
        await connection.until_sent("still there?")
    assert connection.close_code == 1000


async def test_a_timer_brings_what_its_protocol_has_left_for_later(caplog: pytest.LogCaptureFixture) -> None:
    """The last one of a name counts; one without a delay never comes, and none outlives the session."""
    async with session(ToyProtocol) as (_, connection, _):
        connection.say("in 0.01: one")
        connection.say("in 0.02: two")
        await connection.until_sent("two")
        connection.say("in 0.01: three")
        connection.say("in no time: never")
        connection.say("in 0.01: four")
        await connection.until_sent("four")
        connection.say("in 0.03: late")
        connection.say("One.")
        await connection.until_sent("1 completed")
    await asyncio.sleep(0.05)
    assert lines(connection)[1:] == ["two", "four", "1 says One.", "1 completed"] and not caplog.records


async def test_a_timer_is_silent_whose_session_is_ending(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time may be up while the utterances of a client that is gone are being stopped."""

    async def run(speaker: Speaker) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.1)
            speaker.abandon()

    monkeypatch.setattr(Speaker, "run", run)
    async with session(ToyProtocol) as (_, connection, _):
        connection.say("One.")
        connection.say("in 0.05: late")
        connection.hang_up()
        await connection.until_closed()
    assert lines(connection)[1:] == [] and not caplog.records


async def test_a_drain_refuses_what_is_new_and_lets_the_rest_finish() -> None:
    """The protocol is told once; the session refuses for it."""
    async with session(ToyProtocol, None, FakeSynthesizer(speed=5.0)) as (running, connection, _):
        connection.say("This one is spoken.")
        await connection.until_sent("1 says This|one|is|spoken.")
        running.end(CloseRequest(1001, "the server stops", grace_s=5.0))
        await connection.until_sent("5 s left")
        connection.say("This one is not.")
        await connection.until_closed()
    assert lines(connection)[-3:] == ["5 s left", "no: overloaded", "1 completed"]
    assert (connection.close_code, connection.close_reason) == (1001, "the server stops")


async def test_an_engine_that_dies_fails_what_is_open() -> None:
    """Each utterance by its wire, the session by the protocol's code."""
    async with session(ToyProtocol, None, FakeSynthesizer(speed=1.0)) as (running, connection, _):
        connection.say("This one is lost.")
        await connection.until_sent("1 says This|one|is|lost.")
        running.end(CloseRequest(1011, "the engine failed", error=EngineError("dead")))
        await connection.until_closed()
    assert lines(connection)[-1] == "1 failed"
    assert (connection.close_code, connection.close_reason) == (4001, "engine_failed")


async def test_a_client_that_writes_too_fast_is_read_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until its budget of bytes allows more, what it sends waits on its side; the session can still be ended."""
    monkeypatch.setattr("streamer.server.session.Budget.spend", lambda _budget, _num_bytes: 3600.0)
    async with session(ToyProtocol) as (running, connection, _):
        connection.say("One two.")
        connection.say("Three four.")
        await connection.until_sent("1 completed")
        running.end(CloseRequest(1001, "the server stops"))
        await connection.until_closed()
    assert lines(connection)[1:] == ["1 says One|two.", "1 completed", "0 s left"]


async def test_of_two_ends_the_more_urgent_one_counts() -> None:
    """A sooner one is told in turn, a later one is not; an error does not wait for any of them."""
    async with session(ToyProtocol, None, _endless()) as (running, connection, _):
        connection.say("Here it begins. This one never ends.")
        await connection.until_sent("1 says Here|it|begins.")
        running.end(CloseRequest(1001, "old", grace_s=60.0))
        await connection.until_sent("60 s left")
        running.end(CloseRequest(1001, "older", grace_s=120.0))
        running.end(CloseRequest(1001, "sooner", grace_s=0.1))
        await connection.until_closed()
    assert lines(connection)[-3:] == ["60 s left", "0.1 s left", "1 cancelled"]
    assert (connection.close_code, connection.close_reason) == (1001, "sooner")
    async with session(ToyProtocol, None, _endless()) as (running, connection, _):
        connection.say("Here it begins. This one never ends.")
        await connection.until_sent("1 says Here|it|begins.")
        running.end(CloseRequest(1001, "old", grace_s=60.0))
        await connection.until_sent("60 s left")
        running.end(CloseRequest(1011, "dead", error=EngineError("dead")))
        await connection.until_closed()
    assert connection.close_code == 4001


async def test_an_end_that_comes_while_a_left_client_is_cleared_away_is_harmless() -> None:
    """The session was draining, and its client left: a second signal must still reach all the other sessions."""
    async with session(ToyProtocol, None, _endless()) as (running, connection, _):
        connection.say("Here it begins. This one never ends.")
        await connection.until_sent("1 says Here|it|begins.")
        running.end(CloseRequest(1001, "the server stops", grace_s=60.0))
        await connection.until_sent("60 s left")
        connection.hang_up()
        await connection.until_closed()
        running.end(CloseRequest(1001, "the server stops"))
    assert lines(connection)[-1] == "60 s left"


async def test_an_engine_that_dies_in_the_moment_in_which_a_grace_is_over_counts() -> None:
    """The deadline cannot be moved any more then, and need not be."""
    async with session(ToyProtocol, None, _endless()) as (running, connection, _):
        connection.say("Here it begins. This one never ends.")
        await connection.until_sent("1 says Here|it|begins.")
        running.end(CloseRequest(1001, "the server stops", grace_s=0.05))
        loop, failures = asyncio.get_running_loop(), list[object]()
        loop.set_exception_handler(lambda _, context: failures.append(context))
        await connection.until_sent("0.05 s left")
        just_after_s = math.nextafter(running._ends_at_s, math.inf)
        loop.call_at(just_after_s, running.end, CloseRequest(1011, "dead", error=EngineError("dead")))
        await connection.until_closed()
    assert not failures
    assert connection.close_code == 4001
