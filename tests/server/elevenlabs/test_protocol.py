"""ElevenLabs' WebSocket: every context ends once, and what one client does harms nobody else."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from streamer.errors import EngineError
from streamer.server.client_protocol import Close
from streamer.server.ending import CloseRequest
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.elevenlabs.conversing import PCM, conversing, create_for, sound, words
from tests.server.fake_connection import session
from tests.server.speaking import configured, eventually

HELLO = "Hello there, this is a test."
Message = dict[str, Any]


def of_pipecat(context_id: str, *texts: str) -> list[Message]:
    """A turn as pipecat sends it."""
    return [
        {"text": " ", "context_id": context_id},
        *({"text": text, "context_id": context_id} for text in texts),
        {"context_id": context_id, "flush": True},
        {"context_id": context_id, "close_context": True},
    ]


def of_livekit(context_id: str, *texts: str) -> list[Message]:
    """A turn as LiveKit sends it."""
    return [
        {"text": " ", "voice_settings": {}, "context_id": context_id},
        *({"text": f"{text} ", "context_id": context_id, "flush": True} for text in texts),
        {"text": "", "context_id": context_id, "flush": True},
        {"context_id": context_id, "close_context": True},
    ]


def of_sdk(*texts: str) -> list[Message]:
    """A text as ElevenLabs' own package sends it."""
    generation = {"chunk_length_schedule": [50]}
    opening = {"text": " ", "try_trigger_generation": True, "voice_settings": None}
    pieces = [{"text": text, "try_trigger_generation": True} for text in texts]
    return [opening | {"generation_config": generation}, *pieces, {"text": ""}]


async def test_one_text_is_spoken_and_the_connection_closed() -> None:
    """The sound, `isFinal` once, and the code that every client waits for."""
    async with conversing(is_multi=False) as client:
        client.say(*of_sdk("Hello ", "there, ", "this ", "is ", "a ", "test. ", "  "))
        await client.connection.until_closed()
    assert client.spoken == [HELLO]
    assert client.connection.close_code == 1000
    assert [sorted(end) for end in client.ends] == [["alignment", "audio", "isFinal", "normalizedAlignment"]]
    assert client.received[-1] == client.ends[0] and client.ends[0]["isFinal"] is True
    assert all("contextId" not in message for message in client.received)
    assert len(sound(client.received)) == pytest.approx(48 * 20 * len(HELLO), rel=0.02)


@pytest.mark.parametrize("turn", [of_pipecat, of_livekit])
async def test_a_close_at_once_is_no_cancel(turn: Any) -> None:
    """Clients send it right behind the last text; what was flushed is heard to its end."""
    async with conversing() as client:
        client.say(*turn("c1", "Hello there.", "How are you?"))
        assert await client.until_ended() == [{"contextId": "c1", "isFinal": True}]
    assert client.spoken == ["Hello there.", "How are you?"]
    assert client.received[-1]["isFinal"] is True and client.synthesizer.num_cancelled == 0
    assert [word for word, _ in words(client.of("c1"))] == "Hello there. How are you?".split()
    assert all(message["contextId"] == "c1" and "message" not in message for message in client.received)


async def test_a_second_close_stops_what_is_heard() -> None:
    """An interruption behind a complete text; the next turn may have the same name."""
    async with conversing(synthesizer=FakeSynthesizer(speed=2.0)) as client:
        client.say(*of_pipecat("c1", HELLO * 10))
        await eventually(lambda: sound(client.received))
        client.say({"context_id": "c1", "close_context": True})
        assert await client.until_ended() == [{"contextId": "c1", "isFinal": True}]
        assert client.synthesizer.num_cancelled and not client.synthesizer.num_open
        client.say({"context_id": "c1", "close_context": True}, *of_pipecat("c1", "Hi."))
        assert len(await client.until_ended(2)) == 2
    assert client.spoken[-1] == "Hi."


