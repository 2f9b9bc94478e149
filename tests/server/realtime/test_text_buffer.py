"""Contracts of the dialect of `input_text_buffer`, over a real connection."""

from __future__ import annotations

from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from streamer.errors import EngineError
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.realtime.speaking import TEXT_BUFFER, Client, connected
from tests.server.speaking import configured, eventually, running

DELTA, DONE = "conversation.item.audio_output.delta", "conversation.item.audio_output.done"
FAILED = "conversation.item.tts.failed"
TEXT = "One two three four."


async def append(client: Client, *texts: str) -> None:
    """Append and commit each text, as pipecat does with each sentence."""
    for text in texts:
        await client.say("input_text_buffer.append", text=text)
        await client.say("input_text_buffer.commit")


def check_length(sound: bytes, text: str) -> None:
    """The sound of a text, and the pause behind a sentence that another one might follow."""
    length_ms = len(sound) / 48
    assert 0.7 * 20 * len(text) < length_ms < 1.3 * 20 * len(text) + 300


async def test_a_text_becomes_sound() -> None:
    """An item begins with its text and ends with one `done`; its sound is 16-bit PCM of 24 kHz."""
    async with running() as speaking, connected(speaking, TEXT_BUFFER + "&voice=other") as client:
        session = client.received[0]["session"]
        assert client.received[0]["type"] == "session.created"
        assert (session["object"], session["model"], session["voice"]) == (
            "realtime.tts.session",
            "fake",
            "other",
        )
        await append(client, TEXT)
        done = await client.until(DONE)
        received, committed = client.received[1:3]
        assert (received["type"], received["text"]) == ("conversation.item.input_text.received", TEXT)
        assert committed["type"] == "input_text_buffer.committed"
        assert client.types[3:] == [DELTA, DONE]
        assert {event["item_id"] for event in client.received[1:]} == {done["item_id"]}
        check_length(client.sound(), TEXT)
        assert [request.voice for request in speaking.synthesizer.requests] == ["other"]


async def test_sentences_that_are_committed_one_by_one_are_one_item() -> None:
    """Clients end their turn with the item: it is over when all that was committed has been spoken, and not before."""
    async with (
        running(synthesizer=FakeSynthesizer(speed=4)) as speaking,
        connected(speaking, TEXT_BUFFER) as client,
    ):
        await append(client, "One two three.", "Four five six.", "Seven eight.")
        await client.say("input_text_buffer.commit")
        await client.until(DONE)
        assert client.types.count(DONE) == 1
        spoken = [request.text for request in speaking.synthesizer.requests]
        assert spoken == ["One two three.", "Four five six.", "Seven eight."]
        await append(client, "Nine.")
        assert (await client.until(DONE))["item_id"] != client.received[1]["item_id"]


async def test_a_writer_who_is_slow_begins_another_item() -> None:
    """What is committed behind the end of an item is spoken, too, with an end of its own."""
    async with running() as speaking, connected(speaking, TEXT_BUFFER) as client:
        for text in ("One.", "Two.", "Three."):
            await append(client, text)
            await client.until(DONE)
        assert [request.text for request in speaking.synthesizer.requests] == ["One.", "Two.", "Three."]


async def test_a_commit_of_nothing_parts_turns() -> None:
    """The text of the next turn does not join an item that is still being spoken."""
    async with (
        running(synthesizer=FakeSynthesizer(speed=4)) as speaking,
        connected(speaking, TEXT_BUFFER) as client,
    ):
        await append(client, TEXT)
        await client.say("input_text_buffer.commit")
        await append(client, "Five six.")
        first, second = [(await client.until(DONE))["item_id"] for _ in range(2)]
        assert first != second
        deltas = [event["item_id"] for event in client.received if event["type"] == DELTA]
        assert deltas == sorted(deltas) and set(deltas) == {first, second}


async def test_a_commit_of_nothing_at_all_is_acknowledged() -> None:
    """It neither begins nor ends anything."""
    async with running() as speaking, connected(speaking, TEXT_BUFFER) as client:
        await client.say("input_text_buffer.commit")
        assert (await client.next())["item_id"] is None
        await append(client, "One.")
        await client.until(DONE)
        assert client.types.count(DONE) == 1


async def test_words_are_spoken_while_they_are_written() -> None:
    """A sentence that has ended is heard before the commit."""
    async with running() as speaking, connected(speaking, TEXT_BUFFER) as client:
        for word in ("One ", "two ", "three ", "four ", "five ", "six ", "seven. ", "Eight "):
            await client.say("input_text_buffer.append", text=word)
        await client.until(DELTA)
        await client.say("input_text_buffer.append", text="nine.")
        await client.say("input_text_buffer.commit")
        await client.until(DONE)
        spoken = [request.text for request in speaking.synthesizer.requests]
        assert spoken == ["One two three four five six seven.", "Eight nine."]


async def test_sentences_in_appends_of_their_own_are_parted() -> None:
    """A client may leave out the space between them."""
    async with running() as speaking, connected(speaking, TEXT_BUFFER) as client:
        await client.say("input_text_buffer.append", text="One two three.")
        await append(client, "Four five six.")
        await client.until(DONE)
        assert (
            " ".join(request.text for request in speaking.synthesizer.requests)
            == "One two three. Four five six."
        )


