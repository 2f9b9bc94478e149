"""Deepgram's protocol over a WebSocket: each `Flush` has its answer, and a `Clear` ends what was said before."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any
from unittest.mock import create_autospec

import pytest
from websockets.asyncio.client import connect
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streamer.errors import EngineError, OverloadedError
from streamer.server.admission import Admission
from streamer.server.client_protocol import Action, Open, Send, Write
from streamer.server.deepgram.protocol import create_protocol
from streamer.server.keys import ApiKeys
from streamer.server.service import Service
from streamer.server.upgrade import Upgrade
from streamer.server.utterance import Utterance
from streamer.speech.text_feed import TextEnd
from streamer.telemetry.metrics import Metrics
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.deepgram.client import connected
from tests.server.speaking import configured, eventually, figure, running

SLOW = 1.0
"""As fast as it is heard: sound is still being made when the next message comes."""


def kinds(actions: Sequence[Action]) -> list[str]:
    """Return the types of the messages that are sent."""
    return [json.loads(action.frame)["type"] for action in actions if isinstance(action, Send)]


def ms_of(text: str) -> float:
    """How long the fake synthesizer speaks a sentence."""
    return 20 * len(text)


async def test_the_greeting_names_the_voice() -> None:
    """`Metadata` comes first, with a UUID for the voice that is always the same."""
    async with (
        running() as server,
        connected(server, "model=other") as one,
        connected(server, "model=other") as two,
    ):
        metadata, again = one.messages()[0], two.messages()[0]
    assert metadata["model_name"] == "other" and metadata["model_version"]
    assert metadata["model_uuid"] == again["model_uuid"] and len(metadata["model_uuid"]) == 36
    assert metadata["request_id"] != again["request_id"] and metadata["additional_model_uuids"] == []


@pytest.mark.parametrize(
    ("query", "bytes_per_s"),
    [
        ("", 48_000),
        ("encoding=linear16", 48_000),
        ("encoding=linear16&sample_rate=8000", 16_000),
        ("encoding=linear16&sample_rate=16000&container=none", 32_000),
        ("encoding=LINEAR16&sample_rate=32000", 64_000),
        ("encoding=linear16&sample_rate=48000.0&mip_opt_out=false&tag=x&unknown=1", 96_000),
        ("encoding=mulaw", 8_000),
        ("encoding=alaw", 8_000),
        ("encoding=mulaw&sample_rate=48000", 48_000),
        ("encoding=alaw&sample_rate=16000&bit_rate=48000", 16_000),
        ("encoding=linear16&speed=1.0", 48_000),
        ("encoding=linear16&speed=2", 24_000),
        ("encoding=linear16&speed=0.5", 96_000),
    ],
)
async def test_each_encoding_and_rate(query: str, bytes_per_s: int) -> None:
    """The sound is as long as the text takes, and its bytes are what the encoding and the rate make of it."""
    text = "One two three four five six seven eight."
    async with running() as server, connected(server, query) as client:
        sound = await client.turn(text)
    assert len(sound) / bytes_per_s * 1000 == pytest.approx(ms_of(text), abs=45)


async def test_turns_are_numbered_and_follow_each_other() -> None:
    """Each `Flush` is answered once, with the next number, behind all of its sound, whatever was said meanwhile."""
    texts = ["One two three.", "Four five six.", "Seven eight nine.", "Ten eleven twelve."] * 3
    async with running() as server, connected(server) as client:
        for text in texts:
            await client.speak(text)
            await client.say("Flush")
        lengths = []
        for index in range(len(texts)):
            begin = len(client.received)
            assert (await client.until("Flushed"))["sequence_id"] == index
            lengths.append(len(client.sound(begin)) / 48)
        assert [item["type"] for item in client.messages()] == ["Metadata"] + ["Flushed"] * len(texts)
        await eventually(lambda: figure(server.server, "tts_requests_running") == 0)
    assert lengths == [pytest.approx(ms_of(text), abs=45) for text in texts]
    assert [request.text for request in server.synthesizer.requests] == texts


async def test_an_empty_flush_is_answered_at_once() -> None:
    """Also a second one, and one behind text without a word."""
    async with running() as server, connected(server) as client:
        for count, texts in enumerate([(), (), ("",), (" ",), ("...",), ("😊",), ("Hi there.",), ()]):
            assert bool(await client.turn(*texts)) == (texts == ("Hi there.",))
            assert client.messages("Flushed")[-1]["sequence_id"] == count


async def test_a_second_flush_waits_for_the_turn_before() -> None:
    """A client without ids would take its answer for the end of what is still being spoken."""
    async with running(synthesizer=FakeSynthesizer(speed=4.0)) as server, connected(server) as client:
        await client.speak("One two three.")
        for _ in range(3):
            await client.say("Flush")
        for _ in range(3):
            await client.until("Flushed")
        assert client.received[-3:] == [{"type": "Flushed", "sequence_id": index} for index in range(3)]
        assert len(client.sound()) / 48 == pytest.approx(ms_of("One two three."), abs=45)


@pytest.mark.parametrize("flushes", [0, 1, 2])
@pytest.mark.parametrize("num_turns", [1, 2, 5])
async def test_nothing_of_the_old_turn_comes_behind_cleared(flushes: int, num_turns: int) -> None:
    """`Cleared` is all that follows, for turns that wait too, and the next turn is spoken alone."""
    synthesizer = FakeSynthesizer(speed=SLOW)
    async with running(synthesizer=synthesizer) as server, connected(server) as client:
        for _ in range(num_turns):
            await client.speak("A long text that takes a while. ", "And another sentence.")
            for _ in range(flushes):
                await client.say("Flush")
        while not isinstance(await client.next(), bytes):
            pass
        await client.say("Clear")
        cleared = await client.until("Cleared")
        assert cleared == {"type": "Cleared", "sequence_id": 0}
        await eventually(lambda: synthesizer.num_open == 0)
        synthesizer.speed = None
        sound = await client.turn("Now this.")
        assert len(sound) / 48 == pytest.approx(ms_of("Now this."), abs=45)
        assert [item["type"] for item in client.messages()] == ["Metadata", "Cleared", "Flushed"]
        assert client.messages()[-1]["sequence_id"] == 1
        await eventually(lambda: figure(server.server, "tts_requests_running") == 0)


@pytest.mark.parametrize("flushes", [False, True])
@pytest.mark.parametrize("is_opened", [False, True])
async def test_a_clear_reaches_a_turn_that_is_being_opened(flushes: bool, is_opened: bool) -> None:
    """Its utterance ends without a word and without `Flushed`, and a refusal of it has no `Flushed` either."""
    config, synthesizer = configured(), FakeSynthesizer()
    service = Service(config, synthesizer, Admission(config.limits), ApiKeys(), Metrics())
    protocol = create_protocol(Upgrade("/v1/speak", "", Headers(), "test", None), service)
    (opening,) = protocol.receive('{"type": "Speak", "text": "Old."}')
    assert isinstance(opening, Open)
    if flushes:
        assert protocol.receive('{"type": "Flush"}') == []
    assert kinds(protocol.receive('{"type": "Clear"}')) == ["Cleared"]
    if is_opened:
        utterance = create_autospec(Utterance, instance=True)
        assert protocol.opened(utterance) == [Write(utterance, TextEnd())]
        assert protocol.ended(utterance) == []
    else:
        assert kinds(protocol.refused(OverloadedError("too much"))) == ["Warning"]
    assert isinstance(protocol.receive('{"type": "Speak", "text": "New."}')[0], Open)


async def test_a_clear_with_nothing_to_clear() -> None:
    """It is answered all the same."""
    async with running() as server, connected(server) as client:
        for index in range(3):
            await client.say("Clear")
            assert (await client.until("Cleared"))["sequence_id"] == index


@pytest.mark.parametrize(
    ("texts", "sentences"),
    [
        (("Hello ", "there, ", "how ", "are ", "you?"), ["Hello there, how are you?"]),
        (("Hello there friends.", "How are you?"), ["Hello there friends.", "How are you?"]),
        (("It costs 5.", "5 dollars today."), ["It costs 5.5 dollars today."]),
        (("Hel", "lo the", "re."), ["Hello there."]),
        (("We are no", "w. ", "Then we all go home."), ["We are now.", "Then we all go home."]),
    ],
)
async def test_texts_are_joined(texts: tuple[str, ...], sentences: list[str]) -> None:
    """One word in each message is one sentence, and a message that ends one is parted from the next."""
    async with running() as server, connected(server) as client:
        await client.turn(*texts)
    assert [request.text for request in server.synthesizer.requests] == sentences


@pytest.mark.parametrize("flush", [True, False])
async def test_a_close_speaks_the_rest(flush: bool) -> None:
    """All that was said is spoken, and then the server closes with code 1000; what follows is ignored."""
    async with running(synthesizer=FakeSynthesizer(speed=8.0)) as server, connected(server) as client:
        await client.speak("One two three.")
        if flush:
            await client.say("Flush")
        await client.say("Close")
        await client.speak("Not this.")
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await client.next()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1000
        assert len(client.sound()) / 48 == pytest.approx(ms_of("One two three."), abs=45)
        assert [item["type"] for item in client.messages()] == ["Metadata"] + ["Flushed"] * flush


async def test_a_close_of_a_silent_session() -> None:
    """LiveKit's: an empty flush is answered, and the connection closed at once."""
    async with running() as server, connected(server) as client:
        await client.say("Flush")
        await client.say("Close")
        assert await client.next() == {"type": "Flushed", "sequence_id": 0}
        with pytest.raises(ConnectionClosed):
            await client.next()


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "{",
        "[]",
        "null",
        '"Speak"',
        "{}",
        '{"type": "Speak"}',
        '{"type": "Speak", "text": 5}',
        '{"type": "Speak", "text": null}',
        '{"type": "speak", "text": "Hi."}',
        '{"type": "Sing"}',
        '{"type": 7}',
        '{"type": "Speak", "text": "\\ud800"}',
        '{"type": "Speak", "text": ' + "[" * 10_000,
        b"\x00\x01",
        json.dumps({"type": "Speak", "text": "x" * 70_000}),
    ],
)
async def test_a_wrong_message_is_reported_and_harms_nothing(frame: str | bytes) -> None:
    """`Error` says what is wrong, and the turn around it is spoken."""
    async with running() as server, connected(server) as client:
        await client.speak("One two ")
        await client.connection.send(frame)
        sound = await client.turn("three.")
        (error,) = client.messages("Error")
        assert error["description"] and error["code"] in ("invalid_message", "invalid_parameter")
        assert len(sound) / 48 == pytest.approx(ms_of("One two three."), abs=45)


