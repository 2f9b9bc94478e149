"""A client that takes all it can get delays no other for longer than what is being spoken."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamer.synthesis import Health, Room
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import Client, configured, eventually, running

NUM_OF_HOG = 15


class TwoAtATime(FakeSynthesizer):
    """Has room for two listeners, once it `is_open`."""

    is_open = False

    def health(self) -> Health:
        room = Room(
            num_listeners=self.num_open if self.is_open else 2,
            max_listeners=2,
            num_unheard=0,
            num_short=0,
            max_short=2,
            mean_stay_s=1.0,
        )
        return replace(super().health(), room=room)


@pytest.mark.parametrize("num_connections", [1, 3])
async def test_a_hog_delays_no_other(num_connections: int, tmp_path: Path) -> None:
    """A client that has nothing is served beside the first of the hog's, although it came last, and on whatever number
    of connections the hog asks."""
    (tmp_path / "keys").write_text("hog\npolite\n")
    limits: dict[str, Any] = {
        "max_utterances_per_session": 16,
        "max_utterances_per_key": 16,
        "max_start_wait_s": 600.0,
    }
    synthesizer = TwoAtATime(speed=100.0)
    config = configured(server={"api_keys_file": tmp_path / "keys"}, **limits)
    async with running(config, synthesizer) as server, contextlib.AsyncExitStack() as stack:

        async def enter(key: str) -> Client:
            headers = {"Authorization": f"Bearer {key}"}
            return await stack.enter_async_context(server.client(additional_headers=headers))

        hogs = [await enter("hog") for _ in range(num_connections)]
        polite = await enter("polite")
        for number in range(NUM_OF_HOG):
            hog = hogs[number % num_connections]
            await hog.say("speak", id=str(number), text="I am the hog.", lead_ms=None)
        queue = server.server._service.admission.queue
        await eventually(lambda: queue.num_waiting == NUM_OF_HOG)
        await polite.say("speak", id="polite", text="I am polite.", lead_ms=None)
        await eventually(lambda: queue.num_waiting == NUM_OF_HOG + 1)
        synthesizer.is_open = True
        await polite.until("done")
        for hog in hogs:
            for _ in range(NUM_OF_HOG // num_connections):
                await hog.until("done")
        spoken = [request.text for request in synthesizer.requests]
        assert len(spoken) == NUM_OF_HOG + 1
        assert spoken.index("I am polite.") <= 1
