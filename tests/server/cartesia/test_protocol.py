"""Cartesia's protocol over a WebSocket: contexts are spoken side by side, and each ends with one message."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streamer.errors import EngineError
from streamer.server.cartesia import protocol
from tests.audio.decoding import decode_numbers
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.cartesia.client import NEW, OLD, RAW, connected
from tests.server.speaking import configured, eventually, figure, running

TEXT = "One two three four five."


def ms_of(text: str) -> float:
    """How long the fake synthesizer speaks a sentence."""
    return 20 * len(text)


def is_length_of(sound_ms: float, text: str) -> bool:
    """Whether a sound is as long as these sentences, with pauses between them."""
    return 0 <= sound_ms - ms_of(text) + 45 <= 300 * (text.count(".") + text.count("?"))


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    """The types of messages, chunks left out."""
    return [message["type"] for message in messages if message["type"] != "chunk"]


async def test_a_single_request_is_spoken_and_done() -> None:
    """Chunks with status 206, and then `done` with 200."""
    async with running() as server, connected(server) as client:
        await client.say(TEXT)
        done = await client.until("done")
        assert done == {"type": "done", "done": True, "status_code": 200, "context_id": "c"}
        chunk = client.received[0]
        assert chunk["status_code"] == 206 and chunk["flush_id"] == 1 and chunk["step_time"] >= 0
        assert len(client.sound()) / 48 == pytest.approx(ms_of(TEXT), abs=45)
        assert kinds(client.received) == ["done"]
        await eventually(lambda: figure(server.server, "tts_requests_running") == 0)


@pytest.mark.parametrize("rate_hz", [8000, 16000, 22050, 24000, 44100, 48000])
@pytest.mark.parametrize(
    ("encoding", "sample_bytes"), [("pcm_s16le", 2), ("pcm_f32le", 4), ("pcm_mulaw", 1), ("pcm_alaw", 1)]
)
async def test_each_encoding_and_rate(encoding: str, sample_bytes: int, rate_hz: int) -> None:
    """The samples are as many as the text takes at that rate, and as loud as they were made."""
    async with running() as server, connected(server) as client:
        output_format = {"container": "raw", "encoding": encoding, "sample_rate": rate_hz}
        await client.say(TEXT, output_format=output_format)
        await client.until("done")
    sound = client.sound()
    assert len(sound) / sample_bytes / rate_hz * 1000 == pytest.approx(ms_of(TEXT), abs=45)
    if encoding == "pcm_f32le":
        samples = np.frombuffer(sound, "<f4").astype(np.float64)
    elif encoding == "pcm_s16le":
        samples = np.frombuffer(sound, "<i2") / 32_768
    else:
        samples = decode_numbers(sound, encoding) / 32_768
    assert np.abs(samples).max() == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize(
    ("config", "length", "level"),
    [
        ({}, 1.0, 0.3),
        ({"speed": None, "volume": None, "emotion": "angry"}, 1.0, 0.3),
        ({"speed": 1.5}, 1 / 1.5, 0.3),
        ({"speed": 0.6}, 1 / 0.6, 0.3),
        ({"volume": 2.0}, 1.0, 0.6),
        ({"volume": 0.5, "speed": 1.25, "emotion": ["sad"]}, 0.8, 0.15),
        ({"volume": 0}, 1.0, 0.0),
    ],
)
async def test_speed_and_volume_are_followed(config: dict[str, Any], length: float, level: float) -> None:
    """Emotions are not: the model knows none."""
    async with running() as server, connected(server) as client:
        await client.say(TEXT, generation_config=config, output_format=RAW | {"encoding": "pcm_f32le"})
        await client.until("done")
    samples = np.frombuffer(client.sound(), "<f4")
    assert len(samples) / 24 == pytest.approx(ms_of(TEXT) * length, abs=60)
    assert np.abs(samples).max() == pytest.approx(level, abs=0.03)


@pytest.mark.parametrize(("speed", "length"), [("slow", 1.25), ("normal", 1.0), ("fast", 0.8), (2, 0.5)])
async def test_older_versions_have_words_for_a_speed(speed: str | float, length: float) -> None:
    """`speed` beside the transcript."""
    async with running() as server, connected(server) as client:
        await client.say(TEXT, speed=speed)
        await client.until("done")
    assert len(client.sound()) / 48 == pytest.approx(ms_of(TEXT) * length, abs=60)


@pytest.mark.parametrize(
    ("voice", "language", "spoken_by"),
    [
        ({"mode": "id", "id": "v2/de_two"}, "de", "v2/de_two"),
        ({"id": "v2_de_two"}, None, "v2/de_two"),
        ("de_two", "de-AT", "v2/de_two"),
        ({"mode": "id", "id": None}, "en", "v2/en_one"),
        (None, None, "v2/en_one"),
        ("6ccbfb76-1fc6-48f7-b71d-91ac6298247b", "en", "v2/en_one"),
        ({"mode": "id", "id": "6CCBFB76-1fc6-48f7-b71d-91ac6298247b"}, "de", "v2/de_two"),
        ("6ccbfb76-1fc6-48f7-b71d-91ac6298247b", "sv", "v2/en_one"),
    ],
)
async def test_a_voice_is_an_object_or_a_name(voice: Any, language: str | None, spoken_by: str) -> None:
    """The default voice speaks for Cartesia's own, or one that knows the language."""
    synthesizer = FakeSynthesizer(voices=("v2/en_one", "v2/de_two"), languages=("en", "de"))
    async with running(synthesizer=synthesizer) as server, connected(server) as client:
        await client.say(TEXT, voice=voice, language=language)
        await client.until("done")
    assert {request.voice for request in synthesizer.requests} == {spoken_by}


