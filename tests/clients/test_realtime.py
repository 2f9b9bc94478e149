"""OpenAI's realtime client and pipecat's TogetherTTSService, untouched, speak ten turns with three interruptions."""

from __future__ import annotations

import pytest

from tests.clients.driving import drive, until_idle
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import running

CUT = (2, 5, 8)


@pytest.mark.clients
async def test_openais_client() -> None:
    """Whole responses are whole, cancelled ones say so, and nothing is left of them."""
    text = "Here is a sentence to be read aloud. And here is another one."
    turns = [{"text": text, "is_cut": number in CUT} for number in range(10)]
    async with running(synthesizer=FakeSynthesizer(speed=10)) as speaking:
        report = await drive("openai_realtime", "openai", speaking.server, voice="other", turns=turns)
        await until_idle(speaking)
        assert {request.voice for request in speaking.synthesizer.requests} == {"other"}
    assert report["greeting"] == ["session.created", "session.updated"]
    for number, heard in enumerate(report["turns"]):
        assert heard["status"] == ("cancelled" if number in CUT else "completed")
        if number not in CUT:
            assert heard["num_bytes"] / 48 == pytest.approx(20 * len(text), rel=0.3)
            assert heard["transcript"] == text


@pytest.mark.clients
async def test_pipecats_together_service() -> None:
    """A turn of several sentences is heard whole and ends once; after an interruption the next turn is whole."""
    sentences = ("Here is one sentence, which is long enough. ", "And here is another one. ", "A third.")
    turns = [[word + " " for word in "".join(sentences).split()] for _ in range(10)]
    num_chars = sum(map(len, sentences))
    async with running(synthesizer=FakeSynthesizer(speed=10)) as speaking:
        report = await drive(
            "pipecat_together",
            "pipecat",
            speaking.server,
            voice="other",
            turns=turns,
            while_writing=CUT[:1],
            while_speaking=CUT[1:],
        )
        await until_idle(speaking)
    assert not report["errors"]
    for number, heard in enumerate(report["turns"]):
        if number not in CUT:
            assert heard["stops"] == 1
            assert heard["samples"] / 24 == pytest.approx(20 * num_chars + 500, abs=700)
