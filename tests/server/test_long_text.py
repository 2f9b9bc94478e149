"""Long texts and dialogues over a real WebSocket: what the client asks for and what it is told."""

from __future__ import annotations

import asyncio

from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import configured, running

TEXT = "Alice: Good morning to you. How are you?\nBob: Very well. [voice: nobody] And you?"


async def test_a_dialogue_is_told_turn_by_turn() -> None:
    """`speakers` given with `configure` hold until a `start` brings others; each sentence tells its voice."""
    async with running() as server, server.client() as client:
        await client.say("configure", speakers={"Alice": "other"}, continuity="chain")
        await client.say("speak", id="a", text=TEXT)
        await client.until("done")
        assert client.messages("started")[0]["continuity"] == "chain"
        starts = client.messages("sentence_start")
        assert [start["voice"] for start in starts] == ["other"] * len(starts)
        assert all(TEXT[start["char_start"] : start["char_end"]] == start["text"] for start in starts)
        warning = client.messages("warning")[0]
        assert (warning["code"], warning["param"], warning["id"]) == ("voice_not_found", "nobody", "a")
        await client.say("speak", id="b", text=TEXT, speakers={"Bob": "other"}, continuity="preset")
        await client.until("done")
        assert client.messages("started")[1]["continuity"] == "preset"
        starts = client.messages("sentence_start")[len(starts) :]
        assert (starts[0]["voice"], starts[-1]["voice"]) == ("tone", "other")
        assert starts[0]["text"].startswith("Alice:")


async def test_the_query_sets_the_continuity() -> None:
    """As other settings that fit into an address."""
    async with running() as server, server.client("?continuity=preset%2Bchain") as client:
        await client.say("start", id="a")
        assert (await client.until("started"))["continuity"] == "preset+chain"


async def test_a_sentence_made_again_and_one_that_was_cut_are_told() -> None:
    """Each by a `warning` with the sentence's index; what was cut ends the utterance `truncated`."""
    for recovers, reason in ((True, "completed"), (False, "truncated")):
        synthesizer = FakeSynthesizer(speed=50.0)
        synthesizer.truncate_on, synthesizer.recovers = "second", recovers
        async with running(synthesizer=synthesizer) as server, server.client() as client:
            await client.say("speak", id="a", text="Here is the first one. And the second one.", lead_ms=0)
            assert (await client.until("done"))["reason"] == reason
            warnings = client.messages("warning")
            assert (warnings[0]["code"], warnings[0]["index"]) == ("sentence_retried", 1)
            assert warnings[0]["seed"] == synthesizer.requests[-1].params.seed
            codes = [warning["code"] for warning in warnings]
            assert codes == ["sentence_retried"] + ([] if recovers else ["sentence_cut"])
            types = [item["type"] for item in client.received if isinstance(item, dict)]
            assert types[types.index("warning") + 1] == "sentence_start"


async def test_a_long_text_is_sent_as_it_is_spoken() -> None:
    """A client that keeps within `max_buffered_chars` by what `sentence_start` tells is never refused."""
    sentence = "A sentence of a long text. "
    limits = configured(max_text_chars=100, max_buffered_chars=200)
    async with running(limits, FakeSynthesizer()) as server, server.client() as client:
        await client.say("start", id="a", lead_ms=None)
        num_sent = num_begun = 0
        for _ in range(60):
            while num_sent - num_begun + len(sentence) > 200:
                num_begun = (await client.until("sentence_start"))["char_end"]
            await client.say("text", id="a", text=sentence)
            num_sent += len(sentence)
            await asyncio.sleep(0)
        await client.say("end", id="a")
        done = await client.until("done")
        assert done["sentences"] == 60 and done["characters"] == num_sent
        assert not client.messages("error")
