"""Contracts of `client_examples/node_speak.mjs`, which needs no package."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.client_examples.example_runs import assert_spoken, read_sound, run
from tests.server.speaking import configured, running

TEXT = "A tone as long as this sentence."
pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


async def test_the_file_holds_the_sentence(tmp_path: Path) -> None:
    """Node without any package writes an Ogg Opus file that another decoder can read."""
    async with running() as server:
        status, output, _ = await run("node_speak.mjs", TEXT, tmp_path / "a.ogg", server.address)
    assert status == 0 and " ms, seed " in output
    assert_spoken(read_sound(tmp_path / "a.ogg"), TEXT)


async def test_a_key_is_the_first_message(tmp_path: Path) -> None:
    """With `STREAMER_KEY` a server with keys speaks; with a wrong one the reason is one line, and there is no file."""
    keys = tmp_path / "keys"
    keys.write_text("an-api-key-of-good-length\n")
    async with running(configured(server={"api_keys_file": keys})) as server:
        arguments = ("node_speak.mjs", TEXT, tmp_path / "a.ogg", server.address)
        key = {"STREAMER_KEY": "an-api-key-of-good-length"}
        assert (await run(*arguments, environ=key))[0] == 0
        (tmp_path / "a.ogg").unlink()
        status, _, errors = await run(*arguments, environ={"STREAMER_KEY": "a-wrong-one"})
    assert status == 1 and "key" in errors and not (tmp_path / "a.ogg").exists()


async def test_no_server_is_one_line(tmp_path: Path) -> None:
    """If no server is running, the example says so."""
    address = "ws://127.0.0.1:9/v1/stream"
    status, _, errors = await run("node_speak.mjs", TEXT, tmp_path / "a.ogg", address)
    assert status == 1 and f"node_speak: no server answers at {address}" in errors