@pytest.mark.parametrize(
    "before",
    [
        [{"text": HELLO, "context_id": "c1"}],
        [{"text": HELLO, "context_id": "c1", "flush": True}, {"text": " And", "context_id": "c1"}],
        [{"text": HELLO, "contextId": "c1"}, {"text": " ", "context_id": "c1"}],
        [{"text": "Hel", "context_id": "c1"}, {"text": "lo", "context_id": "c1"}],
        [{"text": HELLO, "context_id": "c1"}, {"text": "", "context_id": "c1"}],
    ],
)
async def test_a_close_behind_text_without_a_flush_is_an_interruption(before: list[Message]) -> None:
    """While the language model still writes, nothing is finished."""
    async with conversing(synthesizer=FakeSynthesizer(speed=0.5)) as client:
        client.say({"text": " ", "context_id": "c1"}, *before, {"context_id": "c1", "close_context": True})
        assert await client.until_ended() == [{"contextId": "c1", "isFinal": True}]
        assert not client.synthesizer.num_open


@pytest.mark.parametrize(
    "message",
    [
        {"text": ""},
        {"text": "", "context_id": "c1"},
        {"text": None},
        {},
        {"context_id": "c1"},
        {"context_id": "c1", "flush": True},
        {"contextId": "c1", "close_context": True},
        {"context_id": "c1", "close_context": False},
        {"close_socket": False},
        {"try_trigger_generation": True, "voice_settings": None, "unknown": {"deep": [1, 2]}},
    ],
)
async def test_what_says_nothing_opens_nothing(message: Message) -> None:
    """Keep-alives, and messages for contexts that there are not, are ignored without an answer."""
    async with conversing() as client:
        client.say(message, *of_pipecat("c2", "Hi."))
        assert await client.until_ended() == [{"contextId": "c2", "isFinal": True}]
        assert client.of("c2") == client.received


async def test_text_without_a_name_has_a_context_of_its_own() -> None:
    """It is named in the answers."""
    async with conversing() as client:
        client.say({"text": "Hi there. "}, {"flush": True}, *of_pipecat("c2", "Hello."))
        await client.until_ended()
        client.say({"close_socket": True})
        await client.connection.until_closed()
    assert {end["contextId"] for end in client.ends} == {"default", "c2"}
    assert sorted(client.spoken) == ["Hello.", "Hi there."]


async def test_contexts_are_spoken_side_by_side() -> None:
    """One that nobody listens to any more does not let the next one wait."""
    async with conversing(synthesizer=FakeSynthesizer(speed=20.0)) as client:
        client.say(*of_livekit("dead", *[HELLO] * 30))
        await eventually(lambda: sound(client.of("dead")))
        client.say(*of_livekit("c2", "Hi."))
        assert await client.until_ended() == [{"contextId": "c2", "isFinal": True}]
        num_made = len(client.spoken)
        assert 2 <= num_made < 12, "no more than the lead is made ahead"
        client.say({"context_id": "dead", "close_context": True})
        assert await client.until_ended(2)


async def test_a_closed_name_may_be_used_again_at_once() -> None:
    """The new context is heard behind the old one, and each ends once."""
    async with conversing() as client:
        client.say(*of_pipecat("c1", "One."), *of_pipecat("c1", "Two."))
        assert len(await client.until_ended(2)) == 2
    ends = [index for index, message in enumerate(client.received) if message.get("isFinal")]
    assert [word for word, _ in words(client.received[: ends[0]])] == ["One."]
    assert [word for word, _ in words(client.received[ends[0] :])] == ["Two."]


async def test_too_many_contexts_are_refused_without_a_close() -> None:
    """The frame names the one that is refused, what is still written for it is dropped, and the others continue."""
    async with conversing() as client:
        for number in range(6):
            client.say({"text": "Hello there. ", "context_id": f"c{number}"})
        client.say({"text": "More of it. ", "context_id": "c5", "flush": True})
        (end,) = await client.until_ended()
        assert (end["error"], end["code"], end["contextId"]) == ("max_active_conversations", 1008, "c5")
        assert end["isFinal"] is True and "5 contexts" in end["message"]
        for number in range(5):
            client.say({"text": "", "context_id": f"c{number}", "flush": True})
            client.say({"context_id": f"c{number}", "close_context": True})
        client.say(*of_pipecat("c5", "Now it fits."))
        await client.until_ended(7)
    assert sorted(client.spoken) == ["Hello there."] * 5 + ["Now it fits."]


