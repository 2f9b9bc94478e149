"""A program drives a call by its name over a connection of its own."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from streamer.errors import EngineError
from streamer.server.telephony import control
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import configured, eventually, running
from tests.server.telephony.phones import calling, driving, telnyx_start, twilio_start


@pytest.mark.parametrize("sid", ["MZ1", "CA1"])
@pytest.mark.parametrize("is_early", [False, True])
async def test_text_of_a_program_is_heard_in_the_call(sid: str, is_early: bool) -> None:
    """By the stream's or the call's name, also if the program comes before the telephone has connected."""
    async with running() as speaking:
        if is_early:
            async with driving(speaking, sid) as program, calling(speaking, twilio_start(who="Ann")) as phone:
                start = (await program.until("start"))["start"]
                await program.say("text", text="Hello ")
                await program.say("text", text="there.", last=True)
                await phone.until_mark("streamer-1")
                done = await program.until("done")
        else:
            async with calling(speaking, twilio_start(who="Ann")) as phone, driving(speaking, sid) as program:
                start = (await program.until("start"))["start"]
                await program.say("text", text="Hello there.", last=True)
                await phone.until_mark("streamer-1")
                done = await program.until("done")
        assert (start["streamSid"], start["callSid"]) == ("MZ1", "CA1")
        assert start["customParameters"] == {"who": "Ann"}
        assert done["done"]["reason"] == "completed" and done["done"]["audio_ms"] > 100
        assert [request.text for request in speaking.synthesizer.requests] == ["Hello there."]
        assert phone.sound


async def test_sentences_in_messages_of_their_own_are_parted() -> None:
    """A program may leave out the space between them."""
    async with running() as speaking, calling(speaking), driving(speaking) as program:
        await program.until("start")
        await program.say("text", text="One two three four five six.")
        await program.say("text", text="Seven eight nine ten eleven.", last=True)
        await program.until("done")
        spoken = " ".join(request.text for request in speaking.synthesizer.requests)
        assert spoken == "One two three four five six. Seven eight nine ten eleven."


async def test_telnyx_calls_have_names_with_colons() -> None:
    async with (
        running() as speaking,
        calling(speaking, telnyx_start()) as phone,
        driving(speaking, "v2%3AT02") as program,
    ):
        await program.until("start")
        await program.say("text", text="Hello.", last=True)
        await phone.until_mark("streamer-1")


async def test_a_program_interrupts() -> None:
    """`clear` stops the speech and has the telephone drop what it has not played; marks come back to who set them."""
    synthesizer = FakeSynthesizer(speed=2)
    async with (
        running(synthesizer=synthesizer) as speaking,
        calling(speaking) as phone,
        driving(speaking) as program,
    ):
        await program.until("start")
        await program.say("text", text="One two three four five six seven eight nine ten. " * 3)
        await program.say("mark", mark={"name": "end"})
        await phone.until("media")
        await program.say("clear")
        await phone.until("clear", streamSid="MZ1")
        assert (await program.until("done"))["done"]["reason"] == "cancelled"
        await program.until_mark("end")
        await program.say("text", text="Yes?", last=True)
        assert (await program.until("done"))["done"]["reason"] == "completed"
        marks = [message["mark"]["name"] for message in phone.received if message["event"] == "mark"]
        assert marks == ["streamer-1"]


async def test_a_mark_tells_a_program_what_was_heard() -> None:
    """It comes behind `done`, when the sound has been played; the telephone sees nothing of it."""
    async with running() as speaking, calling(speaking) as phone, driving(speaking) as program:
        await program.until("start")
        await program.say("text", text="One two three four five.")
        await program.say("mark", mark={"name": "heard"})
        await program.until_mark("heard")
        assert [message["event"] for message in program.received] == ["start", "done", "mark"]
        await phone.until_mark("streamer-1")
        assert set(phone.events) == {"media", "mark"}


async def test_keys_are_passed_on() -> None:
    """A key that the caller presses is told to every program of the call."""
    async with (
        running() as speaking,
        calling(speaking) as phone,
        driving(speaking) as one,
        driving(speaking, "CA1") as other,
    ):
        for program in (one, other):
            await program.until("start")
        await phone.say("dtmf", streamSid="MZ1", dtmf={"track": "inbound_track", "digit": "5"})
        for program in (one, other):
            assert (await program.next())["dtmf"] == {"digit": "5"}


async def test_a_program_ends_the_stream() -> None:
    """`stop` closes the media stream, and the telephone's script continues."""
    async with running() as speaking, calling(speaking) as phone, driving(speaking) as program:
        await program.until("start")
        await program.say("stop")
        await phone.rest()
        assert phone.connection.close_code == 1000
        assert (await program.rest())[-1]["event"] == "stop"


async def test_a_greeting_does_not_close_a_driven_call() -> None:
    """The parameter `text` is a greeting where a program drives the call."""
    async with (
        running() as speaking,
        driving(speaking) as program,
        calling(speaking, twilio_start(text="Welcome.")) as phone,
    ):
        await program.until("start")
        await phone.until_mark("streamer-1")
        await phone.say("mark", mark={"name": "streamer-1"})
        await program.say("text", text="How can I help?", last=True)
        await phone.until_mark("streamer-2")


async def test_a_call_that_never_comes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "WAIT_S", 0.05)
    async with running() as speaking, driving(speaking, "CA9") as program:
        await program.say("text", text="Hello.")
        early, late = await program.rest()
        assert early["error"]["code"] == late["error"]["code"] == "utterance_state"
        assert program.connection.close_code == 4404


