"""What `configure`, the query and `start` set, and `played`."""

from __future__ import annotations

import asyncio

from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import running

TEXT = "Hello there. How are you today?"


async def test_sound_is_paced_by_lead_ms() -> None:
    """With a lead of 100 ms only about that much leaves before time has passed; null sends it all."""
    async with running() as server, server.client() as client:
        await client.say("speak", id="a", text=TEXT * 3, lead_ms=100)
        await client.until("sentence_start")
        await asyncio.sleep(0.15)
        await client.pong()
        assert len(client.frames()) * 20 < 1000
        await client.say("cancel", id="a")
        await client.until("done")
        await client.say("speak", id="b", text=TEXT * 3, lead_ms=None)
        done = await client.until("done", id="b")
        assert client.messages("started")[-1]["lead_ms"] is None and done["packets"] > 50


async def test_played_moves_the_clock() -> None:
    """A client that reports to be further gets more at once."""
    async with running() as server, server.client() as client:
        await client.say("speak", id="a", text=TEXT, lead_ms=0)
        while len(client.frames()) < 2:
            await client.next()
        for _ in range(200):
            await client.say("played", id="a", ms=20 * len(client.frames()))
            await client.pong()
            if client.messages("done"):
                break
        assert client.messages("done")


async def test_configure_and_query_set_the_defaults() -> None:
    """Query parameters, then `configure`, then the fields of `start` decide, the last one winning."""
    async with running() as server, server.client("?voice=other&frame_ms=40&seed=3&lead_ms=null") as client:
        await client.say("configure", frame_ms=60, params={"top_k": 5})
        await client.say("speak", id="a", text="Hi.", params={"text_temp": 0.5})
        await client.until("done")
        started = client.messages("started")[0]
        assert (started["voice"], started["frame_ms"], started["seed"], started["lead_ms"]) == (
            "other",
            60,
            3,
            None,
        )
        params = server.synthesizer.requests[0].params
        assert (params.seed, params.top_k, params.text_temp) == (3, 5, 0.5)


async def test_how_a_text_is_read_is_the_clients_choice() -> None:
    """What is written out is what the model gets; what was written is what the listener is shown."""
    synthesizer = FakeSynthesizer(languages=("en", "de"))
    async with running(None, synthesizer) as server, server.client("?normalize=true&language=de") as client:
        await client.say("speak", id="a", text="**Ich** habe 5 €.", text_format="chat")
        await client.until("done")
        await client.say("speak", id="b", text="I have **5**.", language="auto", normalize=None)
        await client.until("done")
        assert [message["text"] for message in client.messages("sentence_start")] == [
            "**Ich** habe 5 €.",
            "I have **5**.",
        ]
    assert [request.text for request in synthesizer.requests] == ["Ich habe fünf Euro.", "I have **5**."]
