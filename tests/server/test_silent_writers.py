"""An utterance whose client has forgotten to end its text ends by itself, in each protocol's own shape."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from wyoming.tts import SynthesizeChunk, SynthesizeStart

from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import Running, configured, eventually, running
from tests.server.telephony.phones import Phone, calling, driving
from tests.server.wyoming import speaking as home_assistant

IDLE_S = 0.3
HASTY = {"max_buffer_ms": 20}
"""What is left of a text is spoken soon."""


async def rest(connection: ClientConnection, until: str) -> list[dict[str, Any]]:
    """The messages up to the first with this text in it, or to the end of the connection."""
    messages = []
    try:
        async with asyncio.timeout(10):
            while not messages or until not in json.dumps(messages[-1]):
                frame = await connection.recv()
                messages += [json.loads(frame)] if isinstance(frame, str) else []
    except ConnectionClosed:
        pass
    return messages


def opened(speaking: Running, path: str) -> connect:
    return connect(f"ws://127.0.0.1:{speaking.server.port}{path}", proxy=None, compression=None)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", {}),
        ("One. ", {}),
        ("One. Two", {}),
        ("One", {"max_buffer_ms": None}),  # which is never spoken
        ("One. [pause:0.1]", {}),
        ("...", {}),
        ("<p>One", {}),
    ],
)
async def test_a_native_utterance_fails(text: str, options: dict[str, Any]) -> None:
    """`done` says why, once, behind what was said; the session continues."""
    async with (
        running(configured(speech=HASTY, idle_timeout_s=IDLE_S)) as speaking,
        speaking.client() as client,
    ):
        await client.say("start", id="a", **options)
        if text:
            await client.say("text", id="a", text=text)
        done = await client.until("done", id="a")
        assert (done["reason"], done["error"]["code"]) == ("failed", "idle_timeout")
        await client.say("speak", id="c", text="Three.")
        await client.until("done", id="c")
        assert [message["id"] for message in client.messages("done")].count("a") == 1
        assert len(client.messages("sentence_start")) >= ("One. " in text) + 1


async def test_a_writer_that_continues_keeps_its_utterance() -> None:
    """Every text counts, an empty one, too."""
    async with (
        running(configured(speech=HASTY, idle_timeout_s=IDLE_S)) as speaking,
        speaking.client() as client,
    ):
        await client.say("start", id="a")
        for text in ("One. ", "", "", "Two."):
            await client.say("text", id="a", text=text)
            await asyncio.sleep(0.6 * IDLE_S)
        await client.say("end", id="a")
        assert (await client.until("done"))["reason"] == "completed"


async def test_speech_that_is_slow_or_waits_for_its_turn_is_not_silence() -> None:
    """The client has said what it wants, and is not to blame for what takes long."""
    synthesizer = FakeSynthesizer(speed=0.2)
    async with (
        running(configured(speech=HASTY, idle_timeout_s=IDLE_S), synthesizer) as speaking,
        speaking.client() as client,
    ):
        await client.say("start", id="a", lead_ms=0)
        await client.say("text", id="a", text="One two three. ")
        await client.say("start", id="b", after="a")
        await client.say("text", id="b", text="Four. ")
        await client.until("sentence_end", id="a")
        await client.say("end", id="a")
        assert (await client.until("done", id="a"))["reason"] == "completed"
        await client.until("sentence_end", id="b")
        assert (await client.until("done", id="b"))["error"]["code"] == "idle_timeout"


async def test_deepgrams_turn_ends_with_an_error() -> None:
    """The connection continues, and what is said next is spoken."""
    async with (
        running(configured(speech=HASTY, idle_timeout_s=IDLE_S)) as speaking,
        opened(speaking, "/v1/speak") as line,
    ):
        await line.send(json.dumps({"type": "Speak", "text": "One. "}))
        (*_, error) = await rest(line, "Error")
        assert (error["type"], error["code"]) == ("Error", "idle_timeout")
        await line.send(json.dumps({"type": "Speak", "text": "Two. "}))
        await line.send(json.dumps({"type": "Flush"}))
        (*_, flushed) = await rest(line, "Flushed")
        assert flushed["type"] == "Flushed"
        assert [request.text for request in speaking.synthesizer.requests] == ["One.", "Two."]


async def test_a_text_buffers_item_fails() -> None:
    path = "/v1/audio/speech/websocket?model=any"
    async with (
        running(configured(speech=HASTY, idle_timeout_s=IDLE_S)) as speaking,
        opened(speaking, path) as line,
    ):
        await line.send(json.dumps({"type": "input_text_buffer.append", "text": "One. "}))
        (*_, failed) = await rest(line, "tts.failed")
        assert failed["type"] == "conversation.item.tts.failed"
        assert failed["error"]["code"] == "idle_timeout"


async def test_a_wyoming_stream_ends_with_an_error() -> None:
    """And with it the connection, so that no client waits for sound that will not come."""
    config = home_assistant.with_wyoming(idle_timeout_s=IDLE_S)
    async with running(config) as speaking, home_assistant.client_of(speaking) as client:
        await client.write_event(SynthesizeStart().event())
        await client.write_event(SynthesizeChunk("One. ").event())
        events = await home_assistant.rest(client)
        assert events[-1].type == "error" and events[-1].data["code"] == "idle_timeout"


async def hear(phone: Phone) -> None:
    """The telephone sends the caller's sound as long as the call lasts."""
    while True:
        await phone.say("media", media={"payload": ""})
        await asyncio.sleep(IDLE_S / 3)


async def test_a_call_tells_its_program() -> None:
    """The telephone gets the mark behind what was said, and the call continues."""
    async with (
        running(configured(speech=HASTY, idle_timeout_s=IDLE_S)) as speaking,
        calling(speaking) as phone,
        driving(speaking) as program,
    ):
        await program.until("start")
        await program.say("text", text="One. ")
        hearing = asyncio.create_task(hear(phone))
        done = (await program.until("done"))["done"]
        hearing.cancel()
        assert (done["reason"], done["error"]["code"]) == ("failed", "idle_timeout")
        await phone.until_mark("streamer-1")


@pytest.mark.parametrize("begin", [{"text": "One. ", "context_id": "c1"}, {"text": " ", "context_id": "c1"}])
async def test_contexts_end_as_their_vendor_has_it(begin: dict[str, Any]) -> None:
    """ElevenLabs' `inactivity_timeout` finishes a context before this server's own patience ends."""
    path = "/v1/text-to-speech/tone/multi-stream-input?inactivity_timeout=0.2&output_format=pcm_24000"
    async with running() as speaking, opened(speaking, path) as line:
        await line.send(json.dumps(begin))
        (*_, final) = await rest(line, '"isFinal": true')
        assert final == {"contextId": "c1", "isFinal": True}
        await eventually(lambda: not speaking.synthesizer.num_open)