async def test_draining_contexts_count_for_the_limit_of_utterances_alone() -> None:
    """Those of interrupted clients leave room for new ones, up to what a session may have."""
    async with conversing(synthesizer=FakeSynthesizer(speed=1.0)) as client:
        for number in range(9):
            client.say(*of_pipecat(f"c{number}", HELLO))
        (end,) = await client.until_ended()
        assert (end["error"], end["contextId"]) == ("max_active_conversations", "c8")
        for number in range(8):
            client.say({"context_id": f"c{number}", "close_context": True})
        await client.until_ended(9)


async def test_close_socket_lets_everything_finish() -> None:
    """Also text that was not flushed; then the server closes, and hears nothing more."""
    async with conversing() as client:
        client.say(*of_pipecat("c1", "One."), {"text": "Two", "context_id": "c2"}, {"close_socket": True})
        client.say(*of_pipecat("c3", "Too late."))
        await client.connection.until_closed()
    assert client.connection.close_code == 1000
    assert sorted(client.spoken) == ["One.", "Two"] and len(client.ends) == 2
    async with conversing() as client:
        client.say({"close_socket": True})
        await client.connection.until_closed()
    assert client.connection.close_code == 1000 and not client.received


async def test_an_end_without_a_text_is_an_end() -> None:
    """Of the only context: `isFinal`, and the close."""
    for messages in ([{"text": ""}], [{"text": " "}, {"text": ""}], [{"text": " "}, {"close_socket": True}]):
        async with conversing(is_multi=False) as client:
            client.say(*messages)
            await client.connection.until_closed()
        assert len(client.ends) == 1 and client.connection.close_code == 1000 and not client.spoken


async def test_a_forgotten_context_ends_by_its_own_clock() -> None:
    """What it was told is spoken first; the others, and one that is kept alive, live on."""
    async with conversing(query=f"{PCM}&inactivity_timeout=1") as client:
        client.say({"text": "Hello", "context_id": "forgotten"}, {"text": " ", "context_id": "kept"})
        async with asyncio.timeout(30):
            while not client.ends:
                client.say({"text": "", "context_id": "kept"}, {"text": ""})
                await asyncio.sleep(0.02)
        assert client.ends == [{"contextId": "forgotten", "isFinal": True}]
        client.say(*of_pipecat("kept", "Hi.")[1:])
        await client.until_ended(2)
    assert client.spoken == ["Hello", "Hi."]


async def test_a_silent_client_is_told_and_left() -> None:
    """With the name of the error that ElevenLabs gives it; what was written before is spoken."""
    for is_multi, messages in ((True, []), (False, []), (False, [{"text": "Hello there."}])):
        async with conversing(is_multi=is_multi, query=f"{PCM}&inactivity_timeout=0.1") as client:
            client.say(*messages)
            await client.connection.until_closed()
        assert client.connection.close_code == 1008 and len(client.ends) == 1
        assert client.ends[0]["error"] == "input_timeout_exceeded" and client.ends[0]["code"] == 1008
        assert client.spoken == [message["text"] for message in messages]
        assert client.received[-1] == client.ends[0]
    async with conversing(query=f"{PCM}&inactivity_timeout=1") as client:
        for _ in range(60):
            await asyncio.sleep(0.02)
            client.say({"text": ""})
        client.say(*of_pipecat("c1", "Still here."))
        assert await client.until_ended() == [{"contextId": "c1", "isFinal": True}]


@pytest.mark.parametrize(
    ("frame", "name", "told"),
    [
        ("hello", "invalid_input_message", "JSON"),
        ("[1]", "invalid_parameter", "object"),
        ('{"text": 5}', "invalid_parameter", "text"),
        ('{"text": "a", "flush": "yes"}', "invalid_parameter", "flush"),
        ('{"text": " ", "voice_settings": {"speed": "fast"}}', "invalid_parameter", "speed"),
        (
            '{"text": " ", "generation_config": {"chunk_length_schedule": [0]}}',
            "invalid_parameter",
            "from 1 to 100000",
        ),
        ('{"text": "' + "x" * 2001 + '"}', "text_too_long", "2000"),
        ('{"text": "' + "\\ud800" + '"}', "invalid_input_message", "JSON"),
        ('{"x": ' + "[" * 50_000 + "}", "invalid_input_message", "JSON"),
        ('{"x": "' + "x" * 70_000 + '"}', "invalid_input_message", "65536"),
        (b"{}", "invalid_input_message", "binary"),
    ],
)
async def test_a_mistake_ends_the_only_context(frame: str | bytes, name: str, told: str) -> None:
    """One frame with what was wrong is the last, and the close repeats it."""
    async with conversing(is_multi=False, synthesizer=FakeSynthesizer(speed=1.0)) as client:
        client.say({"text": " "}, {"text": HELLO, "flush": True})
        client.connection.say(frame)
        await client.connection.until_closed()
    (end,) = client.ends
    assert (end["error"], end["code"], client.connection.close_code) == (name, 1008, 1008)
    assert told in end["message"] and end == client.received[-1]
    assert client.connection.close_reason.startswith(end["message"][:60])
    async with conversing(is_multi=False) as client:  # also as the first message
        client.connection.say(frame)
        await client.connection.until_closed()
    assert [end["error"] for end in client.ends] == [name] and client.connection.close_code == 1008