@pytest.mark.parametrize("delay_ms", [None, 0, 1, 3000, 5000])
async def test_a_text_comes_in_pieces(delay_ms: int | None) -> None:
    """The context continues until a message says that it does not; pipecat's last one is empty, LiveKit's a space."""
    async with running() as server, connected(server) as client:
        for context_id, last in (("a", ""), ("b", " "), ("c", "And this too.")):
            for text in ("Hello there. ", "How are you? "):
                await client.say(text, context_id, max_buffer_delay_ms=delay_ms, **{"continue": True})
            await client.say(last, context_id, max_buffer_delay_ms=delay_ms)
            await client.until("done", context_id=context_id)
            spoken = "Hello there. How are you? " + last.strip()
            assert is_length_of(len(client.sound(context_id)) / 48, spoken)
            assert kinds(client.of(context_id)) == ["flush_done"] * (2 * (delay_ms == 0)) + ["done"]


@pytest.mark.parametrize(
    ("texts", "sentences"),
    [
        (("Hello ", "there, ", "how ", "are ", "you?"), ["Hello there, how are you?"]),
        (("Hello there friends.", "How are you?"), ["Hello there friends.", "How are you?"]),
        (("It costs 5.", "5 dollars today."), ["It costs 5.5 dollars today."]),
        (("Hel", "lo the", "re."), ["Hello there."]),
        (("Wait here!", "what is that thing?"), ["Wait here!", "what is that thing?"]),
    ],
)
async def test_texts_are_joined(texts: tuple[str, ...], sentences: list[str]) -> None:
    """As they are written, and a message that ends a sentence is parted from the next."""
    async with running() as server, connected(server) as client:
        for text in texts:
            await client.say(text, **{"continue": True})
        await client.say("")
        await client.until("done")
    assert [request.text for request in server.synthesizer.requests] == sentences


@pytest.mark.parametrize(
    ("version", "first"),
    [(NEW, 1), (OLD, 1), ("2024-11-13", 0), ("2024-06-10", 0), ("2025-01-01", 1), ("newest", 1), ("", 1)],
)
async def test_flushes_are_numbered(version: str, first: int) -> None:
    """`flush_done` names the flush whose sound came before it; what follows has the next number.

    Clients of 2024 count from 0.
    """
    texts = ["One two three.", "Four five.", "Six seven eight nine."]
    async with running() as server, connected(server, f"cartesia_version={version}") as client:
        await client.say("", "empty", flush=True, **{"continue": True})
        assert (await client.until("flush_done"))["flush_id"] == first
        for text in texts:
            await client.say(text, **{"continue": True})
            await client.say("", flush=True, **{"continue": True})
        await client.say("The end.")
        await client.until("done")
    assert [message["flush_id"] for message in client.of("c", "flush_done")] == [first, first + 1, first + 2]
    assert all(message["flush_done"] is True for message in client.of("c", "flush_done"))
    for index, text in enumerate([*texts, "The end."]):
        sound = client.sound(flush_id=first + index)
        assert len(sound) / 48 == pytest.approx(ms_of(text), abs=300)
    order = [(m["type"], m["flush_id"]) for m in client.of("c") if "flush_id" in m]
    assert order == sorted(order, key=lambda item: (item[1], item[0] == "flush_done"))


