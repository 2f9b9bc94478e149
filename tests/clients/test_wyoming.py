"""Home Assistant's own package, untouched, speaks ten turns with three interruptions."""

from __future__ import annotations

import pytest

from tests.clients.driving import drive, until_idle
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import running
from tests.server.wyoming.speaking import with_wyoming

TEXT = "Here is a sentence for the kitchen. And here is another one."


@pytest.mark.clients
async def test_ten_turns_with_three_interruptions() -> None:
    """Whole turns are heard whole, whether streamed or not, and nothing is left of those that were interrupted."""
    turns = [{"text": TEXT, "is_streamed": n % 2 == 0, "hangs_up": n in (2, 5, 8)} for n in range(10)]
    synthesizer = FakeSynthesizer(speed=20)
    async with running(with_wyoming(), synthesizer) as speaking:
        (port,) = speaking.server.tcp_ports
        report = await drive("wyoming", "wyoming", speaking.server, port=port, turns=turns)
        await until_idle(speaking)
        assert not speaking.server.num_connections
    assert report["voices"] == list(synthesizer.voices) and report["supports_streaming"]
    for turn, heard in zip(turns, report["turns"], strict=True):
        assert heard["starts"] == 1 and not heard["errors"]
        if not turn["hangs_up"]:
            assert heard["ends"] == 1 + bool(turn["is_streamed"])
            assert heard["ms"] == pytest.approx(20 * len(TEXT), rel=0.3)
