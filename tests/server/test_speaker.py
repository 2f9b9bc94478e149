"""Underruns are counted if the server is to blame for them."""

from __future__ import annotations

import asyncio

from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import Running, running


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
