"""Contracts of a call's media stream, seen from the telephone's side over a real connection."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from streamer.audio.pcm import to_alaw, to_mulaw
from streamer.errors import EngineError
from streamer.server.telephony import media_stream
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import configured, eventually, running
from tests.server.telephony.phones import Phone, calling, driving, ringing, telnyx_start, twilio_start

TEXT = "One two three."
LENGTH_BYTES = 8 * 20 * len(TEXT)
"""How much sound the fake synthesizer makes of it, at one byte a sample."""


async def announced(phone: Phone) -> None:
    """Play an announcement to its end, and report that."""
    await phone.until_mark("streamer-1")
    await phone.say("mark", streamSid="MZ1", mark={"name": "streamer-1"})
    await phone.connection.wait_closed()


async def test_an_announcement_is_spoken_and_the_stream_closed() -> None:
    """The parameter `text` becomes mu-law in pieces of 20 ms; once it was played, the telephone's script continues."""
    async with running() as speaking:
        async with calling(speaking, twilio_start(text=TEXT)) as phone:
            await announced(phone)
            assert phone.connection.close_code == 1000
        assert phone.events == ["media", "mark"]
        assert {len(piece) for piece in phone.pieces} == {160}
        assert all(message["streamSid"] == "MZ1" for message in phone.received)
        assert len(phone.sound) == pytest.approx(LENGTH_BYTES, rel=0.3)
        assert len(set(phone.sound)) > 20


async def test_the_sound_is_mulaw_for_twilio_and_alaw_where_telnyx_wants_it() -> None:
    """The same speech, encoded by each law: decoded, both are the same up to their steps."""
    sounds: dict[str, bytes] = {}
    for name, start in {
        "mulaw": telnyx_start(text=TEXT),
        "alaw": telnyx_start(text=TEXT, encoding="PCMA"),
        "chosen": telnyx_start(text=TEXT, codec="PCMA"),
    }.items():
        async with running() as speaking, calling(speaking, start) as phone:
            await announced(phone)
            assert not any("streamSid" in message for message in phone.received)
            sounds[name] = phone.sound
    assert sounds["alaw"] == sounds["chosen"] != sounds["mulaw"]
    mulaw, alaw = _decoded(sounds["mulaw"], to_mulaw), _decoded(sounds["alaw"], to_alaw)
    assert len(mulaw) == len(alaw)
    assert max(abs(one - other) for one, other in zip(mulaw, alaw, strict=True)) < 0.05


def _decoded(sound: bytes, encode: Any) -> list[float]:
    """Decode by asking the encoder which sample each code stands for."""
    import numpy as np

    samples = np.linspace(-1, 1, 65_537, dtype=np.float32)
    codes = encode(samples)
    levels = {int(code): float(samples[codes == code].mean()) for code in np.unique(codes)}
    return [levels.get(byte, 0.0) for byte in sound]