@pytest.mark.parametrize(
    ("limits", "texts", "code"),
    [
        ({"max_text_chars": 20}, ("x" * 21,), "text_too_long"),
        ({"max_buffered_chars": 60}, ("Word after word. " * 2, "Word after word. " * 2), "text_too_long"),
        ({"max_utterances_per_key": 1}, (), None),
    ],
)
async def test_too_much_is_a_warning(
    limits: dict[str, Any], texts: tuple[str, ...], code: str | None
) -> None:
    """What is beyond a limit is not spoken, the client learns it, and the turn has its end."""
    async with (
        running(configured(**limits), FakeSynthesizer(speed=SLOW)) as server,
        connected(server) as client,
    ):
        server.synthesizer.stall_on = "Word"
        await client.speak(*texts)
        await client.say("Clear")
        await client.until("Cleared")
        assert [warning["code"] for warning in client.messages("Warning")] == ([code] if code else [])
        assert all(warning["description"] for warning in client.messages("Warning"))
        server.synthesizer.stall_on = server.synthesizer.speed = None
        assert await client.turn("Hi there.")


async def test_a_turn_that_may_not_start_has_its_flushed() -> None:
    """Another connection of the same client has all that it may have; the text is refused with a warning."""
    config = configured(max_utterances_per_key=1)
    async with (
        running(config, FakeSynthesizer(speed=SLOW)) as server,
        connected(server) as busy,
        connected(server) as client,
    ):
        await busy.speak("A long text that takes a while.")
        while not isinstance(await busy.next(), bytes):
            pass
        assert await client.turn("One two three.") == b""
        assert client.messages("Warning")[0]["code"] == "overloaded"
        await busy.say("Clear")
        await busy.until("Cleared")
        assert await client.turn("One.")


