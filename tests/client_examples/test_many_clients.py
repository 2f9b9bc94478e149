"""Contracts of `client_examples/many_clients.py`."""

from __future__ import annotations

import re

from tests.client_examples.example_runs import run, url
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import configured, running


async def test_each_client_is_spoken_to() -> None:
    """Every one has a line with its first sound, and the last line sums up."""
    async with running() as server:
        status, output, errors = await run(
            "many_clients.py", "--clients", 5, "--text", "Short.", *url(server)
        )
    assert (status, errors) == (0, "")
    assert (
        len(re.findall(r"^ +\d: first sound after \d+ ms, playback stalled for \d+ ms$", output, re.M)) == 5
    )
    assert output.splitlines()[-1].startswith("5 of 5 were spoken to")


async def test_a_stall_is_counted() -> None:
    """A model that is twice as slow as its sound lets playback stall for as long as the sound lasts."""
    text = "This sentence is spoken too slowly for a listener."
    async with running(synthesizer=FakeSynthesizer(speed=0.5)) as server:
        status, output, _ = await run("many_clients.py", "--clients", 1, "--text", text, *url(server))
    (stalled_ms,) = re.findall(r"stalled for (\d+) ms", output)
    assert status == 0 and 700 <= int(stalled_ms) <= 2500


async def test_who_is_refused_is_told_why() -> None:
    """If the server takes only two, the others are counted, and the exit status is 1."""
    async with running(configured(max_utterances_per_key=2), FakeSynthesizer(speed=2.0)) as server:
        status, output, errors = await run("many_clients.py", "--clients", 4, *url(server))
    assert status == 1 and "2 of 4 were spoken to" in output
    assert errors.strip() == "many_clients: 2 of 4 heard nothing or not all of it"