async def test_an_announcement_ends_by_the_clock_where_no_mark_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A telephone that does not report what it has played is not kept waiting."""
    monkeypatch.setattr(media_stream, "ECHO_MARGIN_S", 0.05)
    async with running() as speaking, calling(speaking, twilio_start(text=TEXT)) as phone:
        await phone.rest()
        assert phone.connection.close_code == 1000


async def test_a_stream_that_is_kept_open_takes_text_itself() -> None:
    """Text may also come over the media stream, behind an announcement that keeps it open."""
    start = twilio_start(text="One.", keep_open="true")
    async with running() as speaking, calling(speaking, start) as phone:
        await phone.until_mark("streamer-1")
        await phone.say("mark", mark={"name": "streamer-1"})
        await phone.say("text", text="Two ")
        await phone.say("text", text="three.", last=True)
        await phone.until_mark("streamer-2")
        assert " ".join(request.text for request in speaking.synthesizer.requests) == "One. Two three."


@pytest.mark.parametrize("num_media", [0, 500])
async def test_what_the_telephone_hears_is_passed_to_nobody(num_media: int) -> None:
    """Incoming sound is taken, as much as comes, and dropped; speech continues beside it."""
    async with running(configured(max_bytes_per_s=1_000_000)) as speaking, calling(speaking) as phone:
        media = {"track": "inbound", "chunk": "2", "timestamp": "5", "payload": "f" * 216}
        for number in range(num_media):
            await phone.say("media", sequenceNumber=str(number), media=media, streamSid="MZ1")
        await phone.say("text", text=TEXT, last=True)
        await phone.until_mark("streamer-1")
        assert set(phone.events) == {"media", "mark"}


async def test_a_mark_comes_back_when_the_sound_before_it_was_played() -> None:
    """Not when the sound was sent, which is up to two seconds ahead: when its clock has come to its end."""
    async with running() as speaking, calling(speaking) as phone:
        await phone.say("text", text="One two three four five six seven.")  # 0.7 s
        await phone.say("mark", mark={"name": "mine"})
        await phone.until_mark("streamer-1")
        assert not [message for message in phone.received if message.get("mark") == {"name": "mine"}]
        begun_s = asyncio.get_running_loop().time()
        await phone.until_mark("mine")
        assert asyncio.get_running_loop().time() - begun_s > 0.2  # it was played meanwhile


async def test_marks_come_back_in_their_order() -> None:
    """Marks between texts, several behind one text, and one without a text before it."""
    async with running() as speaking, calling(speaking) as phone:
        await phone.say("mark", mark={"name": "first"})
        await phone.until_mark("first")
        for text, *marks in (("One.", "a", "b"), ("Two.", "c"), ("Three.", "d")):
            await phone.say("text", text=text)
            for name in marks:
                await phone.say("mark", mark={"name": name})
        await phone.until_mark("d")
        names = [message["mark"]["name"] for message in phone.received if message["event"] == "mark"]
        assert [name for name in names if not name.startswith("streamer-")] == ["first", "a", "b", "c", "d"]
        assert [name for name in names if name.startswith("streamer-")] == [
            f"streamer-{n}" for n in (1, 2, 3)
        ]


async def test_a_clear_stops_the_speech_and_answers_marks() -> None:
    """What waits is dropped, every mark comes back at once, no sound follows, and the next text is spoken."""
    synthesizer = FakeSynthesizer(speed=2)
    async with running(synthesizer=synthesizer) as speaking, calling(speaking) as phone:
        await phone.say("text", text="One two three four five six seven eight nine ten. " * 3)
        await phone.say("mark", mark={"name": "never heard"})
        await phone.until("media")
        await phone.say("clear")
        await phone.until_mark("never heard")
        assert [event for event in phone.events if event != "media"] == ["mark", "mark"]
        assert synthesizer.num_open == 0
        num_received = len(phone.received)
        await phone.say("text", text="Next.", last=True)
        await phone.until_mark("streamer-2")
        assert {message["event"] for message in phone.received[num_received:]} == {"media", "mark"}
        assert synthesizer.requests[-1].text == "Next."


async def test_the_end_of_a_call_stops_its_speech() -> None:
    """`stop` closes the stream; a telephone that vanishes has the same effect."""
    for says_so in (True, False):
        async with running(synthesizer=FakeSynthesizer(speed=1)) as speaking:
            async with calling(speaking) as phone:
                await phone.say("text", text="One two three four five six seven eight.")
                await phone.until("media")
                if says_so:
                    await phone.say("stop", streamSid="MZ1", stop={"callSid": "CA1"})
                    await phone.rest()
                    assert phone.connection.close_code == 1000
            await eventually(lambda: not speaking.server.num_connections)
            assert speaking.synthesizer.num_open == 0


async def test_a_telephone_that_is_cut_off_leaves_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    """Its utterances have no outcome then, and nothing is logged as unexpected."""
    async with running(synthesizer=FakeSynthesizer(speed=1)) as speaking, driving(speaking) as program:
        async with calling(speaking) as phone:
            await program.until("start")
            await program.say("text", text="One two three four five six seven eight.")
            await phone.until("media")
            phone.connection.transport.abort()
        assert [message["event"] for message in await program.rest()] == ["stop"]
        await eventually(lambda: not speaking.server.num_connections)
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("token", ["secret", "wrong", None])
async def test_a_key_comes_as_a_parameter(token: str | None, tmp_path: Path) -> None:
    """Twilio sends no headers of its own and no query: `<Parameter name="token">` opens the server."""
    keys = tmp_path / "keys"
    keys.write_text("secret")
    parameters = {"text": TEXT} | ({} if token is None else {"token": token})
    async with (
        running(configured(server={"api_keys_file": keys})) as speaking,
        calling(speaking, twilio_start(**parameters)) as phone,
    ):
        if token == "secret":
            await announced(phone)
            assert phone.sound
        else:
            (error,) = await phone.rest()
            assert error["error"]["code"] == "unauthorized"
            assert phone.connection.close_code == 4401


async def test_a_key_may_come_with_the_handshake(tmp_path: Path) -> None:
    """Vendors that send a header need no parameter."""
    keys = tmp_path / "keys"
    keys.write_text("secret")
    async with (
        running(configured(server={"api_keys_file": keys})) as speaking,
        ringing(speaking, additional_headers={"Authorization": "Bearer secret"}) as phone,
    ):
        await phone.say("start", **telnyx_start(text=TEXT))
        await phone.until_mark("streamer-1")


@pytest.mark.parametrize(
    ("start", "code"),
    [
        (telnyx_start(encoding="G722"), "invalid_parameter"),
        (telnyx_start(encoding="L16"), "invalid_parameter"),
        (twilio_start(codec="OPUS"), "invalid_parameter"),
        (twilio_start(text=TEXT, voice="nobody"), "voice_not_found"),
        (twilio_start(text="a" * 2001), "text_too_long"),
        ({"start": {"callSid": "CA1"}}, "invalid_message"),
        ({"start": {"streamSid": "MZ1", "mediaFormat": {"sampleRate": 16000}}}, "invalid_parameter"),
        ({}, "invalid_parameter"),
    ],
)
async def test_a_start_that_cannot_be_followed_is_one_error_and_the_end(
    start: dict[str, Any], code: str
) -> None:
    """The telephone's script continues instead of waiting in silence."""
    async with running() as speaking, ringing(speaking) as phone:
        await phone.say("start", **start)
        (error,) = await phone.rest()
        assert (error["event"], error["error"]["code"]) == ("error", code)
        assert phone.connection.close_code == 1008