async def test_too_many_turns_at_once_are_a_warning() -> None:
    """What is said beyond them is not spoken, but each `Flush` has its answer."""
    async with running() as server, connected(server) as client:
        server.synthesizer.stall_on = "stall"
        await client.speak("A stall.")
        for _ in range(70):
            await client.say("Flush")
            await client.speak("Go on.")
        await client.say("Flush")
        await client.until("Warning")
        await client.say("Clear")
        await client.until("Cleared")
        assert {warning["code"] for warning in client.messages("Warning")} == {"rate_limited"}
        assert not client.messages("Flushed")


async def test_a_failure_is_an_error_and_ends_the_turn() -> None:
    """`Error` tells why, `Flushed` that nothing follows, and the next turn is well."""
    async with running() as server, connected(server) as client:
        server.synthesizer.fail_on["broken"] = EngineError("it broke")
        await client.turn("This is broken.")
        assert [item["type"] for item in client.messages()] == ["Metadata", "Error", "Flushed"]
        assert client.messages("Error")[0]["code"] == "engine_failed"
        assert await client.turn("This is well.")
        await eventually(lambda: figure(server.server, "tts_requests_running") == 0)


async def test_a_client_that_is_gone_leaves_nothing() -> None:
    """Whatever was being spoken, or waited for it, is over within a second."""
    synthesizer = FakeSynthesizer(speed=SLOW)
    async with running(synthesizer=synthesizer) as server:
        for _ in range(3):
            async with connected(server) as client:
                for _ in range(4):
                    await client.speak("A long text that takes a while.")
                    await client.say("Flush")
                while not isinstance(await client.next(), bytes):
                    pass
                client.connection.transport.abort()
        await eventually(lambda: synthesizer.num_open == 0 and server.server.num_sessions == 0)
        assert figure(server.server, "tts_requests_running") == 0


