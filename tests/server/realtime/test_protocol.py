"""Contracts of OpenAI's realtime API as a reader of text, over a real connection."""

from __future__ import annotations

from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.realtime.speaking import connected, message, speak
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


@pytest.mark.parametrize("model", ["fake", "tts-1", "gpt-realtime-2.1-mini", "gpt-4o-realtime-preview", None])
async def test_the_server_stands_in_for_openais_models(model: str | None) -> None:
    path = "/v1/realtime" + ("" if model is None else f"?model={model}")
    async with running() as speaking, connected(speaking, path) as client:
        assert client.received[0]["type"] == "session.created"


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
