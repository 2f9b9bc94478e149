"""Underruns are counted if the server is to blame for them."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import Running, running

LONG = " ".join(["This is a sentence of some length, and it is spoken as it was written."] * 3)


def underruns(server: Running) -> float:
    value = server.server.metrics.registry.get_sample_value("tts_underruns_total")
    assert value is not None
    return value


async def test_a_writers_pause_in_mid_sentence_is_no_underrun() -> None:
    """What was not written yet cannot be spoken, however long the client waits for it."""
    async with running() as server, server.client() as client:
        await client.say("start", id="a", max_buffer_ms=20)
        await client.say("text", id="a", text="I am going ")
        await client.until("sentence_end")
        await asyncio.sleep(0.5)  # the words took 0.2 s
        await client.say("text", id="a", text="to the shop.")
        await client.say("end", id="a")
        assert (await client.until("done"))["reason"] == "completed"
        assert len(client.messages("sentence_start")) == 2 and underruns(server) == 0


async def test_sound_that_is_late_though_its_text_was_known_is_an_underrun() -> None:
    """A synthesizer slower than speech makes some."""
    async with running(synthesizer=FakeSynthesizer(speed=0.5)) as server, server.client() as client:
        await client.say("speak", id="a", text="I am going to the shop.")
        await client.until("done")
        assert underruns(server) > 0


async def test_sound_that_was_ready_and_is_sent_when_due_is_no_underrun() -> None:
    """A client that wants no lead gets each packet in its own time, a timer's width late."""
    async with running() as server, server.client() as client:
        await client.say("speak", id="a", text="I am going to the shop.", lead_ms=0)
        await client.until("done")
        assert underruns(server) == 0


@pytest.mark.parametrize(("lead_ms", "frame_ms"), [(0, 20), (100, 10), (200, 20), (400, 60), (500, 20)])
async def test_silence_by_a_late_event_loop_is_an_underrun(lead_ms: int, frame_ms: int) -> None:
    """Sound that was made in time and not sent in time is silence to its listener, too."""
    async with running() as server, server.client() as client:
        await client.say("speak", id="a", text=LONG, lead_ms=lead_ms, frame_ms=frame_ms)
        while len(client.frames()) * frame_ms < lead_ms + 100:
            await client.next()
        time.sleep(lead_ms / 1000 + 0.6)  # noqa: ASYNC251 (the loop is to be blocked)
        await client.until("done")
        assert underruns(server) > 0


async def test_a_loop_that_is_late_by_less_than_the_lead_is_not_heard() -> None:
    """The client has sound enough to play meanwhile."""
    async with running() as server, server.client() as client:
        await client.say("speak", id="a", text=LONG, lead_ms=1500)
        while len(client.frames()) * 20 < 1600:
            await client.next()
        time.sleep(0.4)  # noqa: ASYNC251
        await client.until("done")
        assert underruns(server) == 0


async def test_the_share_of_sound_that_was_continuous_can_be_told() -> None:
    """Sound that is sent at the pace of its playback is counted, and each utterance of it as unbroken or not."""
    async with running() as server, server.client() as client:
        registry = server.server.metrics.registry
        played = "tts_audio_continuity_total"
        await client.say("speak", id="a", text="I am going to the shop.")
        done = await client.until("done")
        await client.say("speak", id="b", text="I am going to the shop.", lead_ms=None)
        await client.until("done", id="b")
        await client.say("speak", id="c", text="...")
        await client.until("done", id="c")
        assert registry.get_sample_value(played, {"playback": "continuous"}) == 1.0
        assert registry.get_sample_value("tts_paced_audio_seconds_total") == pytest.approx(
            done["audio_ms"] / 1000
        )
        server.synthesizer.speed = 0.5
        await client.say("speak", id="d", text="I am going.")
        await client.until("done", id="d")
        assert registry.get_sample_value(played, {"playback": "interrupted"}) == 1.0
        assert registry.get_sample_value(played, {"playback": "continuous"}) == 1.0