@pytest.mark.parametrize(
    "frame",
    [
        '{"text": "Hi. ", "context_id": 5}',
        '{"text": "Hi. ", "contextId": 5}',
        '{"text": "Hi. ", "context_id": true}',
        '{"text": "Hi. ", "context_id": ["c1"]}',
        '{"text": "Hi. ", "context_id": {"id": "c1"}, "contextId": "c1"}',
        '{"context_id": 1.5, "close_context": true}',
        '{"context_id": 0, "flush": true}',
        '{"text": "Hi. ", "context_id": "' + "x" * 129 + '"}',
        "[1]",
        "null",
    ],
)
async def test_a_name_that_is_none_is_an_error_and_ends_no_context(frame: str) -> None:
    """Nobody knows which context was meant, so that neither `default` nor another one ends or gets the text."""
    async with conversing(synthesizer=FakeSynthesizer(speed=20)) as client:
        client.say({"text": "One two. "}, {"text": "Three four. ", "context_id": "c1"})
        client.connection.say(frame)
        client.say({"flush": True}, {"close_context": True, "context_id": "default"})
        client.say({"context_id": "c1", "flush": True}, {"context_id": "c1", "close_context": True})
        await client.until_ended(3)
    (error,) = [end for end in client.ends if "message" in end]
    assert error["error"] == "invalid_parameter" and not {"contextId", "isFinal"} & error.keys()
    finals = [end["contextId"] for end in client.ends if end.get("isFinal")]
    assert sorted(finals) == ["c1", "default"]
    assert sorted(client.spoken) == ["One two.", "Three four."]


@pytest.mark.parametrize(
    ("mistake", "name"),
    [
        ({"text": 5}, "invalid_parameter"),
        ({"text": "Hi. ", "flush": 1}, "invalid_parameter"),
        ({"text": "x" * 2001}, "text_too_long"),
        ({"text": "Hi. ", "close_context": "yes"}, "invalid_parameter"),
        ({"text": "Hi. ", "voice_settings": {"speed": []}}, "invalid_parameter"),
        ({"text": "Hi. ", "generation_config": {"chunk_length_schedule": "all"}}, "invalid_parameter"),
    ],
)
@pytest.mark.parametrize("is_open", [True, False])
async def test_a_mistake_ends_its_context_alone(mistake: Message, name: str, is_open: bool) -> None:
    """Its neighbours hear nothing of it, and the client may use the name again."""
    async with conversing(synthesizer=FakeSynthesizer(speed=2.0)) as client:
        client.say({"text": f"{HELLO} ", "context_id": "neighbour", "flush": True})
        if is_open:
            client.say({"text": "Hello there. ", "context_id": "c1"})
        client.say(mistake | {"context_id": "c1"}, {"text": "And more. ", "context_id": "c1", "flush": True})
        (end,) = await client.until_ended()
        assert (end["error"], end["contextId"], end["isFinal"]) == (name, "c1", True)
        client.say(*of_pipecat("c1", "Hi."), {"context_id": "neighbour", "close_context": True})
        ends = await client.until_ended(3)
    assert sorted(end["contextId"] for end in ends) == ["c1", "c1", "neighbour"]
    assert HELLO in client.spoken and "Hi." in client.spoken and "And more." not in client.spoken