@pytest.mark.parametrize("speed", [1.0, 1.5])
async def test_each_word_has_its_time_once(speed: float) -> None:
    """In order, in seconds from the context's beginning, no later than the sound in which the word begins."""
    texts = ["One two three four. ", "Five six seven eight nine. ", "Ten."]
    words, sent_s = [], 0.0
    async with running() as server, connected(server) as client:
        for text in texts:
            config = {"speed": speed}
            await client.say(text, add_timestamps=True, generation_config=config, **{"continue": True})
        await client.say("")
        await client.until("done")
    for message in client.received:
        if message["type"] == "timestamps":
            times = message["word_timestamps"]
            assert len(times["words"]) == len(times["start"]) == len(times["end"]) > 0
            words += list(zip(times["words"], times["start"], times["end"], strict=True))
            assert all(start >= sent_s - 0.3 for start in times["start"])
        elif message["type"] == "chunk":
            sent_s += len(base64.b64decode(message["data"])) / 48_000
    assert [word for word, _, _ in words] == "One two three four. Five six seven eight nine. Ten.".split()
    starts = [start for _, start, _ in words]
    assert starts == sorted(starts) and starts[0] < 0.1
    assert all(start <= end <= sent_s + 0.5 for _, start, end in words)


async def test_no_word_times_unless_they_are_asked_for() -> None:
    """Nor for `false` and null."""
    async with running() as server, connected(server) as client:
        for context_id, wish in (
            ("a", {}),
            ("b", {"add_timestamps": False}),
            ("c", {"add_timestamps": None}),
        ):
            await client.say(TEXT, context_id, **wish)
            await client.until("done", context_id=context_id)
        assert not [message for message in client.received if message["type"] == "timestamps"]


async def test_contexts_are_spoken_side_by_side() -> None:
    """None waits for another, and each has the sound of its own text."""
    texts = {f"c{index}": "Word after word. " * (index + 1) for index in range(6)}
    async with running(synthesizer=FakeSynthesizer(speed=4.0)) as server, connected(server) as client:
        for context_id, text in texts.items():
            await client.say(text, context_id)
        for _ in texts:
            await client.until("done")
    order = [message["context_id"] for message in client.received if message["type"] == "done"]
    assert order[0] == "c0" and order[-1] == "c5" and sorted(order) == sorted(texts)
    for context_id, text in texts.items():
        assert is_length_of(len(client.sound(context_id)) / 48, text)
    first = [message["context_id"] for message in client.received[:12]]
    assert len(set(first)) > 3


async def test_a_forgotten_context_costs_no_more_than_the_lead() -> None:
    """A client that drops a context sends nothing; at most `lead_ms` of it is sent ahead of its playback."""
    config = configured(speech={"lead_ms": 200})
    async with running(config) as server, connected(server) as client:
        await client.say("Word after word after word. " * 20, "dead")
        await client.until("chunk")
        await client.say(TEXT, "new")
        await client.until("done", context_id="new")
        assert len(client.sound("dead")) / 48 < ms_of("Word after word after word. " * 20) / 2
        await client.send(context_id="dead", cancel=True)
        await eventually(lambda: figure(server.server, "tts_requests_running") == 0)


@pytest.mark.parametrize("continues", [True, False])
@pytest.mark.parametrize("flush", [True, False])
async def test_nothing_follows_a_cancel(continues: bool, flush: bool) -> None:
    """Not even `done`, while other contexts go on; the id may be used again."""
    synthesizer = FakeSynthesizer(speed=1.0)
    async with running(synthesizer=synthesizer) as server, connected(server) as client:
        await client.say("A long text that takes a while.", "other")
        await client.say(
            "A long text that takes a while. ", flush=flush and continues, **{"continue": continues}
        )
        await client.until("chunk", context_id="c")
        await client.send(context_id="c", cancel=True)
        await client.say("...", "mark")
        await client.until("done", context_id="mark")
        num_received = len(client.of("c"))
        synthesizer.speed = None
        await client.until("done", context_id="other")
        assert len(client.of("c")) == num_received and not client.of("c", "done", "error", "flush_done")
        await client.say(TEXT)
        await client.until("done", context_id="c")
        await eventually(lambda: figure(server.server, "tts_requests_running") == 0)


