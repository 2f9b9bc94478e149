"""The benchmark of adapters hears the same from each protocol, and has figures for each."""

from __future__ import annotations

import asyncio
import json

import pytest

from benchmarks import adapters
from benchmarks.adapters import Costs
from benchmarks.protocol_clients import CLIENTS, NATIVE, VOICE
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import running

ROWS = [(name, encoding) for name, (_, encodings) in CLIENTS.items() for encoding in encodings]
TEXTS = ("Each protocol says this sentence.", "Then each one says another sentence which is longer.")


@pytest.mark.parametrize(("protocol", "encoding"), ROWS)
async def test_a_client_hears_every_sentence_to_its_end(protocol: str, encoding: str) -> None:
    """Two texts over one connection, each as long as it has to be."""
    async with (
        running(synthesizer=FakeSynthesizer(voices=(VOICE,))) as server,
        asyncio.timeout(20),
        Costs(protocol, encoding).client(server.server.port) as speak,
    ):
        for text in TEXTS:
            num_bytes = sum([len(piece) async for piece in speak(text)])
            if encoding == "pcm":
                # What the text buffer commits is flushed, and followed by the pause to a next sentence.
                pause_s = 0.25 if protocol == "text buffer" else 0.0
                assert num_bytes / 48_000 == pytest.approx(0.02 * len(text) + pause_s, abs=0.05)
                assert num_bytes % 2 == 0
            assert num_bytes > 500


def test_each_row_has_its_figures() -> None:
    """An adapter stands beside the native protocol in the same encoding."""
    rows = [Costs(NATIVE, "pcm"), Costs("openai", "pcm")]
    asyncio.run(adapters.measure(rows, repeats=1, num_streams=2, rounds=1))
    native, other = adapters.figures(rows)
    assert (native["later_ms"], native["times_native"]) == (0, 1)
    assert other["first_sound_ms"] > 0 and other["times_native"] > 0
    json.dumps([native, other])