async def test_a_program_needs_a_key(tmp_path: Path) -> None:
    """It sends its key as every program does, with the handshake."""
    keys = tmp_path / "keys"
    keys.write_text("secret")
    async with running(configured(server={"api_keys_file": keys})) as speaking:
        with pytest.raises(InvalidStatus, match="401"):
            async with driving(speaking):
                pass
        async with calling(speaking, twilio_start(token="secret")):
            headers = {"Authorization": "Bearer secret"}
            async with driving(speaking, additional_headers=headers) as program:
                assert (await program.until("start"))["start"]["customParameters"] == {}


@pytest.mark.parametrize("is_early", [False, True])
@pytest.mark.parametrize("sid", ["MZ1", "CA1"])
@pytest.mark.parametrize("keys_in_headers", [False, True])
async def test_a_key_drives_its_own_calls_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sid: str, keys_in_headers: bool, is_early: bool
) -> None:
    """To another key's program the call never comes, by neither name, and two keys' calls may have one name."""
    monkeypatch.setattr(control, "WAIT_S", 0.3)
    keys = tmp_path / "keys"
    keys.write_text("mine\ntheirs\n")
    bearer = {key: {"Authorization": f"Bearer {key}"} for key in ("mine", "theirs")}
    start = twilio_start() if keys_in_headers else twilio_start(token="mine")
    headers = bearer["mine"] if keys_in_headers else {}
    async with running(configured(server={"api_keys_file": keys})) as speaking, AsyncExitStack() as stack:
        if not is_early:
            phone = await stack.enter_async_context(calling(speaking, start, additional_headers=headers))
        stranger = await stack.enter_async_context(
            driving(speaking, sid, additional_headers=bearer["theirs"])
        )
        program = await stack.enter_async_context(driving(speaking, sid, additional_headers=bearer["mine"]))
        if is_early:
            phone = await stack.enter_async_context(calling(speaking, start, additional_headers=headers))
        await program.until("start")
        await stranger.say("text", text="Give me your money.", last=True)
        early, late = await stranger.rest()
        assert early["error"]["code"] == late["error"]["code"] == "utterance_state"
        assert stranger.connection.close_code == 4404
        await program.say("text", text="Hello.", last=True)
        await phone.until_mark("streamer-1")
        other = await stack.enter_async_context(calling(speaking, twilio_start(token="theirs")))
        owner = await stack.enter_async_context(driving(speaking, sid, additional_headers=bearer["theirs"]))
        await owner.until("start")
        await owner.say("text", text="Goodbye.", last=True)
        await other.until_mark("streamer-1")
        assert [request.text for request in speaking.synthesizer.requests] == ["Hello.", "Goodbye."]


@pytest.mark.parametrize(
    "frame",
    [
        "hello",
        "{}",
        '{"event": "media", "media": {"payload": ""}}',
        '{"event": "start"}',
        '{"event": "dtmf", "dtmf": {"digit": "1"}}',
        '{"event": "text"}',
        '{"event": "text", "text": "One.", "voice": "nobody"}',
        '{"event": "mark", "mark": {}}',
        b"\x00",
    ],
)
async def test_a_wrong_message_is_one_error_to_its_program(frame: str | bytes) -> None:
    """Neither the call nor another program sees anything of it."""
    async with (
        running() as speaking,
        calling(speaking) as phone,
        driving(speaking) as program,
        driving(speaking) as other,
    ):
        for each in (program, other):
            await each.until("start")
        await program.connection.send(frame)
        assert (await program.next())["event"] == "error"
        await program.say("text", text="One.", last=True)
        await phone.until_mark("streamer-1")
        assert set(phone.events) == {"media", "mark"}
        assert len(other.received) == 1


async def test_a_speech_that_fails_is_told_once() -> None:
    """`done` has the error, and the call continues."""
    synthesizer = FakeSynthesizer()
    synthesizer.fail_on["One"] = EngineError("no luck")
    async with (
        running(synthesizer=synthesizer) as speaking,
        calling(speaking) as phone,
        driving(speaking) as program,
    ):
        await program.until("start")
        await program.say("text", text="One.", last=True)
        done = (await program.until("done"))["done"]
        assert (done["reason"], done["error"]["code"]) == ("failed", "engine_failed")
        await program.say("text", text="Two.", last=True)
        assert (await program.until("done"))["done"]["reason"] == "completed"
        await phone.until_mark("streamer-2")
        assert "error" not in phone.events


async def test_a_call_has_few_programs() -> None:
    """One too many is refused; when another has left, there is room again."""
    async with (
        running() as speaking,
        calling(speaking),
        driving(speaking),
        driving(speaking),
        driving(speaking),
    ):
        async with driving(speaking) as fourth:
            await fourth.until("start")
            async with driving(speaking) as fifth:
                assert (await fifth.rest())[0]["error"]["code"] == "overloaded"
        await eventually(lambda: speaking.server.num_sessions == 4)
        async with driving(speaking) as next_one:
            await next_one.until("start")


async def test_a_program_that_leaves_lets_the_call_continue() -> None:
    """What it had asked for is spoken."""
    async with running(synthesizer=FakeSynthesizer(speed=3)) as speaking, calling(speaking) as phone:
        async with driving(speaking) as program:
            await program.until("start")
            await program.say("text", text="One two three.", last=True)
            await phone.until("media")
        await phone.until_mark("streamer-1")
        assert len(phone.sound) == pytest.approx(160 * len("One two three."), rel=0.3)