async def test_too_much_waiting_text_ends_its_context() -> None:
    """Nothing is dropped in silence."""
    config = configured(max_buffered_chars=100, max_text_chars=60)
    async with conversing(config=config, synthesizer=FakeSynthesizer(speed=0.1)) as client:
        client.say(*[{"text": "A sentence of a text. ", "context_id": "c1"}] * 20)
        (end,) = await client.until_ended()
        assert (end["error"], end["contextId"]) == ("text_too_long", "c1") and "100" in end["message"]
        assert not client.synthesizer.num_open


@pytest.mark.parametrize("is_multi", [True, False])
async def test_a_failing_engine_is_told_once(is_multi: bool) -> None:
    """The error is the end: LiveKit asks again, and pipecat does not wait for more."""
    synthesizer = FakeSynthesizer()
    synthesizer.fail_on["broken"] = EngineError("it broke")
    async with conversing(is_multi=is_multi, synthesizer=synthesizer) as client:
        client.say(*(of_pipecat("c1", "It is broken.") if is_multi else of_sdk("It is broken. ")))
        (end,) = await client.until_ended()
        assert (end["error"], end["code"], end["message"]) == ("engine_failed", 1011, "it broke")
        if is_multi:
            assert end["contextId"] == "c1" and end["isFinal"] is True
            client.say(*of_pipecat("c2", "Hi."))
            await client.until_ended(2)
        else:
            await client.connection.until_closed()
    assert client.connection.close_code == (1000 if is_multi else 1011)
    assert not any(
        "message" in message for message in client.received if message is not end and message != end
    )


@pytest.mark.parametrize("is_multi", [True, False])
async def test_a_dead_engine_ends_everything_once(is_multi: bool) -> None:
    """Each context, and the connection with it."""
    synthesizer = FakeSynthesizer(speed=1.0)
    async with session(create_for(is_multi=is_multi), None, synthesizer, query=PCM) as (
        running,
        connection,
        _,
    ):
        messages = of_pipecat("c1", HELLO) if is_multi else of_sdk(HELLO)
        for message in messages:
            connection.say(json.dumps(message))
        await eventually(lambda: synthesizer.num_open)
        running.end(CloseRequest(1011, "the engine failed", error=EngineError("dead")))
        await connection.until_closed()
    errors = [frame for frame in connection.sent if isinstance(frame, str) and '"message"' in frame]
    assert connection.close_code == 1011 and len(errors) == (2 if is_multi else 1)


async def test_a_key_may_come_in_three_fields_of_the_first_message() -> None:
    """Without one, or with a wrong one, the connection ends before anything is spoken."""
    for name, value in (
        ("xi-api-key", "secret"),
        ("xi_api_key", "secret"),
        ("authorization", "Bearer secret"),
        ("authorization", "secret"),
    ):
        async with conversing(keys=("secret",)) as client:
            client.say({"text": " ", "context_id": "c1", name: value}, *of_pipecat("c1", "Hi.")[1:])
            assert await client.until_ended() == [{"contextId": "c1", "isFinal": True}]
        assert client.spoken == ["Hi."]
    for first in ({"text": " "}, {"text": "Hi. ", "xi_api_key": "guess"}, {"text": "Hi. ", "xi-api-key": ""}):
        async with conversing(keys=("secret",)) as client:
            client.say(first, *of_pipecat("c1", "Hi."))
            await client.connection.until_closed()
        assert [end["error"] for end in client.ends] == ["invalid_api_key"] and not client.spoken
        assert client.connection.close_code == 1008


@pytest.mark.parametrize(
    ("query", "voice", "name", "told"),
    [
        (PCM, "nobody", "voice_not_found", "nobody"),
        ("output_format=pcm_11025", "tone", "invalid_parameter", "pcm_11025"),
        ("output_format=opus", "tone", "invalid_parameter", "opus_48000_32"),
        ("inactivity_timeout=soon", "tone", "invalid_parameter", "soon"),
        ("auto_mode=maybe", "tone", "invalid_parameter", "auto_mode"),
        ("sync_alignment=2", "tone", "invalid_parameter", "sync_alignment"),
        ("seed=-1", "tone", "invalid_parameter", "seed"),
        ("apply_text_normalization=never", "tone", "invalid_parameter", "auto, on, off"),
        ("&".join(f"x{number}=1" for number in range(100)), "tone", "invalid_parameter", "query"),
    ],
)
async def test_a_wrong_address_is_told_in_a_frame(query: str, voice: str, name: str, told: str) -> None:
    """Clients show the last frame and the reason of the close, and nothing of a refused handshake."""
    async with conversing(query=query, voice=voice) as client:
        client.say(*of_pipecat("c1", "Hi."))
        await client.connection.until_closed()
    assert [end["error"] for end in client.ends] == [name] and told in client.ends[0]["message"]
    assert client.connection.close_code == 1008 and not client.spoken