async def test_what_is_unknown_may_be_cancelled() -> None:
    """Also what is over, and twice: clients do so, and wait for no answer."""
    async with running() as server, connected(server) as client:
        await client.say(TEXT)
        await client.until("done")
        for context_id in ("c", "c", "never", ""):
            await client.send(context_id=context_id, cancel=True)
        await client.say(TEXT, "next")
        await client.until("done")
        assert kinds(client.received) == ["done", "done"]


@pytest.mark.parametrize("transcript", ["", " ", "\n", None])
async def test_an_empty_context_is_done_at_once(transcript: str | None) -> None:
    """It has nothing to say and needs nothing."""
    async with running() as server, connected(server) as client:
        await client.send(context_id="c", transcript=transcript)
        assert (await client.next())["type"] == "done"
        await client.say("", flush=True, **{"continue": True})
        assert (await client.next())["type"] == "flush_done"
        assert not server.synthesizer.requests


@pytest.mark.parametrize("text", ["...", "😊", "♪ ♪"])
async def test_a_text_without_a_word_is_done(text: str) -> None:
    """It has no sound."""
    async with running() as server, connected(server) as client:
        await client.say(text)
        assert (await client.until("done"))["context_id"] == "c"


async def test_a_context_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that never says that a context is complete has its `done` some time after the last text."""
    monkeypatch.setattr(protocol, "CONTEXT_TIMEOUT_S", 0.2)
    async with running() as server, connected(server) as client:
        await client.say(TEXT, "a", **{"continue": True})
        await client.say("And a half", "b", max_buffer_delay_ms=5000, **{"continue": True})
        done = {(await client.until("done"))["context_id"], (await client.until("done"))["context_id"]}
        assert done == {"a", "b"} and client.sound("b")
        await eventually(lambda: figure(server.server, "tts_requests_running") == 0)
        await client.say(TEXT, "a")
        await client.until("done", context_id="a")


async def test_a_context_that_is_written_to_does_not_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time begins with each message."""
    monkeypatch.setattr(protocol, "CONTEXT_TIMEOUT_S", 0.4)
    async with running() as server, connected(server) as client:
        for word in "one two three four five six".split():
            await client.say(word + " ", **{"continue": True})
            await asyncio.sleep(0.1)
        await client.say("seven.")
        await client.until("done")
        assert kinds(client.received) == ["done"]


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"output_format": None}, "invalid_parameter", "output_format is missing"),
        (
            {"output_format": RAW | {"container": "wav"}},
            "invalid_parameter",
            "output_format.container 'wav' is none of raw",
        ),
        ({"output_format": RAW | {"container": "mp3"}}, "invalid_parameter", "output_format.container 'mp3'"),
        (
            {"output_format": RAW | {"encoding": "opus"}},
            "invalid_parameter",
            "output_format.encoding 'opus' is none of",
        ),
        (
            {"output_format": {"container": "raw"}},
            "invalid_parameter",
            "output_format.sample_rate is missing",
        ),
        (
            {"output_format": RAW | {"sample_rate": 32000}},
            "invalid_parameter",
            "output_format.sample_rate 32000",
        ),
        (
            {"output_format": RAW | {"sample_rate": "x"}},
            "invalid_parameter",
            "output_format.sample_rate is ",
        ),
        ({"voice": "nobody"}, "voice_not_found", "no voice is named 'nobody'"),
        ({"voice": {"mode": "id", "id": "nobody"}}, "voice_not_found", "no voice is named 'nobody'"),
        ({"voice": {"mode": "embedding", "embedding": [0.1]}}, "invalid_parameter", "voice.mode 'embedding'"),
        ({"voice": {"embedding": [0.1]}}, "invalid_parameter", "voice.embedding: this server"),
        ({"voice": {"mode": None, "embedding": [0.1]}}, "invalid_parameter", "voice.embedding: this server"),
        ({"voice": {"id": None, "embedding": []}}, "invalid_parameter", "voice.embedding: this server"),
        ({"voice": 7}, "invalid_parameter", "voice is "),
        ({"generation_config": {"speed": 9}}, "invalid_parameter", "generation_config.speed is "),
        ({"generation_config": {"volume": -1}}, "invalid_parameter", "generation_config.volume is "),
        ({"speed": "breakneck"}, "invalid_parameter", "speed 'breakneck' is none of"),
        ({"speed": 99}, "invalid_parameter", "speed 99 is not from"),
        ({"max_buffer_delay_ms": 5001}, "invalid_parameter", "max_buffer_delay_ms is "),
        ({"max_buffer_delay_ms": -1}, "invalid_parameter", "max_buffer_delay_ms is "),
        ({"add_phoneme_timestamps": True}, "invalid_parameter", "add_phoneme_timestamps: this server knows"),
        ({"transcript": 5}, "invalid_parameter", "transcript is "),
        ({"transcript": "x" * 2001}, "text_too_long", "transcript has 2001 characters"),
        ({"continue": "yes"}, "invalid_parameter", "continue is "),
        ({"context_id": 5}, "invalid_parameter", "context_id is "),
    ],
)
@pytest.mark.parametrize("version", [NEW, OLD])
async def test_a_wrong_request_ends_its_context(
    fields: dict[str, Any], code: str, message: str, version: str
) -> None:
    """The error is the context's last message, in the version's shape; the others are spoken on."""
    async with running() as server, connected(server, f"cartesia_version={version}") as client:
        await client.say("Hello there, this is well. ", "other", **{"continue": True})
        await client.say(**{"transcript": TEXT} | fields)
        error = await client.until("error")
        assert error["context_id"] == ("" if "context_id" in fields else "c")
        assert error["status_code"] == (404 if code == "voice_not_found" else 400)
        if version == NEW:
            assert error["error_code"] == code and error["message"].startswith(message)
            assert error["title"] and error["request_id"] and "error" not in error
        else:
            assert error["error"].partition(": ")[2].startswith(message) and "error_code" not in error
        await client.say("And so is this.", "other")
        await client.until("done", context_id="other")
        assert kinds(client.received) == ["error", "done"]