@pytest.mark.parametrize(
    "frame",
    [
        "hello",
        "[]",
        "{}",
        '{"event": 7}',
        '{"event": "text"}',
        '{"event": "text", "text": 7}',
        '{"event": "text", "text": "One.", "last": "yes"}',
        '{"event": "text", "text": "One.", "voice": "nobody"}',
        '{"event": "mark"}',
        '{"event": "mark", "mark": {"name": ""}}',
        '{"event": "dtmf"}',
        '{"event": "start", "start": {"streamSid": "MZ2"}}',
        '{"event": "text", "text": "' + "a" * 2001 + '"}',
        "[" * 50_000,
        b"\x00",
    ],
)
async def test_a_wrong_message_is_one_error(frame: str | bytes) -> None:
    """The call continues."""
    async with running() as speaking, calling(speaking) as phone:
        await phone.connection.send(frame)
        error = await phone.next()
        assert error["event"] == "error" and error["error"]["message"]
        await phone.say("text", text="One.", last=True)
        await phone.until_mark("streamer-1")
        assert "error" not in phone.events[1:]


async def test_unknown_events_are_ignored() -> None:
    """Vendors add events; one before `start` is an error, because nothing but `start` can follow."""
    async with running() as speaking, ringing(speaking) as phone:
        await phone.say("text", text="One.")
        assert (await phone.next())["error"]["code"] == "invalid_message"
        await phone.say("start", **twilio_start())
        await phone.say("announcement", sound="whatever")
        await phone.say("mark", mark={"name": "here"})
        assert (await phone.next())["mark"] == {"name": "here"}


async def test_an_announcement_that_fails_ends_the_stream() -> None:
    """The telephone's script continues, too."""
    synthesizer = FakeSynthesizer()
    synthesizer.fail_on["two"] = EngineError("no luck")
    async with (
        running(synthesizer=synthesizer) as speaking,
        calling(speaking, twilio_start(text=TEXT)) as phone,
    ):
        await phone.rest()
        assert [event for event in phone.events if event != "media"] == ["mark", "error"]
        assert phone.connection.close_code == 1011


async def test_text_and_marks_are_bounded() -> None:
    """Too much text that waits, and too many marks, are refused one by one; the call continues."""
    config = configured(max_buffered_chars=60, max_bytes_per_s=1_000_000)
    async with running(config, FakeSynthesizer(speed=1)) as speaking, calling(speaking) as phone:
        for _ in range(4):
            await phone.say("text", text="twenty characters, x")
        assert (await phone.until("error"))["error"]["code"] == "text_too_long"
        for number in range(70):
            await phone.say("mark", mark={"name": f"m{number}"})
        assert (await phone.until("error"))["error"]["code"] == "rate_limited"
        await phone.say("clear")
        await phone.until_mark("m63")


async def test_a_server_that_stops_lets_a_sentence_end() -> None:
    """Within the drain's time what is being said is said; then the stream is closed."""
    config = configured(drain_timeout_s=5)
    async with running(config, FakeSynthesizer(speed=4)) as speaking, calling(speaking) as phone:
        await phone.say("text", text=TEXT, last=True)
        await phone.until("media")
        speaking.server.stop()
        await phone.rest()
        assert phone.events[-1] == "mark"
        assert phone.connection.close_code == 1001


async def test_a_call_that_ends_tells_its_programs() -> None:
    """A program hears `stop`, and its connection is closed."""
    async with running() as speaking:
        async with calling(speaking), driving(speaking) as program:
            await program.until("start")
        # The telephone's connection ends first.
        async with driving(speaking) as late:
            async with calling(speaking):
                await late.until("start")
            assert [message["event"] for message in await late.rest()] == ["stop"]
        with pytest.raises(ConnectionClosed):
            await late.connection.send("")
