"""Contracts of OpenAI's realtime API as a reader of text, over a real connection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from streamer.errors import EngineError
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.realtime.speaking import Client, connected, message
from tests.server.speaking import configured, eventually, running

TEXT = "One two three four."
RESPONSE = [
    "response.created",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.done",
]


async def speak(client: Client, text: str, **fields: Any) -> dict[str, Any]:
    """Have a text spoken as Open WebUI does; returns the response at its end."""
    await client.say("response.create", response={"conversation": "none", "input": [message(text)], **fields})
    response: dict[str, Any] = (await client.until("response.done"))["response"]
    return response


async def test_a_session_says_what_it_is() -> None:
    """The greeting has the model, the voice and the format, and an update answers with what is in force."""
    async with running() as speaking, connected(speaking) as client:
        session = client.received[0]["session"]
        assert client.received[0]["type"] == "session.created"
        assert (session["type"], session["model"], session["output_modalities"]) == (
            "realtime",
            "fake",
            ["audio"],
        )
        assert session["audio"]["output"] == {
            "format": {"type": "audio/pcm", "rate": 24_000},
            "voice": "tone",
            "speed": 1.0,
        }
        output = {"format": {"type": "audio/pcmu"}, "voice": "other", "speed": 1.5}
        settings = {"type": "realtime", "audio": {"input": {"turn_detection": None}, "output": output}}
        await client.say("session.update", session=settings)
        updated = await client.next()
        assert updated["type"] == "session.updated"
        assert updated["session"]["audio"]["output"] == output


async def test_a_response_speaks_its_input() -> None:
    """The events come in OpenAI's order; the sound is PCM of 24 kHz, the transcript is the text, and both are whole."""
    async with running() as speaking, connected(speaking) as client:
        response = await speak(client, TEXT)
        assert client.types[1:] == RESPONSE
        assert len(client.sound()) == pytest.approx(2 * 24 * 20 * len(TEXT), rel=0.3)
        assert len(client.sound()) % 2 == 0
        assert response["status"] == "completed" and response["conversation_id"] is None
        (item,) = response["output"]
        assert item["content"] == [{"type": "output_audio", "transcript": TEXT}]
        usage = response["usage"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 10
        assert len({event["event_id"] for event in client.received}) == len(client.received)
        ids = {event["response_id"] for event in client.received if "response_id" in event}
        assert ids == {response["id"]}


async def test_a_conversation_is_spoken_once() -> None:
    """What users say waits for `response.create`; instructions and the assistant's own words are not spoken."""
    async with running() as speaking, connected(speaking) as client:
        for item in (
            message("Read aloud what you are given.", "system"),
            message("One two three four five six seven."),
            message("Never spoken.", "assistant"),
            message("Eight.", id="mine"),
        ):
            await client.say("conversation.item.create", item=item)
        await client.until("conversation.item.done", previous_item_id=client.received[-1].get("item_id"))
        await client.say("response.create")
        response = (await client.until("response.done"))["response"]
        assert response["conversation_id"] is not None
        spoken = [request.text for request in speaking.synthesizer.requests]
        assert spoken == ["One two three four five six seven.", "Eight."]
        await client.say("response.create", event_id="again")
        error = (await client.until("error"))["error"]
        assert (error["event_id"], error["param"]) == ("again", "response.input")


async def test_items_are_added_and_deleted() -> None:
    """An item is told when it is there, with the one before it; a deleted one is not spoken."""
    async with running() as speaking, connected(speaking) as client:
        await client.say("conversation.item.create", item=message("One.", id="a"))
        await client.say("conversation.item.create", item=message("Two."))
        added = [await client.next() for _ in range(4)]
        assert [event["type"].rpartition(".")[2] for event in added] == ["added", "done"] * 2
        assert [event["previous_item_id"] for event in added] == [None, None, "a", "a"]
        assert added[0]["item"]["content"] == [{"type": "input_text", "text": "One."}]
        await client.say("conversation.item.delete", item_id="a")
        assert (await client.next())["type"] == "conversation.item.deleted"
        await client.say("response.create")
        await client.until("response.done")
        assert [request.text for request in speaking.synthesizer.requests] == ["Two."]


@pytest.mark.parametrize("names_it", [False, True])
async def test_a_response_is_cancelled(names_it: bool) -> None:
    """Nothing of it follows its `response.done`, which says so; the transcript is what was begun."""
    async with running(synthesizer=FakeSynthesizer(speed=2)) as speaking, connected(speaking) as client:
        text = "One two three four five six seven eight. " * 3
        await client.say("response.create", response={"input": [message(text)]})
        response_id = (await client.until("response.created"))["response"]["id"]
        await client.until("response.output_audio.delta")
        await client.say("response.cancel", **({"response_id": response_id} if names_it else {}))
        response = (await client.until("response.done"))["response"]
        assert response["status"] == "cancelled"
        assert response["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
        assert speaking.synthesizer.num_open == 0
        transcript = response["output"][0]["content"][0]["transcript"]
        assert text.startswith(transcript) and len(transcript) < len(text)
        item_id = response["output"][0]["id"]
        await client.say("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=120)
        assert (await client.next())["audio_end_ms"] == 120
        assert (await speak(client, "Next."))["status"] == "completed"
        assert not client.sound(response_id=response_id) or client.types.count("response.done") == 2


async def test_responses_side_by_side() -> None:
    """The conversation has one response at a time; others are made beside it, and told apart by their ids."""
    async with running(synthesizer=FakeSynthesizer(speed=20)) as speaking, connected(speaking) as client:
        await client.say("response.create", response={"input": [message(TEXT)]})
        await client.say("response.create", response={"input": [message("Five.")]})
        assert (await client.until("error"))["error"]["code"] == "conversation_already_has_active_response"
        await client.say(
            "response.create", response={"conversation": "none", "input": [message("Six seven.")]}
        )
        done = [(await client.until("response.done"))["response"] for _ in range(2)]
        assert {response["status"] for response in done} == {"completed"}
        for response in done:
            assert client.sound(response_id=response["id"])


@pytest.mark.parametrize(("kind", "bytes_per_ms"), [("audio/pcm", 48), ("audio/pcmu", 8), ("audio/pcma", 8)])
async def test_a_response_may_have_its_own_sound(kind: str, bytes_per_ms: int) -> None:
    """Format, voice and speed of one response leave the session's alone."""
    async with running() as speaking, connected(speaking) as client:
        output = {"format": {"type": kind}, "voice": {"id": "other"}, "speed": 2.0}
        response = await speak(client, TEXT, audio={"output": output}, metadata={"mine": "1"})
        assert len(client.sound()) == pytest.approx(bytes_per_ms * 20 * len(TEXT) / 2, rel=0.3)
        assert response["metadata"] == {"mine": "1"}
        await speak(client, TEXT)
        assert [request.voice for request in speaking.synthesizer.requests] == ["other", "tone"]


async def test_openais_voices_stand_for_the_models() -> None:
    """By the operator's mapping, as for OpenAI's speech API."""
    config = configured(speech={"openai_voices": ("marin=other",)})
    async with running(config) as speaking, connected(speaking) as client:
        await client.say("session.update", session={"audio": {"output": {"voice": "marin"}}})
        await client.until("session.updated")
        await speak(client, "One.")
        assert [request.voice for request in speaking.synthesizer.requests] == ["other"]


@pytest.mark.parametrize(
    ("frame", "code", "param"),
    [
        ("hello", "invalid_message", None),
        ("[]", "invalid_parameter", None),
        ("{}", "invalid_parameter", None),
        ('{"type": 7}', "invalid_parameter", "type"),
        ('{"type": "speak"}', "unknown_type", "type"),
        ('{"type": "input_audio_buffer.append", "audio": ""}', "unknown_type", "type"),
        ('{"type": "session.update"}', "invalid_parameter", None),
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


@pytest.mark.parametrize("model", ["fake", "tts-1", "gpt-realtime-2.1-mini", "gpt-4o-realtime-preview", None])
async def test_the_server_stands_in_for_openais_models(model: str | None) -> None:
    path = "/v1/realtime" + ("" if model is None else f"?model={model}")
    async with running() as speaking, connected(speaking, path) as client:
        assert client.received[0]["type"] == "session.created"


async def test_another_model_is_refused() -> None:
    async with running() as speaking, connected(speaking, "/v1/realtime?model=whisper-1") as client:
        assert client.received[0]["error"]["code"] == "model_not_found"
        await client.rest()
        assert client.connection.close_code == 4000


async def test_a_key_comes_in_a_header_or_a_subprotocol(tmp_path: Path) -> None:
    """Browsers can set no header: OpenAI's clients put the key among the subprotocols there."""
    keys = tmp_path / "keys"
    keys.write_text("secret")
    async with running(configured(server={"api_keys_file": keys})) as speaking:
        for options in (
            {"additional_headers": {"Authorization": "Bearer secret"}},
            {"subprotocols": ["realtime", "openai-insecure-api-key.secret"]},
        ):
            async with connected(speaking, **options) as client:
                assert (await speak(client, "One."))["status"] == "completed"
        for options in ({}, {"subprotocols": ["realtime", "openai-insecure-api-key.wrong"]}):
            with pytest.raises(InvalidStatus, match="401"):
                async with connected(speaking, **options):
                    pass


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


async def test_a_client_that_vanishes_leaves_nothing() -> None:
    async with running(synthesizer=FakeSynthesizer(speed=1)) as speaking:
        async with connected(speaking) as client:
            await client.say("response.create", response={"input": [message(TEXT * 3)]})
            await client.until("response.output_audio.delta")
        await eventually(lambda: not speaking.server.num_connections)
        assert speaking.synthesizer.num_open == 0


async def test_a_server_that_stops_lets_a_response_end() -> None:
    config = configured(drain_timeout_s=5)
    async with running(config, FakeSynthesizer(speed=4)) as speaking, connected(speaking) as client:
        await client.say("response.create", response={"input": [message(TEXT)]})
        await client.until("response.output_audio.delta")
        speaking.server.stop()
        assert (await client.rest())[-1]["response"]["status"] == "completed"
        assert client.connection.close_code == 1001


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