@pytest.mark.parametrize(
    "frame", ["", "{", "[]", "null", "7", b"\x00", "[" * 9000, '{"context_id": "\\ud800"}']
)
async def test_what_is_no_message_is_reported(frame: str | bytes) -> None:
    """With an empty context, because clients want one in each message."""
    async with running() as server, connected(server) as client:
        await client.connection.send(frame)
        error = await client.until("error")
        assert error["context_id"] == "" and error["status_code"] == 400
        await client.say(TEXT)
        await client.until("done")


async def test_a_wrong_message_ends_the_context_that_it_names() -> None:
    """Its sound stops, and nothing of it follows the error."""
    synthesizer = FakeSynthesizer(speed=1.0)
    async with running(synthesizer=synthesizer) as server, connected(server) as client:
        for wrong in ({"transcript": 5}, {"transcript": "x" * 2001}, {"flush": "yes"}):
            await client.say("A long text that takes a while. ", **{"continue": True})
            await client.until("chunk")
            await client.say(**{"transcript": "More. "} | wrong)
            await client.until("error")
            await eventually(lambda: figure(server.server, "tts_requests_running") == 0)
        num_chunks = len(client.of("c", "chunk"))
        synthesizer.speed = None
        await client.say(TEXT, "next")
        await client.until("done")
        assert len(client.of("c", "chunk")) == num_chunks


async def test_a_complete_context_takes_no_more_text() -> None:
    """It is an error, except for the empty messages with which clients end a context twice."""
    synthesizer = FakeSynthesizer(speed=1.0)
    async with running(synthesizer=synthesizer) as server, connected(server) as client:
        await client.say("A long text that takes a while.")
        for _ in range(2):
            await client.say("")
            await client.say(" ", flush=True, **{"continue": True})
        await client.until("chunk")
        await client.say("More.")
        error = await client.until("error", "done")
        assert error["error_code"] == "utterance_state" and "had its last text" in error["message"]


@pytest.mark.parametrize(
    ("limits", "code", "status"),
    [
        ({"max_utterances_per_session": 2}, "concurrency_limited", 429),
        ({"max_utterances_per_key": 2}, "concurrency_limited", 429),
    ],
)
async def test_too_many_contexts_are_429(limits: dict[str, Any], code: str, status: int) -> None:
    """The others are spoken on, and there is room again when one is over."""
    synthesizer = FakeSynthesizer(speed=1.0)
    async with running(configured(**limits), synthesizer) as server, connected(server) as client:
        for context_id in ("a", "b", "c"):
            await client.say(TEXT, context_id)
        error = await client.until("error")
        assert (error["context_id"], error["error_code"], error["status_code"]) == ("c", code, status)
        await client.send(context_id="a", cancel=True)
        synthesizer.speed = None
        await client.say(TEXT, "c")
        await client.until("done", context_id="c")


