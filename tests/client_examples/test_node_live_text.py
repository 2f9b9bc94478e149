"""Contracts of `client_examples/node_live_text.mjs`, with the package `ws`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.client_examples.example_runs import assert_spoken, line_with, read_sound, run, started
from tests.clients.venvs import NODE
from tests.server.speaking import configured, running

pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
]
TEXT = "Here is what makes streaming worth the trouble. You hear this sentence while the next one is being written."


async def test_speech_begins_before_the_text_ends(tmp_path: Path) -> None:
    """The first sentence is spoken while the second one is being written, and all words are in the file."""
    path = tmp_path / "a.ogg"
    async with (
        running() as server,
        started("node_live_text.mjs", path, server.address, environment=NODE) as process,
    ):
        await line_with(process, "Here is what makes streaming worth the trouble.")
        assert len(server.synthesizer.requests) == 1
        await line_with(process, "ms")
        assert await process.wait() == 0
        assert " ".join(request.text for request in server.synthesizer.requests) == TEXT
    assert_spoken(read_sound(path), TEXT, pauses_s=0.5)


async def test_a_wrong_key_is_one_line(tmp_path: Path) -> None:
    """The key goes into a header field; a wrong one is refused before anything is written."""
    keys = tmp_path / "keys"
    keys.write_text("an-api-key-of-good-length\n")
    async with running(configured(server={"api_keys_file": keys})) as server:
        arguments = ("node_live_text.mjs", tmp_path / "a.ogg", server.address)
        for key, expected in (("an-api-key-of-good-length", 0), ("a-wrong-one", 1)):
            status, _, errors = await run(*arguments, environ={"STREAMER_KEY": key}, environment=NODE)
            assert status == expected
    assert errors.strip() == "node_live_text: Unexpected server response: 401"