async def test_sound_is_paced() -> None:
    """Without a `lead_ms` of the operator's it comes as fast as it is made, with one at most that far ahead."""
    async with running(configured(speech={"lead_ms": 200})) as server, connected(server) as client:
        await client.speak("Word after word after word. " * 10)
        await client.say("Flush")
        async with asyncio.timeout(30):
            while len(client.sound()) < 48 * 150:
                await client.next()
        await client.say("Clear")
        await client.until("Cleared")
        assert len(client.sound()) < 48 * 4000


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("encoding=mp3", "encoding 'mp3' is none of linear16, mulaw, alaw"),
        ("encoding=", None),
        ("sample_rate=44101", "sample_rate 44101 is none of"),
        ("sample_rate=fast", "sample_rate 'fast' is no number"),
        ("sample_rate=8000.5", "sample_rate '8000.5' is no whole number"),
        ("sample_rate=nan", "sample_rate 'nan' is no whole number"),
        ("container=wav", "container 'wav': linear16 may have none"),
        ("speed=9", "speed 9 is not from 0.25 to 4"),
        ("speed=nan", "speed nan is not from"),
        ("model=nobody", "no voice is named 'nobody'"),
        ("model=n%C3%B6body%0A", "no voice is named 'n?body\\n'"),
        ("callback=http://x", "callback: this server calls no addresses"),
    ],
)
async def test_a_wrong_query_refuses_the_handshake(query: str, reason: str | None) -> None:
    """The reason stands in the header fields that clients read, and in the body."""
    async with running() as server:
        address = f"ws://127.0.0.1:{server.server.port}/v1/speak?{query}"
        if reason is None:
            async with connect(address, proxy=None):
                return
        with pytest.raises(InvalidStatus) as refused:
            async with connect(address, proxy=None):
                pass
        response = refused.value.response
        body = json.loads(response.body or b"")
        assert response.status_code == 400 and response.headers["dg-error"].startswith(reason)
        assert body["err_code"] == "Bad Request" and body["request_id"] == response.headers["dg-request-id"]