async def test_too_much_text_is_an_error() -> None:
    """What waits to be spoken has a bound, and the error ends the context."""
    async with running(configured(max_buffered_chars=100)) as server, connected(server) as client:
        server.synthesizer.stall_on = "Word"
        for _ in range(3):
            await client.say("Word after word after word after word. ", **{"continue": True})
        error = await client.until("error")
        assert error["error_code"] == "text_too_long" and "100 characters wait" in error["message"]
        await eventually(lambda: figure(server.server, "tts_requests_running") == 0)


@pytest.mark.parametrize("version", [NEW, OLD])
async def test_a_failure_is_the_last_message_of_its_context(version: str) -> None:
    """The neighbour is spoken to its end."""
    async with running() as server:
        headers = {"Cartesia-Version": version}
        async with connected(server, additional_headers=headers) as client:
            server.synthesizer.fail_on["broken"] = EngineError("it broke")
            await client.say("This is well. This is broken. This is not heard.", "bad", add_timestamps=True)
            await client.say("Hello there. This is well.", "good")
            await client.until("error", context_id="bad")
            await client.until("done", context_id="good") if not client.of("good", "done") else None
            assert [kind for kind in kinds(client.of("bad")) if kind != "timestamps"] == ["error"]
            error = client.of("bad", "error")[0]
            assert error["status_code"] == 500 and ("error" in error) == (version == OLD)
            await eventually(lambda: figure(server.server, "tts_requests_running") == 0)


async def test_a_client_that_is_gone_leaves_nothing() -> None:
    """No context outlives its connection."""
    synthesizer = FakeSynthesizer(speed=1.0)
    async with running(synthesizer=synthesizer) as server:
        for _ in range(3):
            async with connected(server) as client:
                for index in range(4):
                    await client.say("A long text. It takes a while.", f"c{index}", **{"continue": index > 1})
                await client.until("chunk")
                client.connection.transport.abort()
        await eventually(lambda: synthesizer.num_open == 0 and server.server.num_sessions == 0)
        assert figure(server.server, "tts_requests_running") == 0


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", {"additional_headers": {"X-API-Key": "secret"}}),
        ("", {"additional_headers": {"Authorization": "Bearer secret"}}),
        ("api_key=secret", {}),
        ("cartesia_version=2025-04-16&access_token=secret", {}),
    ],
)
async def test_the_key_comes_in_a_header_or_the_query(query: str, options: Any, tmp_path: Any) -> None:
    """A browser can only put it into the query."""
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    async with (
        running(configured(server={"api_keys_file": keys})) as server,
        connected(server, query, **options) as client,
    ):
        await client.say(TEXT)
        await client.until("done")


@pytest.mark.parametrize("query", ["", "api_key=guess", "api_key=", "token=secret"])
async def test_no_client_without_a_key(query: str, tmp_path: Any) -> None:
    """The answer is in the version's shape."""
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    async with running(configured(server={"api_keys_file": keys})) as server:
        for version in (NEW, OLD):
            with pytest.raises(InvalidStatus) as refused:
                async with connected(server, query, additional_headers={"Cartesia-Version": version}):
                    pass
            response = refused.value.response
            text = (response.body or b"").decode()
            assert response.status_code == (400 if "token" in query else 401)
            assert json.loads(text)["message"] if version == NEW else ": " in text and "{" not in text


async def test_a_silent_client_is_closed() -> None:
    """But not while a context is open."""
    async with running(configured(idle_timeout_s=1.0)) as server, connected(server) as client:
        server.synthesizer.stall_on = "forever"
        await client.say("This takes forever.")
        await asyncio.sleep(1.2)
        await client.send(context_id="c", cancel=True)
        with pytest.raises(ConnectionClosed) as closed:
            await client.next()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1000


async def test_a_server_that_stops_lets_contexts_end() -> None:
    """New ones are refused."""
    config = configured(drain_timeout_s=5.0)
    async with (
        running(config, FakeSynthesizer(speed=4.0)) as server,
        connected(server) as client,
    ):
        await client.say("One two three four five.")
        await client.until("chunk")
        server.server.stop()
        await asyncio.sleep(0.05)
        await client.say(TEXT, "late")
        assert (await client.until("error"))["context_id"] == "late"
        await client.until("done", context_id="c")
        assert len(client.sound()) / 48 == pytest.approx(ms_of("One two three four five."), abs=45)