@pytest.mark.parametrize("speed", [0, 0.2, 4.5, -1, 1e300])
async def test_a_speed_beyond_all_bounds_is_told(speed: float) -> None:
    """With the range that there is."""
    async with conversing() as client:
        client.say({"text": " ", "context_id": "c1", "voice_settings": {"speed": speed}})
        (end,) = await client.until_ended()
    assert end["error"] == "invalid_parameter" and "0.25 to 4" in end["message"] and end["contextId"] == "c1"


async def test_an_overloaded_server_refuses_a_context() -> None:
    """And the connection, if that is all it was for."""
    synthesizer = FakeSynthesizer(speed=1.0)
    config = configured(max_utterances_per_key=1)
    async with conversing(config=config, synthesizer=synthesizer) as client:
        client.say({"text": HELLO, "context_id": "c1", "flush": True}, *of_pipecat("c2", "Hi."))
        (end,) = await client.until_ended()
        assert (end["error"], end["contextId"], end["isFinal"]) == ("overloaded", "c2", True)


async def test_settings_that_are_repeated_are_ignored() -> None:
    """Only the message that opens a context says how fast it is spoken."""
    lengths = []
    for speed, later in ((1.0, 1.0), (1.0, 2.0), (2.0, 1.0), (2.0, None)):
        async with conversing() as client:
            client.say({"text": " ", "context_id": "c1", "voice_settings": {"speed": speed, "style": 0.5}})
            settings = None if later is None else {"speed": later}
            client.say({"text": HELLO, "context_id": "c1", "voice_settings": settings, "flush": True})
            client.say({"context_id": "c1", "close_context": True})
            await client.until_ended()
        lengths.append(len(sound(client.received)) / 48)
    assert lengths[0] == lengths[1] and lengths[2] == lengths[3]
    assert lengths[0] == pytest.approx(2 * lengths[2], rel=0.1)


@pytest.mark.parametrize("clock", ["", "&sync_alignment=true"])
@pytest.mark.parametrize("speed", [None, 0.7, 1.2])
async def test_words_have_their_times_by_both_clocks(clock: str, speed: float | None) -> None:
    """Read as the clients of each clock do, every word comes once, in order, and inside the sound."""
    text = "The first sentence is here. The second one follows it, after a pause. And the third ends."
    config, synthesizer = configured(speech={"lead_ms": None}), FakeSynthesizer(ms_per_char=60.0)
    async with conversing(query=PCM + clock, config=config, synthesizer=synthesizer) as client:
        client.say({"text": " ", "context_id": "c1", "voice_settings": {"speed": speed}})
        client.say(*of_pipecat("c1", text)[1:3])
        await eventually(lambda: len(client.spoken) == 3)
        client.say({"context_id": "c1", "close_context": True})
        await eventually(lambda: client.ends)
    found = words(client.received, is_absolute=bool(clock))
    assert [word for word, _ in found] == text.split()
    begins = [begin for _, begin in found]
    length_s = len(sound(client.received)) / 48_000
    assert begins == sorted(begins) and begins[0] < 0.1 and length_s - 1.5 < begins[-1] < length_s
    share = [text.index(word) / len(text) for word in ("second", "third")]
    for word, expected in zip(("second", "third"), share, strict=True):
        begin = next(begin for found_word, begin in found if found_word == word)
        assert begin / length_s == pytest.approx(expected, abs=0.08)


@pytest.mark.parametrize(
    "last", [{"text": ""}, {"close_socket": True}, {"close_context": True}, "{", b"\x00"]
)
async def test_nothing_follows_the_end_of_a_text(last: Message | str | bytes) -> None:
    """Whatever was its end, and also if the engine fails before the connection is closed."""
    async with session(create_for(is_multi=False)) as (_, _, protocol):
        protocol.receive(last if isinstance(last, str | bytes) else json.dumps(last))
        again = protocol.failed(EngineError("dead"))
    assert [type(action) for action in again] == [Close]