@pytest.mark.parametrize(
    ("model", "voice"),
    [("aura-2-helena-en", "v2/en_one"), ("aura-asteria-en", "v2/en_one"), ("aura-2-Celeste-ES", "v2/es_two")],
)
async def test_deepgrams_voices_have_stand_ins(model: str, voice: str) -> None:
    """A client that was not configured is heard, and told which voice it hears."""
    synthesizer = FakeSynthesizer(voices=("v2/en_one", "v2/es_two"), languages=("en", "es"))
    async with running(synthesizer=synthesizer) as server, connected(server, f"model={model}") as client:
        assert client.messages("Metadata")[0]["model_name"] == voice
        assert await client.turn("One two.")
        (warning,) = client.messages("Warning")
        assert voice in warning["description"] and warning["code"] == "voice_replaced"
    assert synthesizer.requests[0].voice == voice


@pytest.mark.parametrize(
    "options",
    [
        {"additional_headers": {"Authorization": "Token secret"}},
        {"additional_headers": {"Authorization": "Bearer secret"}},
        {"additional_headers": {"Authorization": "token secret"}},
        {"additional_headers": {"X-API-Key": "secret"}},
        {"subprotocols": ["token", "secret"]},
        {"subprotocols": ["bearer", "secret"]},
    ],
)
async def test_the_key_comes_in_a_header_or_a_subprotocol(options: dict[str, Any], tmp_path: Any) -> None:
    """A browser can set no other header field, and wants one of the subprotocols that it offered agreed on."""
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    async with (
        running(configured(server={"api_keys_file": keys})) as server,
        connected(server, **options) as client,
    ):
        assert client.connection.subprotocol == options.get("subprotocols", [None])[0]
        assert await client.turn("One two.")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"additional_headers": {"Authorization": "Token guess"}},
        {"subprotocols": ["token", "guess"]},
        {"subprotocols": ["secret"]},
        {"subprotocols": ["token"]},
    ],
)
async def test_no_client_without_a_key(options: dict[str, Any], tmp_path: Any) -> None:
    """The answer is Deepgram's 401."""
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    async with running(configured(server={"api_keys_file": keys})) as server:
        with pytest.raises(InvalidStatus) as refused:
            async with connected(server, **options):
                pass
        response = refused.value.response
        assert response.status_code == 401 and response.headers["dg-error"]
        assert json.loads(response.body or b"")["err_code"] == "INVALID_AUTH"


async def test_a_server_that_stops_lets_the_turn_end() -> None:
    """New text is refused, what was said is spoken, and the client learns why the connection closes."""
    async with (
        running(configured(drain_timeout_s=5.0), FakeSynthesizer(speed=4.0)) as server,
        connected(server) as client,
    ):
        await client.speak("One two three four five.")
        await client.say("Flush")
        while not isinstance(await client.next(), bytes):
            pass
        server.server.stop()
        await client.until("Flushed")
        assert client.messages("Warning")[0]["code"] == "going_away"
        assert len(client.sound()) / 48 == pytest.approx(ms_of("One two three four five."), abs=45)


async def test_a_silent_client_is_closed() -> None:
    """Deepgram's code says so."""
    async with running(configured(idle_timeout_s=1.0)) as server, connected(server) as client:
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await client.next()
        assert closed.value.rcvd is not None and closed.value.rcvd.reason.startswith("NET-0001")
