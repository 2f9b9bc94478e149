"""Contracts of `client_examples/sound_card.py`, with miniaudio's own device that plays nothing, at its own pace."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.client_examples.example_runs import assert_spoken, line_with, run, started, url
from tests.server.speaking import running

pytestmark = pytest.mark.clients
STAND_IN = """
import miniaudio

class Device(miniaudio.PlaybackDevice):
    def __init__(self, **options):
        super().__init__(backends=[miniaudio.Backend.NULL], **options)

    def start(self, samples):
        super().start(kept(samples))

def kept(samples):
    num_wanted = yield b""
    with open({path!r}, "wb") as file:
        while True:
            sound = samples.send(num_wanted)
            file.write(sound)
            file.flush()
            num_wanted = yield sound

start, miniaudio.PlaybackDevice = miniaudio.PlaybackDevice.start, Device
Device.start = lambda self, samples: start(self, primed(kept(samples)))

def primed(generator):
    next(generator)
    return generator
"""
"""Python imports this module before the example: there is no sound card here, and what it played is to be seen."""


def without_card(folder: Path) -> dict[str, str]:
    (folder / "sitecustomize.py").write_text(STAND_IN.format(path=str(folder / "played.raw")))
    return {"PYTHONPATH": str(folder)}


async def test_the_card_plays_the_sentence(tmp_path: Path) -> None:
    """All samples are played, in one piece, before the program ends."""
    text = "A tone as long as this sentence."
    async with running() as server:
        status, output, errors = await run(
            "sound_card.py", text, *url(server), environ=without_card(tmp_path), environment="examples"
        )
    assert (status, output.strip(), errors) == (0, text, "")
    played = np.frombuffer((tmp_path / "played.raw").read_bytes(), "<i2") / 32_768
    heard = np.flatnonzero(np.abs(played) > 0.001)
    assert_spoken(played[heard[0] : heard[-1] + 1], text)


async def test_an_interruption_tells_what_was_heard(tmp_path: Path) -> None:
    """Ctrl-C after a second prints about a second's worth of the text, though the server sent more."""
    text = "One of many sentences is this. " * 20
    async with (
        running() as server,
        started(
            "sound_card.py", text, *url(server), environ=without_card(tmp_path), environment="examples"
        ) as process,
    ):
        await line_with(process, "One of many")
        await asyncio.sleep(1)
        process.send_signal(signal.SIGINT)
        heard = (await line_with(process, "heard: ")).removeprefix("heard: ").strip()
        assert await process.wait() == 0
    assert text.startswith(heard) and 15 <= len(heard) <= 80
