"""Contracts of `client_examples/live_text.py`."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from tests.client_examples.example_runs import assert_spoken, line_with, read_sound, run, started, url
from tests.server.speaking import running

TEXT = "The first sentence is short. The second one comes a little later, word by word."


async def test_speech_begins_before_the_text_ends(tmp_path: Path) -> None:
    """The first sentence is spoken while words are still being written, and all words are in the file."""
    async with running() as server:
        status, output, errors = await run(
            "live_text.py", tmp_path / "a.wav", TEXT, "--words-per-s", 8, *url(server)
        )
    assert (status, errors) == (0, "")
    assert output.index("speaking: The first") < output.index("all text written")
    assert re.search(r"first audio \d+ ms after the first text", output)
    assert_spoken(read_sound(tmp_path / "a.wav"), TEXT, pauses_s=1.0)


async def test_standard_input_is_spoken_as_it_arrives(tmp_path: Path) -> None:
    """With `-` a sentence is spoken although the writer has not closed its end yet."""
    async with running() as server, started("live_text.py", tmp_path / "a.wav", "-", *url(server)) as process:
        assert process.stdin is not None
        process.stdin.write(b"This sentence is complete. This one ")
        await process.stdin.drain()
        await line_with(process, "speaking: This sentence is complete.")
        process.stdin.write(b"is not.")
        process.stdin.close()
        await line_with(process, "first audio")
        async with asyncio.timeout(10):
            assert await process.wait() == 0
    assert_spoken(read_sound(tmp_path / "a.wav"), "This sentence is complete. This one is not.", pauses_s=1.5)


async def test_nothing_to_say_is_no_error(tmp_path: Path) -> None:
    """An empty input ends quietly."""
    async with running() as server:
        status, output, errors = await run("live_text.py", tmp_path / "a.wav", "-", *url(server))
    assert (status, errors) == (0, "")
    assert "nothing to say" in output
