"""Deepgram's own package, and pipecat's and LiveKit's services for it, speak with the server as they are."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients.driving import drive, until_idle
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import running

pytestmark = pytest.mark.clients
TURNS, INTERRUPTIONS = 10, 3
TEXTS = (
    "This is a long answer that nobody wants to hear to its end, because there is something else.",
    "Here is what was asked for.",
)
"""What is interrupted, and what is spoken to its end."""
SDK, PIPECAT = "deepgram_cartesia", "pipecat"


@pytest.mark.parametrize(
    ("driver", "environment", "orders"),
    [
        ("deepgram", SDK, {"client": "sync"}),
        ("deepgram", SDK, {"client": "async"}),
        ("deepgram", SDK, {"client": "http"}),
        ("livekit_services", SDK, {"service": "deepgram", "client": "websocket"}),
        ("livekit_services", SDK, {"service": "deepgram", "client": "http"}),
        ("pipecat_services", PIPECAT, {"service": "deepgram"}),
    ],
)
async def test_ten_turns_with_three_interruptions_each(
    driver: str, environment: str, orders: dict[str, Any]
) -> None:
    """Each turn is heard to its end, as long as it is up to two frames, and nothing is left of those interrupted."""
    async with running(synthesizer=FakeSynthesizer(speed=8.0)) as server:
        report = await drive(
            driver,
            environment,
            server.server,
            voice="tone",
            turns=TURNS,
            interruptions=INTERRUPTIONS,
            texts=TEXTS,
            **orders,
        )
        await until_idle(server)
        assert server.server.num_sessions == 0
    expected = 48 * 20 * len(TEXTS[1])
    assert report["num_bytes"] == [pytest.approx(expected, abs=48 * 40)] * TURNS