async def test_a_clear_stops_everything() -> None:
    """What is spoken and what waits ends without a `done`, which would end the client's next turn; that is spoken."""
    synthesizer = FakeSynthesizer(speed=2)
    async with running(synthesizer=synthesizer) as speaking, connected(speaking, TEXT_BUFFER) as client:
        await append(client, TEXT * 3)
        await client.say("input_text_buffer.commit")
        await append(client, "Never spoken.")
        await client.until(DELTA)
        await client.say("input_text_buffer.clear")
        await append(client, "Next.")
        await client.until("input_text_buffer.cleared")
        cleared = client.received
        assert [event["type"] for event in cleared].count("conversation.item.audio_output.cancelled") == 2
        assert DONE not in client.types
        assert synthesizer.num_open <= 1
        client.received = []
        await client.until(DONE)
        assert client.types[-2:] == [DELTA, DONE]
        assert synthesizer.requests[-1].text == "Next."
        check_length(client.sound(), "Next.")


async def test_the_voice_may_change() -> None:
    """The next item has the new one."""
    async with running() as speaking, connected(speaking, TEXT_BUFFER) as client:
        await append(client, "One.")
        await client.until(DONE)
        await client.say("tts_session.updated", session={"voice": "other", "extra_params": {"x": 1}})
        assert (await client.next())["session"]["voice"] == "other"
        await append(client, "Two.")
        await client.until(DONE)
        assert [request.voice for request in speaking.synthesizer.requests] == ["tone", "other"]


@pytest.mark.parametrize(
    ("query", "code"), [("&voice=af_heart", "voice_not_found"), ("&language=tlh", "invalid_parameter")]
)
async def test_what_the_address_asks_for_is_refused_with_each_text(query: str, code: str) -> None:
    """The connection stays: clients take an `error` for its end, and would connect again and again."""
    async with running() as speaking, connected(speaking, TEXT_BUFFER + query) as client:
        for _ in range(2):
            await append(client, "One.")
            assert (await client.until(FAILED))["error"]["code"] == code
        await client.say("tts_session.updated", session={"voice": "tone"})
        if "voice" in query:
            await append(client, "One.")
            await client.until(DONE)


@pytest.mark.parametrize("language", ["en", "en-US", "EN_gb"])
async def test_a_language_is_followed(language: str) -> None:
    async with running() as speaking, connected(speaking, f"{TEXT_BUFFER}&language={language}") as client:
        await append(client, "One.")
        await client.until(DONE)
        assert speaking.synthesizer.requests


@pytest.mark.parametrize(
    "frame",
    [
        "hello",
        "[]",
        "{}",
        '{"type": 7}',
        '{"type": "speak"}',
        '{"type": "input_text_buffer.append"}',
        '{"type": "input_text_buffer.append", "text": 7}',
        '{"type": "input_text_buffer.append", "text": "' + "a" * 2001 + '"}',
        '{"type": "tts_session.updated", "session": {"voice": ""}}',
        "[" * 50_000,
        b"\x00",
    ],
    ids=lambda frame: str(frame)[:50],
)
async def test_a_wrong_event_is_one_failure(frame: str | bytes) -> None:
    """The session continues, and what is written is spoken."""
    async with running() as speaking, connected(speaking, TEXT_BUFFER) as client:
        await client.say("input_text_buffer.append", text="One ")
        await client.connection.send(frame)
        error = await client.until(FAILED)
        assert error["item_id"] is None and error["error"]["message"]
        await append(client, "two.")
        await client.until(DONE)
        assert client.types.count(FAILED) == 1
        assert [request.text for request in speaking.synthesizer.requests] == ["One two."]


async def test_a_speech_that_fails_is_told_once() -> None:
    """Instead of `done`; the next text is spoken."""
    synthesizer = FakeSynthesizer()
    synthesizer.fail_on["two"] = EngineError("no luck")
    async with running(synthesizer=synthesizer) as speaking, connected(speaking, TEXT_BUFFER) as client:
        await append(client, TEXT)
        assert (await client.until(FAILED))["error"]["code"] == "engine_failed"
        await append(client, "Five.")
        await client.until(DONE)
        assert (client.types.count(FAILED), client.types.count(DONE)) == (1, 1)


async def test_text_that_waits_is_bounded() -> None:
    """Over all items of the session."""
    config = configured(max_buffered_chars=50)
    async with (
        running(config, FakeSynthesizer(speed=1)) as speaking,
        connected(speaking, TEXT_BUFFER) as client,
    ):
        for _ in range(5):
            await append(client, "Twenty characters, x")
            await client.say("input_text_buffer.commit")
        assert (await client.until(FAILED))["error"]["code"] == "text_too_long"


async def test_a_key_is_needed_where_there_are_keys(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("secret")
    async with running(configured(server={"api_keys_file": keys})) as speaking:
        with pytest.raises(InvalidStatus, match="401"):
            async with connected(speaking, TEXT_BUFFER):
                pass
        headers = {"Authorization": "Bearer secret"}
        async with connected(speaking, TEXT_BUFFER, additional_headers=headers) as client:
            await append(client, "One.")
            await client.until(DONE)


async def test_a_client_that_vanishes_leaves_nothing() -> None:
    async with running(synthesizer=FakeSynthesizer(speed=1)) as speaking:
        async with connected(speaking, TEXT_BUFFER) as client:
            await append(client, TEXT * 3)
            await client.until(DELTA)
        await eventually(lambda: not speaking.server.num_connections)
        assert speaking.synthesizer.num_open == 0


async def test_a_server_that_stops_lets_an_item_end() -> None:
    config = configured(drain_timeout_s=5)
    async with (
        running(config, FakeSynthesizer(speed=4)) as speaking,
        connected(speaking, TEXT_BUFFER) as client,
    ):
        await append(client, TEXT)
        await client.until(DELTA)
        speaking.server.stop()
        assert (await client.rest())[-1]["type"] == DONE
        assert client.connection.close_code == 1001
