"""`cancel`: what ends, and how much of it was heard."""

from __future__ import annotations

from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import running

TEXT = "Hello there. How are you today?"


async def test_cancel_tells_what_was_heard_and_frees_the_synthesizer() -> None:
    """`cancel` ends one utterance with `heard`; no packet of it follows, and its id is free at once."""
    async with running(synthesizer=FakeSynthesizer(speed=2.0)) as server, server.client() as client:
        await client.say(
            "speak", id="a", text="One two three four five six seven eight nine ten eleven twelve."
        )
        while len(client.frames()) < 20:
            await client.next()
        await client.say("cancel", id="a", played_ms=300, ref="stop")
        done = await client.until("done")
        assert done["reason"] == "cancelled" and done["ref"] == "stop"
        assert done["heard"]["text"].startswith("One") and done["heard"]["char_end"] == len(
            done["heard"]["text"]
        )
        num_frames = len(client.frames(1))
        assert server.synthesizer.num_open == 0
        await client.say("speak", id="a", text="Again.")
        await client.until("done", reason="completed")
        assert len(client.frames(1)) == num_frames and {frame.stream for frame in client.frames()} == {1, 2}


async def test_what_was_not_sent_was_not_heard() -> None:
    """A client whose clock is ahead of the sound is told of no words that it cannot have."""
    text = "One two three four five six seven eight nine ten eleven twelve."
    heard = []
    for played_ms in (400, 1_000_000):
        async with running(synthesizer=FakeSynthesizer(ms_per_char=50)) as server, server.client() as client:
            await client.say("speak", id="a", text=text, lead_ms=400)
            while len(client.frames()) < 20:
                await client.next()
            await client.say("cancel", id="a", played_ms=played_ms)
            heard.append((await client.until("done"))["heard"]["text"])
    assert text.startswith(heard[0]) and text.startswith(heard[1])
    assert "" < heard[0] <= heard[1] and "six" not in heard[1]


async def test_heard_grows_with_what_was_played() -> None:
    """In a sentence whose sound is not whole yet, each later moment has as many words or more, never all."""
    text, heard = "One two three four five six seven eight nine ten.", []
    for played_ms in (0, 300, 600, 900):
        async with running(synthesizer=FakeSynthesizer(speed=4.0)) as server, server.client() as client:
            await client.say("speak", id="a", text=text * 3)
            while len(client.frames()) < 50:
                await client.next()
            await client.say("cancel", id="a", played_ms=played_ms)
            heard.append((await client.until("done"))["heard"]["char_end"])
    assert heard == sorted(heard) and heard[0] == 0 < heard[1] < heard[-1] < 3 * len(text)


async def test_cancel_without_id_ends_all() -> None:
    """Every open utterance gets its own done."""
    async with running(synthesizer=FakeSynthesizer(speed=1.0)) as server, server.client() as client:
        for name in "abc":
            await client.say("speak", id=name, text=TEXT)
        await client.say("cancel")
        await client.pong()
        assert {done["id"]: done["reason"] for done in client.messages("done")} == dict.fromkeys(
            "abc", "cancelled"
        )


async def test_cancel_of_what_is_over_is_a_warning_with_the_text_heard() -> None:
    """A cancel that comes late, or names nothing, is harmless."""
    async with running() as server, server.client() as client:
        await client.say("speak", id="a", text=TEXT)
        await client.until("done")
        await client.say("cancel", id="a", played_ms=10_000)
        warning = await client.until("warning")
        assert warning["code"] == "utterance_over" and warning["heard"]["char_end"] == len(TEXT)
        await client.say("cancel", id="nobody")
        assert (await client.until("warning"))["code"] == "utterance_unknown"
