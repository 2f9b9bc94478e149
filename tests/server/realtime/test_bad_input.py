"""What a client of OpenAI's realtime API does wrong is one error in OpenAI's shape, and so is what fails."""

from __future__ import annotations

import pytest

from streamer.errors import EngineError
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.realtime.speaking import connected, message, speak
from tests.server.speaking import configured, running

TEXT = "One two three four."


@pytest.mark.parametrize(
    ("frame", "code", "param"),
    [
        ("hello", "invalid_message", None),
        ("[]", "invalid_parameter", None),
        ("{}", "invalid_parameter", "type"),
        ('{"type": 7}', "invalid_parameter", "type"),
        ('{"type": "speak"}', "unknown_type", "type"),
        ('{"type": "input_audio_buffer.append", "audio": ""}', "unknown_type", "type"),
        ('{"type": "session.update"}', "invalid_parameter", "session"),
        (
            '{"type": "session.update", "session": {"type": "transcription"}}',
            "invalid_parameter",
            "session.type",
        ),
        (
            '{"type": "session.update", "session": {"output_modalities": ["text"]}}',
            "invalid_parameter",
            "output_modalities",
        ),
        (
            '{"type": "session.update", "session": {"modalities": ["audio", "text"], "input_audio_format": "pcm16"}}',
            "invalid_parameter",
            "modalities",
        ),
        ('{"type": "session.update", "session": {"voice": "alloy"}}', "invalid_parameter", "voice"),
        (
            '{"type": "session.update", "session": {"output_audio_format": "g711_ulaw", "temperature": 0.8}}',
            "invalid_parameter",
            "output_audio_format",
        ),
        (
            '{"type": "response.create", "response": {"modalities": ["text"]}}',
            "invalid_parameter",
            "modalities",
        ),
        ('{"type": "response.create", "response": {"voice": "tone"}}', "invalid_parameter", "voice"),
        (
            '{"type": "response.create", "response": {"output_audio_format": "pcm16"}}',
            "invalid_parameter",
            "output_audio_format",
        ),
        (
            '{"type": "session.update", "session": {"audio": {"output": {"voice": "nobody"}}}}',
            "voice_not_found",
            "voice",
        ),
        (
            '{"type": "session.update", "session": {"audio": {"output": {"speed": 9}}}}',
            "invalid_parameter",
            "session.audio.output.speed",
        ),
        (
            '{"type": "session.update", "session": {"audio": {"output": {"format": {"type": "audio/mp3"}}}}}',
            "invalid_parameter",
            "session.audio.output.format.type",
        ),
        (
            '{"type": "session.update", "session": {"audio": {"output": {"format": {"rate": 16000}}}}}',
            "invalid_parameter",
            "audio.output.format.rate",
        ),
        ('{"type": "conversation.item.create", "item": {"role": "robot"}}', "invalid_parameter", "item.role"),
        (
            '{"type": "conversation.item.create", "item": {"type": "function_call"}}',
            "invalid_parameter",
            "item.type",
        ),
        (
            '{"type": "conversation.item.create", "item": {"role": "user", "content": [{"type": "input_audio"}]}}',
            "invalid_parameter",
            "item.content",
        ),
        ('{"type": "conversation.item.delete", "item_id": "none"}', "invalid_parameter", "item_id"),
        (
            '{"type": "conversation.item.truncate", "item_id": "none", "content_index": 0, "audio_end_ms": 1}',
            "invalid_parameter",
            "item_id",
        ),
        ('{"type": "response.create"}', "invalid_parameter", "response.input"),
        ('{"type": "response.create", "response": {"input": []}}', "invalid_parameter", "response.input"),
        ('{"type": "response.cancel"}', "response_cancel_not_active", "response_id"),
        (
            '{"type": "response.create", "response": {"input": [{"role": "user", "content": [{"type": "input_text", '
            '"text": "' + "a" * 8001 + '"}]}]}}',
            "text_too_long",
            "text",
        ),
        ('{"type": "response.create", "response": ' + "[" * 50_000, "invalid_message", None),
        (b"\x00", "invalid_message", None),
        ("x" * 70_000, "invalid_message", None),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_a_wrong_event_is_one_error_in_openais_shape(
    frame: str | bytes, code: str, param: str | None
) -> None:
    """The session continues."""
    async with running() as speaking, connected(speaking) as client:
        await client.connection.send(frame)
        error = (await client.next())["error"]
        assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)
        assert (await speak(client, "One."))["status"] == "completed"
        assert client.types.count("error") == 1


async def test_an_error_names_its_event() -> None:
    """The client's `event_id` comes back, also from an event whose fields are wrong."""
    async with running() as speaking, connected(speaking) as client:
        await client.say("response.create", event_id="mine", response=7)
        assert (await client.next())["error"]["event_id"] == "mine"


async def test_another_model_is_refused() -> None:
    async with running() as speaking, connected(speaking, "/v1/realtime?model=whisper-1") as client:
        assert client.received[0]["error"]["code"] == "model_not_found"
        await client.rest()
        assert client.connection.close_code == 4000


async def test_a_response_that_fails_says_so_once() -> None:
    """Its `response.done` has the error, and the session continues."""
    synthesizer = FakeSynthesizer()
    synthesizer.fail_on["two"] = EngineError("no luck")
    async with running(synthesizer=synthesizer) as speaking, connected(speaking) as client:
        response = await speak(client, TEXT)
        assert response["status"] == "failed"
        assert response["status_details"]["error"]["code"] == "engine_failed"
        assert "error" not in client.types
        assert (await speak(client, "Five."))["status"] == "completed"


async def test_a_refused_response_keeps_the_conversation() -> None:
    """What the server has no room for now may be asked for again."""
    config = configured(max_utterances_per_key=1)
    async with running(config, FakeSynthesizer(speed=5)) as speaking, connected(speaking) as client:
        await client.say("response.create", response={"conversation": "none", "input": [message(TEXT)]})
        await client.say("conversation.item.create", item=message("Five."))
        await client.say("response.create", event_id="early")
        error = (await client.until("error"))["error"]
        assert (error["code"], error["event_id"]) == ("overloaded", "early")
        await client.until("response.done")
        await client.say("response.create")
        await client.until("response.done")
        assert speaking.synthesizer.requests[-1].text == "Five."


async def test_items_are_bounded() -> None:
    """Neither their number nor their text grows beyond what may wait."""
    async with running() as speaking, connected(speaking) as client:
        for _ in range(65):
            await client.say("conversation.item.create", item=message("One."))
        assert (await client.until("error"))["error"]["code"] == "overloaded"
        await client.say("response.create")
        await client.until("response.done")
        for _ in range(9):
            await client.say("conversation.item.create", item=message("a" * 1000))
        assert (await client.until("error"))["error"]["code"] == "text_too_long"
